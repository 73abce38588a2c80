package localapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// Limits of lists.
const (
	pageLimit  = 1000  // approvals in one page
	matchLimit = 20000 // approvals that are searched for a shortened ID
	minRef     = 4     // characters of a shortened ID
	// briefArguments is how many bytes of arguments are sent with a change in
	// brief form. The arguments mostly repeat the change.
	briefArguments = 16 << 10
)

func (a *API) filter(r *http.Request, more ...string) (store.Filter, error) {
	q := query(r, append(more, "status", "run", "server", "tenant", "since", "after", "limit", "order")...)
	f := store.Filter{
		Tenant: q.text("tenant"), Server: q.text("server"), Run: guard.RunID(q.text("run")),
		Since: q.time("since"), After: guard.ApprovalID(q.text("after")),
		Limit: int(q.number("limit", pageLimit, 1, pageLimit)), Newest: !q.oldest(),
	}
	for _, name := range []string{"tenant", "server"} {
		if strings.ContainsFunc(q.text(name), unicode.IsControl) {
			q.fail(badRequest("the parameter %s holds a control character", name))
		}
	}
	if list := q.text("status"); list != "" {
		for word := range strings.SplitSeq(list, ",") {
			s := guard.Status(word)
			if !s.Valid() {
				q.fail(badRequest("%q is not a status; they are %s", word, statusList()))
			}
			f.Status = append(f.Status, s)
		}
	}
	if f.Run != "" {
		if err := guard.CheckID(guard.RunPrefix, string(f.Run)); err != nil {
			q.fail(badRequest("%v", err))
		}
	}
	if f.After != "" {
		if err := guard.CheckID(guard.ApprovalPrefix, string(f.After)); err != nil {
			q.fail(badRequest("%v", err))
		}
	}
	return f, q.err
}

func statusList() string {
	var words []string
	for _, s := range guard.Statuses {
		words = append(words, string(s))
	}
	return strings.Join(words, ", ")
}

func (a *API) list(r *http.Request) (any, error) {
	f, err := a.filter(r, "fields")
	if err != nil {
		return nil, err
	}
	only, err := selected(r.URL.Query().Get("fields"))
	if err != nil {
		return nil, err
	}
	limit := f.Limit
	f.Limit++ // the extra one shows whether there is a next page
	found, err := a.cfg.Store.Approvals(f)
	if err != nil {
		return nil, fmt.Errorf("listing approvals: %w", err)
	}
	page := client.Page{Approvals: make([]client.Approval, 0, min(len(found), limit))}
	now, rivals := a.cfg.Clock.Now(), a.rivals()
	for i, v := range found {
		if i == limit {
			page.Next = string(found[i-1].ID)
			break
		}
		page.Approvals = append(page.Approvals, contested(approvalOf(v, now), rivals))
	}
	if only != nil {
		return only.page(page)
	}
	return page, nil
}

func (a *API) count(r *http.Request) (any, error) {
	f, err := a.filter(r)
	if err != nil {
		return nil, err
	}
	f.Limit, f.After = 0, ""
	n, err := a.cfg.Store.Count(f)
	if err != nil {
		return nil, fmt.Errorf("counting approvals: %w", err)
	}
	return map[string]int{"count": n}, nil
}

func (a *API) get(r *http.Request) (any, error) {
	q := query(r, "brief")
	brief := q.flag("brief")
	if q.err != nil {
		return nil, q.err
	}
	id, err := a.resolve(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	v, err := a.cfg.Store.Approval(id)
	if errors.Is(err, store.ErrIndeterminate) {
		v, err = a.remembered(id, err)
	}
	if err != nil {
		return nil, about(id, err)
	}
	if n := len(v.Args); brief && n > briefArguments && v.Preview.Change.Text != "" {
		v.Args = []byte("null")
		d := a.detail(v)
		d.ArgumentsLeftOut = n
		return d, nil
	}
	return a.detail(v), nil
}

// remembered returns an open approval from memory when the database cannot be
// read, so that it can still be denied. It has no contents and says so;
// nothing can be allowed in that state.
func (a *API) remembered(id guard.ApprovalID, cause error) (guard.Approval, error) {
	list, err := a.cfg.Store.Approvals(store.Filter{Status: []guard.Status{guard.Pending, guard.Approved, guard.Executing}})
	if err != nil {
		return guard.Approval{}, cause
	}
	for _, v := range list {
		if v.ID == id {
			return v, nil
		}
	}
	return guard.Approval{}, cause
}

// about adds the ID of the approval to an error.
func about(id guard.ApprovalID, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound("there is no approval %s", id)
	}
	return fmt.Errorf("reading approval %s: %w", id, err)
}

func notFound(format string, args ...any) *client.Problem {
	return &client.Problem{
		Status: http.StatusNotFound, Code: client.CodeNotFound, Title: "Not found", Detail: fmt.Sprintf(format, args...),
		Remedy: "`approve --list --status all` shows what there is",
	}
}

// resolve returns the ID that ref stands for: ref itself, or the only ID that
// begins or ends with it. Open approvals are searched first.
func (a *API) resolve(ref string) (guard.ApprovalID, error) {
	if guard.CheckID(guard.ApprovalPrefix, ref) == nil {
		return guard.ApprovalID(ref), nil
	}
	word := strings.TrimPrefix(ref, guard.ApprovalPrefix+"_")
	if len(word) < minRef || len(word) > 26 || strings.Trim(word, "0123456789abcdefghjkmnpqrstvwxyz") != "" {
		return "", badRequest("%q is not an identifier of an approval, nor at least %d characters of the beginning or end of one", ref, minRef)
	}
	for _, f := range []store.Filter{
		{Status: []guard.Status{guard.Pending, guard.Approved, guard.Executing}, Newest: true, Limit: matchLimit},
		{Newest: true, Limit: matchLimit},
	} {
		list, err := a.cfg.Store.Approvals(f)
		if err != nil {
			return "", fmt.Errorf("looking for approval %s: %w", ref, err)
		}
		var found []string
		for _, v := range list {
			rest := strings.TrimPrefix(string(v.ID), guard.ApprovalPrefix+"_")
			if strings.HasSuffix(rest, word) || strings.HasPrefix(rest, word) {
				found = append(found, string(v.ID))
			}
		}
		switch {
		case len(found) == 1:
			return guard.ApprovalID(found[0]), nil
		case len(found) > 1:
			return "", &client.Problem{
				Status: http.StatusConflict, Code: client.CodeAmbiguous, Title: "Ambiguous",
				Detail: fmt.Sprintf("%d approvals fit %q", len(found), ref), Remedy: "give more of the identifier; its end tells more than its beginning",
				Candidates: found[:min(len(found), 10)],
			}
		}
	}
	return "", notFound("no approval fits %q", ref)
}

// decide is the only path to a decision. The ID must be complete, and the
// digest must be the one that the reviewer saw.
func (a *API) decide(r *http.Request, by guard.Approver) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if err := guard.CheckID(guard.ApprovalPrefix, id); err != nil {
		return nil, badRequest("%v", err)
	}
	var w client.DecisionRequest
	if err := decode(r, &w); err != nil {
		return nil, err
	}
	if w.Decision != client.Allow && w.Decision != client.Deny {
		return nil, badRequest("the decision is %q or %q", client.Allow, client.Deny)
	}
	reason, err := reasonOf(w.Reason)
	if err != nil {
		return nil, err
	}
	digest, err := digest.ParseDigest(w.Digest)
	if err != nil {
		return nil, badRequest("the digest of what was reviewed is missing or malformed: %v", err)
	}
	// The decision counts from here on, whether or not the reviewer waits for
	// the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), decideTimeout)
	defer cancel()
	v, err := a.cfg.Approvals.Decide(ctx, guard.ApprovalID(id), guard.Signoff{
		Approve: w.Decision == client.Allow, Digest: digest, Reason: reason, By: by, At: a.cfg.Clock.Now().Wall,
	})
	if err != nil {
		return nil, a.refused(guard.ApprovalID(id), err)
	}
	a.log.Info("a decision", "approval", id, "decision", w.Decision, "user", by.User, "pid", by.PID)
	if full, err := a.cfg.Store.Approval(v.ID); err == nil {
		v = full // a decided approval comes without contents, and may already run
	}
	return a.detail(v), nil
}

const decideTimeout = 25 * time.Second

// settle records a human's statement on an execution whose outcome could not
// be determined otherwise.
func (a *API) settle(r *http.Request, by guard.Approver) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if err := guard.CheckID(guard.ApprovalPrefix, id); err != nil {
		return nil, badRequest("%v", err)
	}
	var w struct { // client.Settlement, and whether it has the member ran
		Ran    *bool  `json:"ran"`
		Reason string `json:"reason"`
	}
	if err := decode(r, &w); err != nil {
		return nil, err
	}
	if w.Ran == nil {
		return nil, badRequest("the body does not say whether it ran: %q is true or false", "ran")
	}
	reason, err := reasonOf(w.Reason)
	if err != nil {
		return nil, err
	}
	v, err := a.cfg.Store.Approval(guard.ApprovalID(id))
	if err != nil {
		return nil, err
	}
	if v.Status != guard.Unknown {
		return nil, &store.StateError{ID: v.ID, Status: v.Status, Why: v.Why}
	}
	receipt := guard.Receipt{
		Outcome: guard.OutcomeError, ReadBack: guard.Unverifiable, EndedAt: a.cfg.Clock.Now().Wall,
		Detail: fmt.Sprintf("user %s says that it did not run: %s", by.User, reason),
	}
	if *w.Ran {
		receipt.Outcome, receipt.Detail = guard.OutcomeOK, fmt.Sprintf("user %s says that it ran: %s", by.User, reason)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), decideTimeout)
	defer cancel()
	if _, err := a.cfg.Store.Reconcile(ctx, v.CallID, receipt); err != nil {
		return nil, a.refused(v.ID, err)
	}
	a.log.Info("an outcome was settled", "approval", id, "ran", *w.Ran, "user", by.User, "pid", by.PID)
	if v, err = a.cfg.Store.Approval(v.ID); err != nil {
		return nil, err
	}
	return a.detail(v), nil
}

// reasonOf returns the trimmed reason, or why it cannot be used.
func reasonOf(text string) (string, error) {
	reason, err := guard.CheckReason(text)
	if err != nil {
		return "", &client.Problem{
			Status: http.StatusUnprocessableEntity, Code: client.CodeBadReason, Title: "Reason not accepted", Detail: err.Error(),
			Remedy: fmt.Sprintf("say in %d to %d characters why", guard.MinReason, guard.MaxReason),
		}
	}
	return reason, nil
}

// refused adds the current state to a refused decision: the content with the
// new digest, or the approval that replaced this one.
func (a *API) refused(id guard.ApprovalID, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return about(id, err)
	}
	p := a.problem(fmt.Errorf("deciding %s: %w", id, err))
	if p.Status != http.StatusConflict {
		return p
	}
	now, err := a.cfg.Store.Approval(id)
	if err != nil {
		return p // the refusal is sent without it
	}
	p.State, p.ReplacedBy = string(now.Status), string(now.ReplacedBy)
	if now.ReplacedBy != "" {
		if fresh, err := a.cfg.Store.Approval(now.ReplacedBy); err == nil {
			now = fresh
			p.Remedy = fmt.Sprintf("its target changed; look at the fresh approval with `approve show %s`", fresh.ID)
		}
	}
	d := a.detail(now)
	p.Approval, p.Digest = &d, d.Digest
	return p
}
