package proxy

import (
	"context"
	"math"
	"path"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// Requests for anything but tools: resources, prompts, completion, and methods
// that the policy names. Each is admitted like a call of a T0 tool.

// methodRead follows a request for something other than a tool, whose method
// the policy has allowed. It is recorded like a call of a T0 tool.
func (s *session) methodRead(ctx context.Context, c *call) {
	c.tc.Tool = c.req.method
	if len(c.tc.Tool) > maxLabel {
		c.tc.Tool = strings.ToValidUTF8(c.tc.Tool[:maxLabel], "") + "…"
	}
	c.tc.Args = c.msg.ParamsRaw()
	c.tc.ArgsRaw = digest.Sum(c.tc.Args)
	if canonical, err := jsonvalue.Canonical(c.tc.Args); err == nil {
		c.tc.ArgsCanonical = canonical
	}
	c.tier = guard.T0Read
	c.decision = guard.Decision{Verdict: guard.Allow, Rule: guard.RuleMethod}
	defer s.recovered(c)
	var frame []byte
	output, err := s.admitRequest(c)
	if err == nil {
		frame, err = s.read(ctx, c, nil, nil, output)
	}
	if err != nil {
		frame = s.refuse(c, err)
	}
	c.req.slot.leave()
	s.reply(c.req, frame)
}

// admitRequest checks a request against the limits of its server, and the
// resource that it names against the workspace and the policy's hosts. It
// returns how many bytes of the answer may pass.
func (s *session) admitRequest(c *call) (output int, err error) {
	server, ok := s.cfg.Policy().Server(s.cfg.Session.Server)
	if !ok {
		return 0, notListed() // fail closed: the server is no longer in the policy
	}
	r := server.RequestRate()
	c.metered = true
	c.meter = c.req.slot.enter(s.cfg.Meter, keyOf(c.tc), limit{r.Count, r.Per}, s.now())
	d := server.Admit(policy.Snapshot{RateOK: c.meter.rateOK, InFlight: c.meter.others, ServerInFlight: c.meter.server})
	if d.Verdict != guard.Allow {
		return 0, denied(d)
	}
	if d := s.addressed(server, &c.msg); d.Verdict != guard.Allow {
		return 0, denied(d)
	}
	if output = int(server.Config.Limits.Output); output <= 0 {
		output = math.MaxInt
	}
	return output, nil
}

// addressed checks whether the policy lets the session reach the resource that
// a request names.
func (s *session) addressed(server *policy.Server, m *jsonrpc.Message) guard.Decision {
	at := m.Params
	if m.Method == "completion/complete" {
		ref, ok := m.Param("ref")
		if !ok {
			return guard.Decision{Verdict: guard.Allow}
		}
		at = ref
	}
	uri, found, why := addressIn(m.Raw, at)
	switch {
	case why != "":
		// fail closed: a server that reads it differently would reach
		// something else
		return guard.Decision{Verdict: guard.Deny, Rule: guard.RulePath, Reason: why, Repair: "give one 'uri', as a text"}
	case !found && modern(m) && (m.Method == "resources/subscribe" || m.Method == "resources/unsubscribe"):
		// It names nothing, and the modern era has no such method; the server
		// must say so.
		return guard.Decision{Verdict: guard.Allow}
	case !found && strings.HasPrefix(m.Method, "resources/") && !strings.HasSuffix(m.Method, "/list"):
		return guard.Decision{Verdict: guard.Deny, Rule: guard.RulePath, Reason: "the request names no resource", Repair: "give its 'uri'"}
	case !found:
		return guard.Decision{Verdict: guard.Allow}
	}
	if m.Method == "completion/complete" {
		var value string
		if v, ok := jsonrpc.Lookup(m.Raw, m.Params, "argument", "value"); ok {
			value, _ = jsonrpc.String(m.Raw, v)
		}
		return s.reaches(server, filled(uri, value))
	}
	return s.reaches(server, uri)
}

// filled returns the start of what a template names once its first variable
// has a value. For a file, that is the folder that is searched.
func filled(template, value string) string {
	fixed, _, variable := strings.Cut(template, "{")
	if !variable {
		return template
	}
	if len(fixed) < len("file:") || !strings.EqualFold(fixed[:len("file:")], "file:") {
		return fixed + value
	}
	fixed += value
	return fixed[:strings.LastIndexByte(fixed, '/')+1] + "."
}

// addressIn returns the address in an object. why says that servers may read
// it in more than one way.
func addressIn(raw []byte, obj jsonrpc.Span) (uri string, found bool, why string) {
	if obj.IsZero() {
		return "", false, ""
	}
	for f := range jsonrpc.Members(raw, obj) {
		if !strings.EqualFold(f.Name, "uri") {
			continue
		}
		if f.Name != "uri" {
			return "", false, "the request has a member that some servers would take for the resource's address"
		}
		v, ok := jsonrpc.String(raw, f.Value)
		if !ok {
			return "", false, "the resource's address is no text"
		}
		uri, found = v, true
	}
	return uri, found, ""
}

// reaches decides whether the session may reach a resource.
func (s *session) reaches(server *policy.Server, uri string) guard.Decision {
	d, file := server.Resource(uri)
	if d.Verdict != guard.Allow || file == "" {
		return d
	}
	if strings.HasSuffix(file, "/.") {
		file = path.Clean(file)
	}
	if _, err := effect.Path(file, s.cfg.Roots); err != nil {
		return guard.Decision{Verdict: guard.Deny, Rule: guard.RulePath, Reason: "the resource is a file outside of the workspace",
			Repair: "use a file inside the workspace"}
	}
	return d
}

// subscribes checks the resources that a subscription of the modern era names,
// as for resources/subscribe.
func (s *session) subscribes(m *jsonrpc.Message) guard.Decision {
	allow := guard.Decision{Verdict: guard.Allow}
	if m.Method != "subscriptions/listen" {
		return allow
	}
	of, ok := m.Param("notifications")
	if !ok {
		return allow
	}
	var at jsonrpc.Span
	for f := range jsonrpc.Members(m.Raw, of) {
		switch {
		case f.Name == "resourceSubscriptions":
			at = f.Value
		case strings.EqualFold(f.Name, "resourceSubscriptions"):
			// fail closed: a server that ignores case would take it for the list
			return guard.Decision{Verdict: guard.Deny, Rule: guard.RulePath, Reason: "a member's name is ambiguous", Repair: "write resourceSubscriptions"}
		}
	}
	if at.IsZero() {
		return allow
	}
	if d := s.method(true, "resources/subscribe"); d.Verdict != guard.Allow {
		return d
	}
	server, ok := s.cfg.Policy().Server(s.cfg.Session.Server)
	if !ok || jsonrpc.TypeOf(m.Raw, at) != jsonrpc.ArrayType {
		// fail closed: it is not known what is subscribed to
		return guard.Decision{Verdict: guard.Deny, Rule: guard.RulePath, Reason: "the resources to subscribe to are no list", Repair: "give their addresses as a list"}
	}
	for el := range jsonrpc.Elements(m.Raw, at) {
		uri, ok := jsonrpc.String(m.Raw, el)
		if !ok {
			return guard.Decision{Verdict: guard.Deny, Rule: guard.RulePath, Reason: "the resource's address is no text", Repair: "give addresses as texts"}
		}
		if d := s.reaches(server, uri); d.Verdict != guard.Allow {
			return d
		}
	}
	return allow
}
