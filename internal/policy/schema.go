package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Limits on a schema and on checking against it.
const (
	maxSchema      = 256 << 10 // bytes
	maxSchemaDepth = 64
	maxSchemaNodes = 20_000
	maxVisits      = 2_000_000 // pairs of schema and value that one check may visit
	maxNumber      = 64        // characters of a number
	maxExponent    = 308
	regexpTimeout  = 50 * time.Millisecond  // of one match
	regexpBudget   = 250 * time.Millisecond // of all matches of one check
)

// schema is a tool's own inputSchema, compiled.
type schema struct {
	compiled *jsonschema.Schema
	walk     *walker // finds unknown members
	costly   bool    // has references or unique items: estimate before checking
	nodes    int

	mu     sync.Mutex // one check at a time: the regexp budget is shared
	budget *regexpClock
}

// regexpClock bounds the total time of all matches in one check.
type regexpClock struct {
	left  time.Duration
	spent atomic.Bool
}

// definition is the parsed form of a raw tool definition, computed once.
type definition struct {
	hash   digest.Digest
	schema *schema
	err    error // why there is no schema
}

// schemaCache holds the definitions seen last, keyed by their bytes.
type schemaCache struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]*definition
}

// maxCached is how many definitions of one tool are cached: sessions may run with
// an older and a newer server side by side.
const maxCached = 4

func newSchemaCache() *schemaCache {
	return &schemaCache{entries: map[[sha256.Size]byte]*definition{}}
}

// look returns the parsed definition; an error means that it cannot be used at all.
func (c *schemaCache) look(raw []byte) (*definition, error) {
	if len(raw) > config.MaxDefinition {
		return nil, errors.New("the tool definition is too large")
	}
	key := sha256.Sum256(raw)
	c.mu.Lock()
	d, ok := c.entries[key]
	c.mu.Unlock()
	if ok {
		return d, nil
	}
	hash, err := config.DefinitionHash(raw)
	if err != nil {
		return nil, err
	}
	d = &definition{hash: hash}
	d.schema, d.err = compileDefinition(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCached {
		clear(c.entries)
	}
	c.entries[key] = d
	return d, nil
}

// CheckDefinition says why the schema of a tool definition cannot be used to check
// arguments, or returns nil. No call of such a tool is ever allowed.
func CheckDefinition(raw []byte) error {
	_, err := compileDefinition(raw)
	return err
}

func compileDefinition(raw []byte) (*schema, error) {
	var tool struct {
		InputSchema json.RawMessage `json:"inputSchema"`
	}
	// Parsers that fold case could take another member for the schema.
	if err := jsonvalue.DecodeKnown(raw, &tool); err != nil {
		return nil, fmt.Errorf("reading the tool definition: %w", err)
	}
	if len(tool.InputSchema) == 0 || string(tool.InputSchema) == "null" {
		s, err := compileSchema([]byte(`{"type":"object"}`))
		if err == nil {
			s.walk.root.closed = true // fail closed: a tool that has no schema takes no arguments
		}
		return s, err
	}
	return compileSchema(tool.InputSchema)
}

// refuseAll is the loader for references: it never loads anything.
type refuseAll struct{}

func (refuseAll) Load(url string) (any, error) {
	return nil, fmt.Errorf("the schema refers to %q, and nothing is loaded", url)
}

const schemaURL = "mcpguard:///inputSchema"

func compileSchema(raw []byte) (s *schema, err error) {
	defer func() {
		if r := recover(); r != nil { // fail closed: a schema that trips the library is no schema
			s, err = nil, errors.New("the tool's schema cannot be compiled")
		}
	}()
	if len(raw) > maxSchema {
		return nil, fmt.Errorf("the tool's schema has %d bytes; at most %d are taken", len(raw), maxSchema)
	}
	if err := checkNumbers(raw); err != nil {
		return nil, fmt.Errorf("the tool's schema: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading the tool's schema: %w", err)
	}
	clock := &regexpClock{}
	w, err := newWalker(doc, clock)
	if err != nil {
		return nil, err
	}
	s = &schema{walk: w, costly: w.costly, nodes: w.nodes, budget: clock}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(refuseAll{})
	c.UseRegexpEngine(s.budget.compile)
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, fmt.Errorf("reading the tool's schema: %w", err)
	}
	s.budget.left = regexpBudget
	if s.compiled, err = c.Compile(schemaURL); err != nil {
		return nil, schemaFault(err)
	}
	return s, nil
}

// schemaFault says in one line where and why a schema is invalid.
func schemaFault(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var v *jsonschema.ValidationError
	var load *jsonschema.LoadURLError
	if errors.As(err, &invalid) {
		err = invalid.Err
	}
	switch {
	case errors.As(err, &v):
		for len(v.Causes) > 0 {
			v = v.Causes[0]
		}
		lines := strings.Split(strings.TrimSpace(v.Error()), "\n")
		return fmt.Errorf("the tool's schema is no JSON Schema: %s", strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "- "))
	case errors.As(err, &load):
		return fmt.Errorf("the tool's schema needs %s, and nothing is loaded", load.URL)
	}
	return fmt.Errorf("the tool's schema cannot be compiled: %w", err)
}

// checkNumbers refuses excessive nesting, and numbers in a schema that crash the
// library; arguments are already decoded when they are checked. It only finds where
// strings and numbers begin and end; whether the text is JSON is left to the
// decoder.
func checkNumbers(raw []byte) error {
	depth := 0
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '"':
			i = afterString(raw, i+1)
			continue
		case c == '{' || c == '[':
			if depth++; depth > maxSchemaDepth*2 {
				return errors.New("it is nested too deeply")
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || (c >= '0' && c <= '9'):
			end := i
			for end < len(raw) && bytes.IndexByte([]byte("+-.0123456789eE"), raw[end]) >= 0 {
				end++
			}
			if err := checkNumber(string(raw[i:min(end, i+maxNumber+1)])); err != nil {
				return err
			}
			i = end
			continue
		}
		i++
	}
	return nil
}

// afterString returns the index after the quote that ends a string.
func afterString(raw []byte, i int) int {
	for i < len(raw) {
		n := bytes.IndexAny(raw[i:], "\"\\")
		if n < 0 {
			return len(raw)
		}
		i += n + 1
		if raw[i-1] == '"' {
			return i
		}
		i++ // the escaped character
	}
	return len(raw)
}

func checkNumber(s string) error {
	if len(s) > maxNumber {
		return errors.New("a number is too long")
	}
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return nil
	}
	exp := strings.TrimLeft(strings.TrimLeft(s[i+1:], "+-"), "0")
	if len(exp) > 3 || (len(exp) == 3 && exp > fmt.Sprint(maxExponent)) {
		return errors.New("the exponent of a number is too large")
	}
	return nil
}

// compile is the schema library's regexp engine: ECMAScript with a time limit.
func (c *regexpClock) compile(src string) (jsonschema.Regexp, error) {
	if len(src) > 1000 {
		return nil, errors.New("the pattern is too long")
	}
	re, err := regexp2.Compile(src, regexp2.ECMAScript|regexp2.Unicode)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = regexpTimeout
	return &timedRegexp{re, c}, nil
}

type timedRegexp struct {
	*regexp2.Regexp
	clock *regexpClock
}

// MatchString reports a match. Once the time is up nothing matches and the whole
// check fails: see schema.check.
func (r *timedRegexp) MatchString(s string) bool {
	if r.clock.left <= 0 {
		r.clock.spent.Store(true)
		return false
	}
	start := time.Now()
	ok, err := r.Regexp.MatchString(s)
	r.clock.left -= time.Since(start)
	if err != nil {
		r.clock.spent.Store(true)
		return false
	}
	return ok
}

// fault is why arguments do not fit a schema, in words that quote no value.
type fault struct {
	what string
	// extra is true if the schema does not know a member; the policy can allow such
	// members.
	extra bool
}

func (f *fault) Error() string { return f.what }

// check validates arguments decoded by expr.DecodeArgs. With strict, unknown
// members are refused wherever the schema does not allow others.
func (s *schema) check(args map[string]any, strict bool) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if r := recover(); r != nil { // fail closed: what trips the library does not fit
			err = &fault{what: "the arguments cannot be checked against the tool's schema"}
		}
	}()
	if n, unique := measure(args, s.walk.unique); s.costly || n*s.nodes > maxVisits {
		if unique || s.walk.visits(args) > maxVisits {
			return &fault{what: "checking the arguments against the tool's schema would take too long"}
		}
	}
	s.budget.left = regexpBudget
	s.budget.spent.Store(false)
	err = s.compiled.Validate(args)
	if s.budget.spent.Load() {
		return &fault{what: "a pattern of the tool's schema takes too long on these arguments"}
	}
	if err != nil {
		return &fault{what: explain(err)}
	}
	if strict {
		if path := s.walk.unknown(args); path != "" {
			return &fault{fmt.Sprintf("the member %s is not in the tool's schema", path), true}
		}
	}
	if s.budget.spent.Load() {
		return &fault{what: "a pattern of the tool's schema takes too long on these arguments"}
	}
	return nil
}

// measure counts the values in args, and reports whether a list is so long that
// looking for equal items would take too long.
func measure(v any, unique bool) (n int, tooLong bool) {
	n = 1
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			m, long := measure(x, unique)
			n, tooLong = n+m, tooLong || long
		}
	case []any:
		tooLong = unique && len(v) > 1000
		for _, x := range v {
			m, long := measure(x, unique)
			n, tooLong = n+m, tooLong || long
		}
	}
	return n, tooLong
}
