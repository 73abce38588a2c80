// Package guard defines the data types of mcpguard and the legal transitions
// between their states, as plain values and pure functions. It does no I/O,
// keeps no state and reads no clock; callers that need the time pass a Now.
package guard

import (
	"fmt"
)

// Tier says how much harm a tool call can do. The zero value is invalid and is
// treated as Never in every decision.
type Tier uint8

// The tiers, from harmless to not offered at all.
const (
	T0Read                  Tier = iota + 1 // list, read, search
	T1ReversibleWrite                       // edit a file in the workspace
	T2IrreversibleWrite                     // delete, production configuration
	T3Execute                               // shell, build, deploy
	T4IdentityMoneyOutbound                 // send, pay, change permissions
	Never                                   // not listed, not callable, no approval offered
)

var tierNames = [...]string{
	T0Read:                  "T0_READ",
	T1ReversibleWrite:       "T1_REVERSIBLE_WRITE",
	T2IrreversibleWrite:     "T2_IRREVERSIBLE_WRITE",
	T3Execute:               "T3_EXECUTE",
	T4IdentityMoneyOutbound: "T4_IDENTITY_MONEY_OUTBOUND",
	Never:                   "NEVER",
}

// Valid reports whether t is one of the named tiers.
func (t Tier) Valid() bool { return t >= T0Read && t <= Never }

// String returns the configuration's spelling, such as "T1_REVERSIBLE_WRITE".
func (t Tier) String() string {
	if !t.Valid() {
		return "INVALID_TIER"
	}
	return tierNames[t]
}

// Short returns "T0" to "T4", or "NEVER".
func (t Tier) Short() string {
	if t.Valid() && t != Never {
		return tierNames[t][:2]
	}
	return "NEVER"
}

// Bucket maps the tier onto read, write or never.
func (t Tier) Bucket() string {
	switch t {
	case T0Read:
		return "read"
	case T1ReversibleWrite, T2IrreversibleWrite, T3Execute, T4IdentityMoneyOutbound:
		return "write"
	}
	return "never"
}

// Risk maps the tier onto the common three-level scheme.
func (t Tier) Risk(sensitive bool) string {
	switch {
	case t == T0Read && !sensitive:
		return "safe"
	case t == T0Read:
		return "caution"
	}
	return "high"
}

// ParseTier reads the configuration's spelling. Anything else is an error.
func ParseTier(s string) (Tier, error) {
	for t := T0Read; t <= Never; t++ {
		if tierNames[t] == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("unknown tier %q", s)
}

// MarshalText implements encoding.TextMarshaler; an invalid tier is an error.
func (t Tier) MarshalText() ([]byte, error) {
	if !t.Valid() {
		return nil, fmt.Errorf("invalid tier %d", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Tier) UnmarshalText(b []byte) error {
	v, err := ParseTier(string(b))
	if err != nil {
		return err
	}
	*t = v
	return nil
}

// Verdict is the result of a policy evaluation. The zero value denies.
type Verdict uint8

// The verdicts.
const (
	Deny Verdict = iota
	Ask
	Allow
)

// String returns "deny", "ask" or "allow".
func (v Verdict) String() string {
	switch v {
	case Ask:
		return "ask"
	case Allow:
		return "allow"
	}
	return "deny"
}

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; unknown words are errors.
func (v *Verdict) UnmarshalText(b []byte) error {
	switch string(b) {
	case "deny":
		*v = Deny
	case "ask":
		*v = Ask
	case "allow":
		*v = Allow
	default:
		return fmt.Errorf("unknown verdict %q", b)
	}
	return nil
}

// Rule names the rule that decided, for people and for the audit log.
type Rule string

// The built-in rules. Rules of a configuration are named by their position,
// such as "servers.files.tools.write_file.deny[0]".
const (
	RuleNotListed        Rule = "default_deny"
	RuleNever            Rule = "tier_never"
	RulePinMissing       Rule = "definition_not_accepted"
	RulePinChanged       Rule = "definition_changed"
	RuleUnlisted         Rule = "not_in_the_servers_list"
	RuleSchema           Rule = "schema"
	RulePath             Rule = "path"
	RuleTenant           Rule = "tenant"
	RuleEnvironment      Rule = "environment"
	RuleWorkflow         Rule = "workflow"
	RuleLimitCalls       Rule = "limit_calls_per_run"
	RuleLimitRate        Rule = "limit_rate"
	RuleLimitConcurrency Rule = "limit_concurrency"
	RuleQuota            Rule = "quota"
	RuleSwitch           Rule = "kill_switch"
	RuleMethod           Rule = "method"
	RuleAdmission        Rule = "admission"
	RulePreviewFailed    Rule = "preview_failed"
	RuleExpression       Rule = "expression_failed"
	RuleRedactionMarker  Rule = "redaction_marker"
	RuleSandboxMissing   Rule = "sandbox_not_configured"
	RuleSignerMissing    Rule = "signer_not_configured"
	RuleStaleRounds      Rule = "too_many_stale_rounds"
	RuleStoreFailed      Rule = "record_failed"
	RuleTierDefault      Rule = "tier_default"
	RuleApprovalOptional Rule = "approval_not_required"
	RulePost             Rule = "shown_afterwards"
	RulePathsAllowed     Rule = "paths_allowed"
	RuleUnchanged        Rule = "unchanged"
	RuleNotContained     Rule = "not_contained"
	RuleReviewer         Rule = "reviewer"
	RuleTimeBox          Rule = "time_box"
	RuleUnknownOutcome   Rule = "target_has_unknown_outcome"
)

// Decision is the policy's decision for one call.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	Rule    Rule    `json:"rule"`
	// Reason is a sentence for people; it may quote the policy, never arguments.
	Reason string `json:"reason,omitempty"`
	// Repair tells the agent what it could do instead.
	Repair     string `json:"repair,omitempty"`
	PolicyHash string `json:"policy_hash,omitempty"` // hash of the policy in force for the tool
}
