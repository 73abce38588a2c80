package policy

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Serves decides whether a session may use the server at all: Allow or Deny. If
// not, the server is not started for it, and no request to it is answered.
func (sv *Server) Serves(s guard.Session) guard.Decision {
	if d, ok := sv.open(s); !ok {
		return d
	}
	c := sv.Config
	if c.Tenants != nil && c.Environments != nil {
		return allowed()
	}
	// If the server has no such lists, those of its tools decide.
	for _, t := range sv.sorted {
		if t.Tier.Valid() && t.Tier != guard.Never && contains(t.Config.Tenants, s.Tenant) && contains(t.Config.Environments, s.Environment) &&
			inWorkflow(t.Config.Workflows, s.Workflow) {
			return allowed()
		}
	}
	return closed(guard.RuleTenant, "this server is not open to the tenant and the environment that the work is done for")
}

// open checks what the server itself says about tenant, environment and workflow.
func (sv *Server) open(s guard.Session) (guard.Decision, bool) {
	c := sv.Config
	switch {
	case c.Tenants != nil && !contains(c.Tenants, s.Tenant):
		return closed(guard.RuleTenant, "this server is not open to the tenant that the work is done for"), false
	case c.Environments != nil && !contains(c.Environments, s.Environment):
		return closed(guard.RuleEnvironment, "this server is not open in the environment that the work is done in"), false
	case !inWorkflow(c.Workflows, s.Workflow):
		return closed(guard.RuleWorkflow, "this server is not open in the workflow that the work belongs to"), false
	}
	return guard.Decision{}, true
}

// inWorkflow reports whether a list of workflows contains this one. A nil list
// means all.
func inWorkflow(list []string, workflow string) bool { return list == nil || contains(list, workflow) }

func allowed() guard.Decision {
	return guard.Decision{Verdict: guard.Allow, Rule: guard.RuleMethod}
}

func closed(rule guard.Rule, reason string) guard.Decision {
	return guard.Decision{Verdict: guard.Deny, Rule: rule, Reason: reason, Repair: "go on without this server, or ask the user"}
}

// Starts decides whether the server may be started for a session: Allow or Deny.
// Servers inside the guard are not processes and stay while paused.
func (sv *Server) Starts(s guard.Session, switches []guard.Switch) guard.Decision {
	if d, paused := sv.paused(switches); paused && sv.Config.Builtin == "" {
		d.Repair = "wait until it is resumed, then connect again"
		return d
	}
	if sv.Config.Builtin == config.NativeServer {
		return allowed() // each call is decided separately, and the client's hook passes that on
	}
	return sv.Serves(s)
}

// paused returns the decision while a switch stops the server, or everything.
func (sv *Server) paused(switches []guard.Switch) (guard.Decision, bool) {
	for _, s := range switches {
		if s.Stops(sv.Name, "") {
			return guard.Decision{Verdict: guard.Deny, Rule: guard.RuleSwitch, Reason: "a person has paused this server",
				Repair: "wait until it is resumed; do not try again in a loop"}, true
		}
	}
	return guard.Decision{}, false
}

// handshake are the methods that a session needs to stay open. They carry no data
// and change nothing, so a pause does not stop them. tools/call is decided by its
// tool's own policy, which has a more precise answer.
var handshake = map[string]bool{
	"initialize": true, "server/discover": true, "ping": true, "tools/list": true, "tools/call": true, "tasks/cancel": true,
	"notifications/initialized": true, "notifications/cancelled": true, "notifications/progress": true, "notifications/roots/list_changed": true,
	"notifications/resources/list_changed": true, "notifications/tools/list_changed": true, "notifications/prompts/list_changed": true,
	"notifications/elicitation/complete": true, "notifications/subscriptions/acknowledged": true,
}

// Handshakes reports whether a method still works while its server is paused.
func Handshakes(method string) bool { return handshake[method] }

// Message is a message other than a tool call.
type Message struct {
	Session    guard.Session
	Method     string
	FromClient bool
	Switches   []guard.Switch
}

// Pass decides whether a message may pass: Allow or Deny. It checks the session,
// what is paused, and the policy for its method.
func (sv *Server) Pass(m Message) guard.Decision {
	if d := sv.Serves(m.Session); d.Verdict != guard.Allow && m.Method != "tools/call" {
		return d
	}
	if d, paused := sv.paused(m.Switches); paused && !handshake[m.Method] {
		return d
	}
	return sv.Method(m.FromClient, m.Method)
}

// defaultReadRate bounds reads, and requests other than tool calls, if the policy
// names no rate.
var defaultReadRate = config.Rate{Count: 1000, Per: time.Minute}

// RequestRate is the allowed rate of requests other than tool calls.
func (sv *Server) RequestRate() config.Rate {
	if r := sv.Config.Limits.Rate; r.Count > 0 {
		return r
	}
	return defaultReadRate
}

// Admit decides whether a request other than a tool call fits into the limits of
// the server: Allow or Deny.
func (sv *Server) Admit(s Snapshot) guard.Decision {
	t := Tool{Limits: Limits{Rate: sv.RequestRate()}, serverMax: sv.Config.Limits.Concurrency}
	if d, ok := t.withinLimits(s); !ok {
		d.Reason = strings.ReplaceAll(d.Reason, "this tool may be called", "this may be asked for")
		return d
	}
	return allowed()
}

// networked are the schemes of addresses that are fetched from a host. An address
// with another scheme is the server's own name for something.
var networked = map[string]bool{
	"http": true, "https": true, "ws": true, "wss": true, "ftp": true, "ftps": true, "sftp": true, "ssh": true, "git": true,
	"smb": true, "nfs": true, "ldap": true, "ldaps": true, "gopher": true, "dict": true, "tftp": true, "s3": true, "gs": true,
}

// Resource decides about the address of a resource: Allow or Deny. path is the file
// that a file: address names, which the caller must resolve and confine to the
// workspace; it is empty for every other address.
func (sv *Server) Resource(uri string) (d guard.Decision, path string) {
	no := func(reason, repair string) (guard.Decision, string) {
		return guard.Decision{Verdict: guard.Deny, Rule: guard.RulePath, Reason: reason, Repair: repair}, ""
	}
	const listed = "use an address that resources/list names"
	scheme, rest, ok := strings.Cut(uri, ":")
	scheme = strings.ToLower(strings.TrimSpace(scheme))
	if !ok || !schemeName(scheme) {
		// fail closed: a server may take it for a path
		return no("the resource's address has no scheme", listed)
	}
	// A scheme may precede another one, as in git+ssh: or jar:file:.
	for _, part := range strings.FieldsFunc(scheme, func(r rune) bool { return r == '+' || r == '.' || r == '-' }) {
		if part == "file" && scheme != "file" {
			return no("the resource's address names a file in a way that cannot be checked", listed)
		}
		if networked[part] {
			return sv.hostOf(uri, no)
		}
	}
	if scheme != "file" {
		if inner, _, ok := strings.Cut(strings.ToLower(rest), ":"); ok && (inner == "file" || networked[inner]) {
			return no("the resource's address holds another address, which cannot be checked", listed)
		}
		return allowed(), ""
	}
	u, err := url.Parse(uri)
	if err != nil || u.Opaque != "" || u.Host != "" && !strings.EqualFold(u.Host, "localhost") || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.Path, "/") || escaped.MatchString(u.Path) {
		// fail closed: what a server makes of it is not known
		return no("the address is not one of a file on this machine", "write it as file:///FOLDER/NAME")
	}
	return allowed(), u.Path
}

// escaped finds what a server that decodes an address twice would read differently.
var escaped = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

func schemeName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9') && r != '+' && r != '-' && r != '.') {
			return false
		}
	}
	return s != ""
}

// hostOf checks a network address against the hosts that the policy names.
func (sv *Server) hostOf(uri string, no func(reason, repair string) (guard.Decision, string)) (guard.Decision, string) {
	u, err := url.Parse(uri)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return no("the resource's address names no host", "write it as https://HOST/PATH")
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	for _, h := range sv.Config.Hosts {
		h = strings.Trim(h, "[]")
		if below, ok := strings.CutPrefix(h, "*."); ok {
			if _, err := netip.ParseAddr(host); err != nil && strings.HasSuffix(host, "."+below) {
				return allowed(), ""
			}
		} else if host == h {
			return allowed(), ""
		}
	}
	return no("the policy does not name the host of this resource", "go on without it, or ask the user to write the host to 'resource_hosts' of this server")
}
