package guard

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// Facts is what was found in a change that is not the text of a file. At most
// one member is set, as named by the change's type. The change's text says the
// same for people: it contains every fact, but facts may leave out what has no
// bound. All strings are unchanged and not yet safe for a terminal. An
// approval covers the facts.
type Facts struct {
	Exec    *ExecFacts    `json:"exec,omitempty"`
	HTTP    *HTTPFacts    `json:"http,omitempty"`
	Message *MessageFacts `json:"message,omitempty"`
	SQL     *SQLFacts     `json:"sql,omitempty"`
}

// Empty reports whether there are no facts.
func (f Facts) Empty() bool { return f == Facts{} }

// ExecFacts is a command to run: a line for a shell, or the arguments of one
// program.
type ExecFacts struct {
	Line   string   `json:"line,omitempty"` // the whole shell line
	Argv   []string `json:"argv,omitempty"` // set if there is no line
	Folder string   `json:"folder,omitempty"`
	RunBy  string   `json:"run_by,omitempty"` // which shell, a sentence
	// Parsed is false for a line that no shell parser accepts; the lists below
	// are then empty and mean nothing.
	Parsed        bool              `json:"parsed"`
	Programs      []string          `json:"programs,omitempty"` // named in the line, without duplicates; what they start is not known
	Redirections  []ExecRedirection `json:"redirections,omitempty"`
	Substitutions []string          `json:"substitutions,omitempty"` // commands and variables that are expanded when it runs
	Environment   []string          `json:"environment,omitempty"`   // names of variables that the line sets
	Background    bool              `json:"background,omitempty"`    // runs in the background
	Unconfined    bool              `json:"unconfined,omitempty"`    // asks to run outside the client's sandbox
	// Run is the result of running the command once in a sandbox; nil if that
	// was not done, and NotRun then says why.
	Run    *ExecRun `json:"run,omitempty"`
	NotRun string   `json:"not_run,omitempty"`
	// Scripts are files that the command runs and that its run has changed, of a
	// command that is shown by its text.
	Scripts []ExecScript `json:"scripts,omitempty"`
}

// ExecScript is a file that a command runs, as it is now.
type ExecScript struct {
	Path   string        `json:"path"` // absolute
	Size   int           `json:"size"` // in bytes
	SHA256 digest.Digest `json:"sha256"`
	// Text is its content, or the beginning of it; empty if it is not text.
	Text string `json:"text,omitempty"`
	// Unread is set if it could not be read; only Path then means something.
	Unread bool `json:"unread,omitempty"`
}

// ScriptsText is the part of a change's text that shows the scripts. It stands at
// the end, and each line of a script begins with a sign, so that none can pass for
// another part.
func (f *ExecFacts) ScriptsText() string {
	var out strings.Builder
	for _, s := range f.Scripts {
		out.WriteString("script " + s.Title() + "\n")
		for line := range strings.Lines(s.Text) {
			out.WriteString("| " + strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	return out.String()
}

// Title says which file it is, and how much of it is shown.
func (s ExecScript) Title() string {
	name := s.Path
	if strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x2028 || r == 0x2029 }) {
		name = strconv.QuoteToASCII(name)
	}
	switch {
	case s.Unread:
		return name + ", which this run has changed, and which cannot be read"
	case len(s.Text) == s.Size:
		return fmt.Sprintf("%s, which this run has changed, %d bytes", name, s.Size)
	case s.Text == "":
		return fmt.Sprintf("%s, which this run has changed, %d bytes, not shown, %s", name, s.Size, s.SHA256)
	}
	return fmt.Sprintf("%s, which this run has changed, the first %d of %d bytes, %s", name, len(s.Text), s.Size, s.SHA256)
}

// ExecRun is what a command did in a sandbox. It leaves out what may differ
// from run to run, such as output and duration.
type ExecRun struct {
	Exit   int `json:"exit"`
	Signal int `json:"signal,omitempty"`
	// Times is set if only file times change.
	Times bool `json:"times,omitempty"`
	// Files counts the paths that changed. Folded counts those of them that
	// are shown by one line for their folder.
	Files   int          `json:"files"`
	Folded  []ExecFolded `json:"folded,omitempty"`
	Renames []ExecRename `json:"renames,omitempty"`
	Wanted  []ExecWant   `json:"wanted,omitempty"`
	Stopped string       `json:"stopped,omitempty"` // the limit that ended it
	Left    []string     `json:"left,omitempty"`    // processes that outlived it
	Cut     bool         `json:"cut,omitempty"`     // its output was over the limit
	// Failed says what the sandbox could not do in the way that the real
	// folder would.
	Failed []string `json:"failed,omitempty"`
	// Moved lists paths that something else changed while it ran, each time that
	// it did.
	Moved []string `json:"moved,omitempty"`
	Git   []string `json:"git,omitempty"` // what its changes to a repository mean, one sentence each
}

// ExecFolded is a folder of new files that is shown by one line.
type ExecFolded struct {
	Folder string `json:"folder"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// ExecRename is a deletion and a creation among the changes whose contents are
// the same or alike. Both count as changes of their own.
type ExecRename struct {
	From string `json:"from"` // absolute path
	To   string `json:"to"`
	// Same is set if nothing but the path changes.
	Same bool `json:"same,omitempty"`
}

// ExecWant is something outside the sandbox that a command tried to reach and
// was refused.
type ExecWant struct {
	Kind string `json:"kind"` // host, network, socket, signal, process, path, write, kernel
	What string `json:"what"`
}

// Whole reports whether the run shows everything that the command would do.
func (r *ExecRun) Whole() bool {
	return len(r.Wanted) == 0 && r.Stopped == "" && len(r.Left) == 0 && !r.Cut && len(r.Failed) == 0 && len(r.Moved) == 0
}

// Unchanged reports whether the run proves that the command changes nothing.
func (r *ExecRun) Unchanged() bool { return r.Whole() && r.Files == 0 }

// ExecRedirection is one redirection of a shell line.
type ExecRedirection struct {
	Op string `json:"op"` // ">", ">>", "<", "2>" …
	// File is empty if the name is computed when the line runs.
	File   string `json:"file,omitempty"`
	Writes bool   `json:"writes"`
}

// HTTPFacts is a request that would be sent.
type HTTPFacts struct {
	Method string `json:"method"`
	URL    string `json:"url"` // as received
	Scheme string `json:"scheme"`
	Host   string `json:"host"` // as it is looked up: ASCII, punycode if necessary
	// HostShown is the host in its own script if Host is punycode.
	HostShown string `json:"host_shown,omitempty"`
	Port      string `json:"port,omitempty"`
	Path      string `json:"path,omitempty"`
	Query     string `json:"query,omitempty"`
	Body      string `json:"body,omitempty"`
}

// MessageFacts is a message that would be sent.
type MessageFacts struct {
	Channel string      `json:"channel,omitempty"` // email, sms, slack or similar
	To      []Recipient `json:"to,omitempty"`
	Cc      []Recipient `json:"cc,omitempty"`
	Bcc     []Recipient `json:"bcc,omitempty"`
	// Count is the number of different recipients in all three lists.
	Count       int           `json:"count"`
	Domains     []DomainCount `json:"domains,omitempty"` // of e-mail addresses, by name
	Subject     string        `json:"subject,omitempty"`
	Body        string        `json:"body,omitempty"`
	Attachments []Attachment  `json:"attachments,omitempty"`
}

// The kinds of recipient.
const (
	RecipientEmail = "email"
	RecipientPhone = "phone"
	RecipientRoom  = "channel" // of a chat: #general
	RecipientLabel = "label"   // a user id or a name: any other identifier that the server understands
)

// Recipient is one receiver of a message.
type Recipient struct {
	Text string `json:"text"` // as received
	Kind string `json:"kind"`
	// Name is the display name of an e-mail address, an unverified claim of
	// the writer.
	Name    string `json:"name,omitempty"`
	Address string `json:"address"` // identifies the recipient: lower-case domain in ASCII, digits of a phone number
	Domain  string `json:"domain,omitempty"`
}

// DomainCount is how many recipients one domain has.
type DomainCount struct {
	Domain string `json:"domain"` // ASCII, lower case
	// Shown is the domain in its own script if Domain is punycode.
	Shown string `json:"shown,omitempty"`
	Count int    `json:"count"`
}

// Attachment is a file sent with a message.
type Attachment struct {
	Name string `json:"name"`
	// Size is in bytes, -1 if unknown.
	Size int64 `json:"size"`
	// File is set if the name is that of a file in the workspace; Size and
	// SHA256 are then the file's own.
	File   string        `json:"file,omitempty"`
	SHA256 digest.Digest `json:"sha256,omitzero"`
}

// SQLFacts is what a database would be asked to do.
type SQLFacts struct {
	Dialect  string          `json:"dialect"` // postgres, mysql, sqlite; empty if the policy does not say
	Database string          `json:"database,omitempty"`
	Text     string          `json:"text"`             // as received
	Params   json.RawMessage `json:"params,omitempty"` // values for its placeholders
	// Understood is false if no parser could read the whole text. Writes is
	// then true: what is not understood counts as a write.
	Understood bool           `json:"understood"`
	Why        string         `json:"why,omitempty"` // why it is not understood, a sentence
	Writes     bool           `json:"writes"`
	Statements []SQLStatement `json:"statements,omitempty"`
}

// SQLStatement is one statement of a text.
type SQLStatement struct {
	Verb   string `json:"verb"`   // SELECT, UPDATE, CREATE TABLE …
	Writes bool   `json:"writes"` // data, schema, permissions or settings
	Schema bool   `json:"schema,omitempty"`
	// Everything is set for an UPDATE or DELETE without WHERE, and for
	// TRUNCATE.
	Everything bool     `json:"everything,omitempty"`
	Reads      []string `json:"reads,omitempty"`   // tables that it only reads, in order of mention
	Changes    []string `json:"changes,omitempty"` // tables that it writes, creates, alters or drops
	Functions  []string `json:"functions,omitempty"`
}
