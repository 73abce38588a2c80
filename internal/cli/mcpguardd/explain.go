package mcpguardd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

func (a *app) explain() *cobra.Command {
	return &cobra.Command{
		Use:     "explain SERVER TOOL ARGS",
		Short:   "the decision and the preview for a call, without making it",
		Long:    "Answers as the daemon would for a client in the current folder. ARGS is a JSON object. Counters and switches are taken as unused.",
		Example: `  mcpguardd explain files write_file '{"path": "README.md", "content": "hello\n"}'`,
		GroupID: "look",
		Args:    exactly(3, "SERVER TOOL ARGS"),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := newExplanation(args[0], args[1], args[2])
			if err != nil {
				return err
			}
			d, err := x.decide(c.Context())
			if err != nil {
				return err
			}
			a.printExplanation(x, d)
			if d.Verdict == guard.Deny {
				return coded(exitRefused, errors.New("the call would be refused"))
			}
			return nil
		},
	}
}

// explanation is a call that is evaluated but not made.
type explanation struct {
	tool    *policy.Tool
	input   effect.Input
	request policy.Request
	preview guard.Preview
}

func newExplanation(server, name, args string) (*explanation, error) {
	p, err := paths()
	if err != nil {
		return nil, err
	}
	set, err := daemon.ReadPolicy(p)
	if err != nil {
		return nil, err
	}
	sv, ok := set.Server(server)
	if !ok {
		return nil, fmt.Errorf("no server %q is configured in %s", server, p.ConfigFile())
	}
	folder, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the current folder: %w", err)
	}
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return nil, fmt.Errorf("finding the current folder: %w", err)
	}
	profile, ok := set.ProfileFor(folder)
	if !ok {
		return nil, fmt.Errorf("the folder %s belongs to no profile, so a client there is not served; go to a folder that does, or add it to `roots` in %s", folder, p.ConfigFile())
	}
	roots, err := daemon.Workspaces(sv.Config, folder)
	if err != nil {
		return nil, err
	}
	canonical, err := jsonvalue.Canonical([]byte(args))
	if err != nil {
		return nil, coded(exitUsage, fmt.Errorf("ARGS cannot be arguments of a call, which are strict JSON: %w", err))
	}
	tool, ok := sv.Tool(name)
	if !ok {
		tool = nil
	}
	x := &explanation{tool: tool}
	x.request = policy.Request{
		Call: guard.ToolCall{
			ID: guard.NewCallID(), Tool: name, Args: json.RawMessage(args), ArgsCanonical: canonical, ArgsRaw: digest.Sum([]byte(args)), RequestedAt: time.Now(),
			Session: guard.Session{Tenant: profile.Tenant, Environment: profile.Environment, Workflow: profile.Workflow, Profile: profile.Name, Server: server},
		},
		Snapshot: policy.Snapshot{RateOK: true, Now: time.Now()},
	}
	if tool != nil {
		if pin, ok := tool.Pin(); ok {
			x.request.Definition, x.request.Call.Definition = pin.Definition, pin.SHA256
		}
	}
	x.input = effect.Input{Call: x.request.Call, Roots: roots, ServerRoots: daemon.FolderArgs(sv.Config)}
	return x, nil
}

// decide takes the call through the same steps as a real one, as far as the
// decision.
func (x *explanation) decide(ctx context.Context) (policy.Verdict, error) {
	refused := func(d guard.Decision) (policy.Verdict, error) { return policy.Verdict{Decision: d}, nil }
	if x.tool == nil {
		return refused(policy.NotListed())
	}
	vars, err := x.tool.Vars(x.request)
	if err != nil {
		return policy.Verdict{}, coded(exitUsage, fmt.Errorf("reading ARGS: %w", err))
	}
	x.input.Vars = vars
	if x.tool.Binding != nil {
		targets, err := x.tool.Binding.Resolve(ctx, x.input)
		if d, ok := refusal(err); ok {
			return refused(d)
		}
		x.request.Targets = targets
	}
	if d := x.tool.Admit(x.request); d.Verdict != guard.Allow {
		return refused(d)
	}
	if x.tool.Binding != nil {
		x.preview, err = x.tool.Binding.Plan(ctx, x.input, x.request.Targets)
		if d, ok := refusal(err); ok {
			return refused(d)
		}
	}
	return x.tool.Decide(x.request, x.preview), nil
}

// refusal turns an error of the effect into the decision that follows from it.
func refusal(err error) (guard.Decision, bool) {
	if err == nil {
		return guard.Decision{}, false
	}
	var r *effect.Refusal
	if errors.As(err, &r) {
		return guard.Decision{Rule: r.Rule, Reason: r.Reason, Repair: r.Repair}, true
	}
	return guard.Decision{Rule: guard.RulePreviewFailed, Reason: "what this call would change cannot be computed: " + err.Error()}, true
}

func (a *app) printExplanation(x *explanation, v policy.Verdict) {
	fmt.Fprintf(a.out, "verdict  %s\nrule     %s\n", v.Verdict, safetext.Text(string(v.Rule)))
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(a.out, "%-8s %s\n", label, safetext.Text(text))
		}
	}
	line("reason", v.Reason)
	line("repair", v.Repair)
	if v.Tier.Valid() {
		line("tier", v.Tier.String())
	}
	if x.tool != nil {
		line("labels", joined(x.tool.Config.Labels))
	}
	for _, t := range x.request.Targets {
		line("target", t.Key)
	}
	if v.Post {
		line("after", "it runs first, and stands in `approve` afterwards until somebody has seen it")
	}
	if v.Verdict == guard.Ask {
		fmt.Fprintf(a.out, "time     %s to decide, then %s to run\n", v.Box.TTL, v.Box.UseWithin)
	}
	line("summary", x.preview.Summary)
	for _, s := range append(slices.Clone(x.preview.SideEffects), v.SideEffects...) {
		line("effect", s.Text)
	}
	for _, h := range append(x.preview.Hazards, v.Hazards...) {
		line("hazard", h.Text)
	}
	if x.preview.Change.Text != "" && v.Verdict != guard.Deny {
		fmt.Fprintln(a.out)
		for _, l := range safetext.Lines([]byte(x.preview.Change.Text)) {
			fmt.Fprintln(a.out, l)
		}
	}
}

// joined returns a list of labels as one text.
func joined(labels []config.Label) string {
	words := make([]string, len(labels))
	for i, l := range labels {
		words[i] = string(l)
	}
	return strings.Join(words, ", ")
}
