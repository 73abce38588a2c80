package effect

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Commands runs commands in a sandbox and keeps the results.
type Commands interface {
	// Preview runs a command once and returns what it would change. The text of the
	// change begins with head. A second preview of the same call shows the same run
	// as long as nothing that it touched has changed. The error is an *Uncontained
	// if this machine, or this command, cannot be contained.
	Preview(ctx context.Context, c CommandLine, head string) (guard.Preview, error)
	// Reverse previews the undo of a kept run.
	Reverse(ctx context.Context, call guard.CallID, record string) (guard.Preview, error)
	// Done says that a call is over. What is needed to undo a landed run is kept.
	Done(call guard.CallID)
}

// CommandLine is a command that is to be run.
type CommandLine struct {
	Call   guard.CallID
	Use    string   // the client's id of the call, or Call
	Line   string   // for a shell
	Argv   []string // used if there is no line
	Folder string   // as the call gives it; "" for the first workspace folder
	Roots  []string
	Time   time.Duration // that the call gives it; 0 for none
	// Programs are further files that the command may read and run, by absolute path.
	Programs []string
}

// timeOf is the time that a call of the built-in server gives its command. Its
// schema takes whole numbers alone; what is none counts as no time.
func timeOf(b *Binding, in Input) time.Duration {
	if b.dialect != DialectWorkspace {
		return 0
	}
	ms, err := strconv.ParseFloat(in.Vars.Args.Value.Member("timeout_ms").Text(), 64)
	if err != nil || ms < 1 || ms > 3_600_000 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// Uncontained says why a command was not run in a sandbox.
type Uncontained struct {
	Why string // a sentence; "" if nobody expects a sandbox
	// Refuse is set if the configuration forbids commands that are not contained.
	Refuse bool
}

// Error returns the reason.
func (u *Uncontained) Error() string { return u.Why }

// HazardWanted says that a command tried to reach something outside the sandbox.
const HazardWanted = "wanted_outside"

// plan runs the command in the sandbox and shows what it would change. If that is
// not possible, or if the command tried to reach more than the sandbox allows, plan
// shows the command's text instead: that is what is approved, and the command then
// runs for real.
func (k execKind) plan(ctx context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	c, err := b.command(in)
	if err != nil {
		return guard.Preview{}, err
	}
	if b.dialect == DialectWorkspace {
		c.folder = folderIn(c.folder, in.Roots)
	}
	text := k.text(b, c, at)
	if in.Commands == nil {
		return withScripts(in, c, text), nil
	}
	if (c.background || c.unconfined) && b.dialect != DialectClaude {
		return withScripts(in, c, notRun(text, "it goes on in the background, or asks to run outside of a sandbox")), nil
	}
	ran, err := in.Commands.Preview(ctx, CommandLine{Call: in.Call.ID, Use: in.Call.CorrelationID, Line: c.line, Argv: c.argv, Folder: c.folder, Roots: in.Roots, Time: timeOf(b, in)}, text.Change.Text)
	var not *Uncontained
	switch {
	case errors.As(err, &not) && not.Refuse:
		return guard.Preview{}, &Refusal{Rule: guard.RuleNotContained, Reason: "the command cannot be contained: " + not.Why, Repair: "ask the user to look at what `mcpguardd doctor` says of commands"}
	case errors.As(err, &not) && not.Why == "":
		return withScripts(in, c, text), nil
	case errors.As(err, &not):
		return withScripts(in, c, notRun(text, not.Why)), nil
	case err != nil:
		return guard.Preview{}, err
	}
	run := ran.Change.Exec.Run
	if !run.Whole() {
		return withScripts(in, c, wanted(text, run, ran.Output)), nil
	}
	facts := *text.Change.Exec
	facts.Run = run
	ran.Change.Exec = &facts
	ran.Hazards = append(ran.Hazards, textHazards([]byte(text.Change.Text))...)
	if run.Files == 0 {
		ran.Effects = []guard.Effect{}
	}
	return ran, nil
}

// folderIn returns the absolute folder that a call names, or the first workspace
// folder if it names none.
func folderIn(name string, roots []string) string {
	if filepath.IsAbs(name) || len(roots) == 0 {
		return name
	}
	return filepath.Join(roots[0], name)
}

// notRun adds to a preview of the text why the command was not run.
func notRun(p guard.Preview, why string) guard.Preview {
	p.Change.Exec.NotRun = why
	p.Change.Text = "not run in a sandbox: " + oneLine(why) + "\n" + p.Change.Text
	p.Effects[0].Diff = digest.Sum([]byte(p.Change.Text))
	p.Hazards = append(p.Hazards, guard.Hazard{Kind: HazardNotContained, Text: "what it changes is not computed: " + oneLine(why)})
	return p
}

// HazardNotContained says that a command is shown by its text alone.
const HazardNotContained = "not_contained"

// wanted shows the text of a command that tried to reach more than the sandbox
// allows. What it did in the sandbox is shown too, and is not what will run.
func wanted(p guard.Preview, run *guard.ExecRun, output string) guard.Preview {
	p.Attempt, p.Output = run, output
	var what []string
	for _, w := range run.Wanted {
		kind := w.Kind
		if kind == "path" {
			kind = "the closed path"
		}
		what = append(what, kind+" "+oneLine(w.What))
	}
	add := func(text string) { p.Hazards = append(p.Hazards, guard.Hazard{Kind: HazardWanted, Text: text}) }
	switch {
	case len(what) > 0:
		add("in the sandbox it wanted " + named(what))
	case run.Stopped == "cancelled":
		add("in the sandbox it was ended from outside before it was done")
	case run.Stopped != "":
		add("in the sandbox it was ended by the limit: " + run.Stopped)
	case len(run.Left) > 0:
		add("it leaves processes behind: " + oneLine(strings.Join(run.Left, ", ")))
	case run.Cut:
		add("its output was over the limit")
	case len(run.Moved) > 0:
		add("each time that it ran, something else changed what it touches: " + named(oneLines(run.Moved)) + "; deny it, let that come to rest, and have it asked again")
	default:
		add("the sandbox could not do what it does: " + named(run.Failed))
	}
	return p
}

func oneLines(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = oneLine(s)
	}
	return out
}

// verify reads back what a landing changed.
func (execKind) verify(ctx context.Context, _ Reader, e guard.Effect) reading {
	if e.Resource.Kind != TargetFile {
		return notComputed()
	}
	return verifyFile(ctx, e, true)
}

// inverse undoes a landed run, from what the landing kept.
func (execKind) inverse(_ context.Context, a guard.Approval) (Inverse, error) {
	switch {
	case a.Status != guard.Executed:
		_, err := undoable(a)
		return Inverse{}, err
	case a.Preview.Record == "" || Ran(a.Preview) == nil:
		return Inverse{}, noInverse(a.Preview.Effects[0])
	}
	args, err := json.Marshal(map[string]string{"record": a.Preview.Record})
	return Inverse{Tool: UndoCommand, Args: args, Roots: rootsOf(a.Preview.Effects)}, err
}

// rootsOf lists the workspace folders of the effects, each once.
func rootsOf(effects []guard.Effect) []string {
	var out []string
	for _, e := range effects {
		if !slices.Contains(out, e.Resource.Root) {
			out = append(out, e.Resource.Root)
		}
	}
	return out
}

// Ran returns the run behind a contained preview, or nil.
func Ran(p guard.Preview) *guard.ExecRun {
	if p.Change.Exec == nil {
		return nil
	}
	return p.Change.Exec.Run
}
