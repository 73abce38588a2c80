package policy

import (
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// class says which setting decides about a method.
type class uint8

const (
	unknownMethod class = iota // no protocol version has it in this direction
	passes                     // part of every session
	resources
	prompts
	sampling
	elicitation
	answeredHere // the guard answers; it is never forwarded
)

// methodsOfClients are the methods that a client may send, in both eras of the
// protocol: 2024-11-05 to 2025-11-25, and 2026-07-28 with its tasks extension.
// tools/list and tools/call pass here because the proxy itself inspects them.
// Source: the protocol's schema of each version.
var methodsOfClients = map[string]class{
	"initialize":           passes,
	"server/discover":      passes,
	"ping":                 passes,
	"tools/list":           passes,
	"tools/call":           passes,
	"completion/complete":  passes,
	"logging/setLevel":     passes,
	"subscriptions/listen": passes,
	"tasks/get":            passes,
	"tasks/result":         passes,
	"tasks/list":           passes,
	"tasks/cancel":         passes,
	"tasks/update":         passes,

	"resources/list":           resources,
	"resources/templates/list": resources,
	"resources/read":           resources,
	"resources/subscribe":      resources,
	"resources/unsubscribe":    resources,
	"prompts/list":             prompts,
	"prompts/get":              prompts,

	"notifications/initialized":        passes,
	"notifications/cancelled":          passes,
	"notifications/progress":           passes,
	"notifications/roots/list_changed": passes,
	"notifications/tasks/status":       passes,
	"notifications/tasks":              passes,
}

// methodsOfServers are the methods that a server may send. In the modern era its
// requests arrive inside a result that asks for input; the same policy applies to
// them there.
var methodsOfServers = map[string]class{
	"ping":         passes,
	"tasks/get":    passes,
	"tasks/result": passes,
	"tasks/list":   passes,
	"tasks/cancel": passes,

	"sampling/createMessage": sampling,
	"elicitation/create":     elicitation,
	"roots/list":             answeredHere,

	"notifications/cancelled":                  passes,
	"notifications/progress":                   passes,
	"notifications/message":                    passes,
	"notifications/resources/updated":          passes,
	"notifications/resources/list_changed":     passes,
	"notifications/tools/list_changed":         passes,
	"notifications/prompts/list_changed":       passes,
	"notifications/elicitation/complete":       passes,
	"notifications/tasks/status":               passes,
	"notifications/tasks":                      passes,
	"notifications/subscriptions/acknowledged": passes,
}

// Method decides whether a message may pass in a direction: Allow or Deny. A method
// that no protocol version has is denied unless the policy names it.
func (sv *Server) Method(fromClient bool, method string) guard.Decision {
	known := methodsOfServers
	if fromClient {
		known = methodsOfClients
	}
	c := known[method]
	if c == answeredHere {
		return noMethod("the guard answers this method itself", "")
	}
	switch sv.Config.Methods[method] {
	case config.AccessAllow:
		return guard.Decision{Verdict: guard.Allow, Rule: guard.RuleMethod}
	case config.AccessDeny:
		return noMethod("the policy of this server does not allow this method", "go on without it, or ask the user")
	}
	var access config.Access
	what := ""
	switch c {
	case passes:
		return guard.Decision{Verdict: guard.Allow, Rule: guard.RuleMethod}
	case resources:
		access, what = sv.Config.Resources, "resources"
	case prompts:
		access, what = sv.Config.Prompts, "prompts"
	case sampling:
		access, what = sv.Config.Sampling, "sampling"
	case elicitation:
		access, what = sv.Config.Elicitation, "elicitation"
	default:
		// fail closed: nobody knows what it does
		return noMethod("no version of the protocol knows this method, and the policy does not name it", "")
	}
	if access == config.AccessAllow {
		return guard.Decision{Verdict: guard.Allow, Rule: guard.RuleMethod}
	}
	return noMethod("the policy of this server does not allow "+what, "go on without it, or ask the user to write '"+what+": allow' for this server")
}

func noMethod(reason, repair string) guard.Decision {
	return guard.Decision{Verdict: guard.Deny, Rule: guard.RuleMethod, Reason: reason, Repair: repair}
}
