package guard

import (
	"encoding/json"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// Origin says who asked: the client process at the far end of a session, as
// the daemon saw it. Only Client and Version are the client's own claims; they
// are labels and decide nothing.
type Origin struct {
	Client     string `json:"client"`     // from initialize or _meta, e.g. "claude-code"
	Version    string `json:"version"`    // from the same source
	PID        int    `json:"pid"`        // of the client process
	StartTime  uint64 `json:"start_time"` // of that process, in the kernel's own unit
	Executable string `json:"executable"`
	Folder     string `json:"folder"`
	User       string `json:"user"` // numeric user id of the client
}

// Session is one shim connection: one client, one server, one upstream.
type Session struct {
	ID          SessionID `json:"id"`
	RunID       RunID     `json:"run_id"`
	Tenant      string    `json:"tenant"`
	Environment string    `json:"environment"`
	Workflow    string    `json:"workflow"`
	Profile     string    `json:"profile"`
	Server      string    `json:"server"`
	Origin      Origin    `json:"origin"`
	OpenedAt    time.Time `json:"opened_at"`
	ClosedAt    time.Time `json:"closed_at,omitzero"`
}

// Run is the sessions of one client process, identified across daemon restarts
// by pid, start time and boot.
type Run struct {
	ID          RunID     `json:"id"`
	Tenant      string    `json:"tenant"`
	Profile     string    `json:"profile"`
	Environment string    `json:"environment"`
	Workflow    string    `json:"workflow"`
	Origin      Origin    `json:"origin"`
	BootID      string    `json:"boot_id"`
	StartedAt   time.Time `json:"started_at"`
}

// ToolCall is one admitted tools/call.
type ToolCall struct {
	ID            CallID
	Session       Session
	Tool          string
	CorrelationID string          // the client's tool-use id, else the call id
	Args          json.RawMessage // the admitted bytes of params.arguments; "{}" where absent
	ArgsCanonical []byte          // RFC 8785 form of Args
	ArgsRaw       digest.Digest   // digest of Args as received
	Definition    digest.Digest   // of the tool definition in force
	RequestedAt   time.Time
	Context       Context
}

// Context says what a call belongs to on the client's side, as far as the
// client's hooks have told. These are labels and decide nothing.
type Context struct {
	ClientSession string        `json:"client_session,omitempty"` // the conversation
	Worktree      string        `json:"worktree,omitempty"`       // top folder of the client's repository
	Branch        string        `json:"branch,omitempty"`         // checked out there
	Prompt        digest.Digest `json:"prompt,omitzero"`          // of the user's prompt that led to it
}

// Target is a resolved resource of a call. For files, Key is the absolute path
// with all links resolved.
type Target struct {
	Kind string `json:"kind"` // "file", "record", "opaque", …
	Key  string `json:"key"`  // what is locked; unique within the kind
	Path string `json:"path"` // workspace-relative, for people and for rules
	Root string `json:"root"` // the workspace folder that contains it
	// Write is false for a resource that is only read.
	Write bool `json:"write"`
}

// Effect is one change to one resource.
type Effect struct {
	Kind     string        `json:"kind"` // "file.write", "file.move", "opaque", …
	Resource Target        `json:"resource"`
	Before   State         `json:"before"`
	After    State         `json:"after"`
	Dest     *Target       `json:"dest,omitempty"` // of a move
	Diff     digest.Digest `json:"diff"`           // of this effect's change text
	// Record says how a JSON record is read again; nil for everything else.
	Record *RecordRef `json:"record,omitempty"`
	// Want is the predicted record in the form used for comparison. It lives
	// only as long as the call is followed, and is not stored.
	Want []byte `json:"-"`
}

// RecordRef says how to find a record, and which parts of it count.
type RecordRef struct {
	// Tool is the tool of the same server that reads the record; empty if the
	// record is in the file that the effect's resource names.
	Tool   string            `json:"tool,omitempty"`
	Args   json.RawMessage   `json:"args,omitempty"` // of Tool, canonical
	At     string            `json:"at,omitempty"`   // JSON Pointer into the answer or the file
	Ignore []string          `json:"ignore,omitempty"`
	Keys   map[string]string `json:"keys,omitempty"`
}

// State describes a resource before or after, without its content.
type State struct {
	Exists bool          `json:"exists"`
	Kind   string        `json:"kind,omitempty"` // "file", "dir", "symlink", "record"
	SHA256 digest.Digest `json:"sha256"`
	Size   int64         `json:"size"`
	Mode   uint32        `json:"mode,omitempty"` // permission bits
	// Computed is false if the state cannot be known beforehand (opaque).
	Computed bool `json:"computed"`
}

// ChangeType says how to read the text of a change.
type ChangeType string

// The change types, as the control API spells them.
const (
	ChangeUnified   ChangeType = "unified"
	ChangeJSONPatch ChangeType = "json_patch"
	ChangeJSONDiff  ChangeType = "json_diff"
	ChangeExec      ChangeType = "exec"
	ChangeMessage   ChangeType = "message"
	ChangeHTTP      ChangeType = "http"
	ChangeSQL       ChangeType = "sql"
	ChangeOpaque    ChangeType = "opaque"
)

// Change is the content of a preview: what the reviewer reads.
type Change struct {
	Type    ChangeType      `json:"type"`
	Text    string          `json:"text"`              // unified diff, the facts in plain words, or canonical arguments; raw, not yet safe for a terminal
	Patch   json.RawMessage `json:"patch,omitempty"`   // RFC 6902
	Preview json.RawMessage `json:"preview,omitempty"` // [{op, path, from, to}]
	Added   int             `json:"added"`
	Removed int             `json:"removed"`
	Facts                   // of exec, http, message and sql; beside the others in JSON
}

// Hazard is something about a preview that a reviewer must not miss. It blocks
// batch approval.
type Hazard struct {
	Kind string `json:"kind"` // stable identifier, e.g. "bidi_control", "coarse_diff"
	Text string `json:"text"` // a sentence
}

// SideEffect is a sentence about a consequence of the call.
type SideEffect struct {
	Text string `json:"text"`
}

// Preview is what a call would do, computed by the daemon.
type Preview struct {
	Effects     []Effect     `json:"effects"`
	Change      Change       `json:"change"`
	SideEffects []SideEffect `json:"side_effects,omitempty"`
	Hazards     []Hazard     `json:"hazards,omitempty"`
	Summary     string       `json:"summary"` // one line, e.g. "edit src/main.go (+3 −1)"
	// Output is what a command printed when it ran in a sandbox. It differs
	// from run to run, so no approval covers it.
	Output string `json:"output,omitempty"`
	// Attempt is what a command did in a sandbox that did not contain it. It
	// shows why a human is asked; it is not what will run, and no approval
	// covers it.
	Attempt *ExecRun `json:"attempt,omitempty"`
	// Record names the captured run of a command, which is landed. It names a
	// run, not its outcome, so no approval covers it.
	Record string `json:"record,omitempty"`
	// Paths is the verdict of a policy with path rules on this change.
	Paths PathVerdict `json:"paths,omitempty"`
}

// PathVerdict is the verdict of a policy on the paths that change. If it
// denies a path, there is no preview.
type PathVerdict string

// The path verdicts. The empty one means that the policy names no paths.
const (
	PathsAllow PathVerdict = "allow" // every changed path is allowed
	PathsAsk   PathVerdict = "ask"
)

// Binding is everything that an approval covers. The reviewer decides on its
// digest, which is compared again at execution.
type Binding struct {
	Tenant     string
	Run        RunID
	Server     string
	Tool       string
	Tier       Tier     // with conditions applied
	Folder     string   // the client's folder, in which the server may be started
	Roots      []string // the workspace folders of the session
	Definition digest.Digest
	Policy     string // hash of the policy in force for the tool
	Args       []byte // canonical
	ArgsRaw    digest.Digest
	Effects    []Effect
	Change     Change
}

// bindingDomain separates these digests from all others and gives them a
// version.
const bindingDomain = "mcpguard/binding/v2"

// Digest covers every field of b, with its length, and the version of the diff
// algorithm. Two bindings with the same digest execute the same change.
func (b Binding) Digest() (digest.Digest, error) {
	effects, err := json.Marshal(b.Effects)
	if err != nil {
		return digest.Digest{}, err
	}
	change, err := json.Marshal(b.Change)
	if err != nil {
		return digest.Digest{}, err
	}
	roots, err := json.Marshal(b.Roots)
	if err != nil {
		return digest.Digest{}, err
	}
	h := digest.NewHasher(bindingDomain)
	h.Field("algorithm", []byte{digest.AlgorithmVersion})
	h.Field("tenant", []byte(b.Tenant))
	h.Field("run", []byte(b.Run))
	h.Field("server", []byte(b.Server))
	h.Field("tool", []byte(b.Tool))
	h.Field("tier", []byte(b.Tier.String()))
	h.Field("folder", []byte(b.Folder))
	h.Field("roots", roots)
	h.Field("definition", b.Definition[:])
	h.Field("policy", []byte(b.Policy))
	h.Field("args", b.Args)
	h.Field("args_raw", b.ArgsRaw[:])
	h.Field("effects", effects)
	h.Field("change", change)
	return h.Digest(), nil
}
