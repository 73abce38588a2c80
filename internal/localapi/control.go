package localapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

func (a *API) status(r *http.Request) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	s := a.cfg.Live.Status()
	s.Protocol, s.Unsigned, s.Version = client.Protocol, a.cfg.Unsigned(), a.cfg.Version
	s.Sessions = len(a.cfg.Live.Sessions())
	n, err := a.cfg.Store.Count(store.Filter{Status: []guard.Status{guard.Pending}})
	if err != nil {
		return nil, fmt.Errorf("counting approvals: %w", err)
	}
	alerts, err := a.cfg.Store.Alerts(false)
	if err != nil {
		return nil, fmt.Errorf("reading alerts: %w", err)
	}
	s.Pending = n
	for _, v := range a.cfg.Live.Servers() {
		s.Unaccepted += v.Unaccepted()
	}
	for _, v := range alerts {
		if v.Status == store.AlertRaised {
			s.Alerts++
		}
	}
	return s, nil
}

func (a *API) sessions(r *http.Request) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	pending, err := a.cfg.Store.Approvals(store.Filter{Status: []guard.Status{guard.Pending}})
	if err != nil {
		return nil, fmt.Errorf("listing approvals: %w", err)
	}
	count := map[string]int{}
	for _, v := range pending {
		count[string(v.SessionID)]++
	}
	list := a.cfg.Live.Sessions()
	for i := range list {
		list[i].Pending = count[list[i].ID]
	}
	return map[string]any{"sessions": notNil(list)}, nil
}

func (a *API) servers(r *http.Request) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	return map[string]any{"servers": notNil(a.cfg.Live.Servers())}, nil
}

// notNil returns an empty list for nil, so that JSON has an empty array.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a *API) switches(r *http.Request) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	return a.switchList(), nil
}

func (a *API) switchList() any {
	return map[string]any{"switches": switchesOf(a.cfg.Store.Switches())}
}

func (a *API) setSwitch(r *http.Request, by guard.Approver) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	var o client.SwitchChange
	if err := decode(r, &o); err != nil {
		return nil, err
	}
	reason, err := guard.CheckReason(o.Reason)
	if err != nil {
		return nil, &client.Problem{
			Status: http.StatusUnprocessableEntity, Code: client.CodeBadReason, Title: "Reason not accepted", Detail: err.Error(),
			Remedy: fmt.Sprintf("say in %d to %d characters why", guard.MinReason, guard.MaxReason),
		}
	}
	if err := a.checkScope(o.Scope); err != nil {
		return nil, err
	}
	err = a.cfg.Store.SetSwitch(r.Context(), guard.Switch{Scope: o.Scope, Reason: reason, By: by, At: a.cfg.Clock.Now().Wall, Now: o.Now})
	if err != nil {
		return nil, fmt.Errorf("setting the switch: %w", err)
	}
	return a.switchList(), nil
}

// checkScope refuses a scope that stops nothing: whoever misspelt it would
// believe that calls are stopped.
func (a *API) checkScope(scope string) error {
	if scope == "" {
		return nil
	}
	name, tool, both := strings.Cut(scope, "/")
	unknown := func(what string, known []string) error {
		p := &client.Problem{
			Status: http.StatusUnprocessableEntity, Code: client.CodeUnknownScope, Title: "Unknown scope",
			Detail: what, Remedy: "without a scope everything is stopped",
		}
		if len(known) > 0 {
			p.Remedy = "known are: " + strings.Join(known, ", ")
		}
		return p
	}
	var servers []string
	for _, s := range a.cfg.Live.Servers() {
		if s.Name != name {
			servers = append(servers, s.Name)
			continue
		}
		if !both {
			return nil
		}
		var tools []string
		for _, t := range s.Tools {
			if t.Name == tool {
				return nil
			}
			tools = append(tools, name+"/"+t.Name)
		}
		return unknown(fmt.Sprintf("the policy names no tool %q of the server %q", tool, name), tools)
	}
	return unknown(fmt.Sprintf("no server %q is configured", name), servers)
}

func (a *API) clearSwitch(r *http.Request, by guard.Approver) (any, error) {
	q := query(r, "scope")
	if q.err != nil {
		return nil, q.err
	}
	if _, given := q.values["scope"]; !given {
		// fail closed: a request meant for one server must not resume
		// everything.
		return nil, badRequest("the parameter scope is missing; it is empty for what stops everything")
	}
	scope := q.text("scope")
	if !slices.ContainsFunc(a.cfg.Store.Switches(), func(s guard.Switch) bool { return s.Scope == scope }) {
		p := notFound("nothing is paused under %q", scope)
		if scope == "" {
			p = notFound("the whole guard is not paused")
		}
		p.Code, p.Remedy = client.CodeNothingToClear, "`approve stats` shows what is paused"
		return nil, p
	}
	if err := a.cfg.Store.ClearSwitch(r.Context(), scope, by); err != nil {
		return nil, fmt.Errorf("clearing the switch: %w", err)
	}
	return a.switchList(), nil
}

func (a *API) alerts(r *http.Request) (any, error) {
	q := query(r, "all")
	all := q.flag("all")
	if q.err != nil {
		return nil, q.err
	}
	list, err := a.cfg.Store.Alerts(all)
	if err != nil {
		return nil, fmt.Errorf("reading alerts: %w", err)
	}
	out := []client.Alert{}
	for _, v := range list {
		if all || v.Status == store.AlertRaised {
			out = append(out, alertOf(v))
		}
	}
	return map[string]any{"alerts": out}, nil
}

func (a *API) acknowledge(r *http.Request, by guard.Approver) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	var empty struct{}
	if err := decode(r, &empty); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if err := guard.CheckID(guard.EventPrefix, id); err != nil {
		return nil, badRequest("%v", err)
	}
	list, err := a.cfg.Store.Alerts(true)
	if err != nil {
		return nil, fmt.Errorf("reading alerts: %w", err)
	}
	for _, v := range list {
		if string(v.ID) == id && v.Status != store.AlertRaised {
			return nil, &client.Problem{
				Status: http.StatusConflict, Code: client.CodeDecided, Title: "Already done",
				Detail: fmt.Sprintf("the alert is %s already", v.Status), Remedy: "nothing is left to do",
			}
		}
	}
	v, err := a.cfg.Store.AcknowledgeAlert(r.Context(), guard.EventID(id), by)
	if err != nil {
		p := a.problem(fmt.Errorf("acknowledging the alert %s: %w", id, err))
		if p.Code == client.CodeNotFound {
			p.Remedy = "`approve ack` lists what waits to be acknowledged"
		}
		return nil, p
	}
	return alertOf(v), nil
}

// decideApprovers takes a human's decision, under the rule in force, on who
// may decide.
func (a *API) decideApprovers(r *http.Request, by guard.Approver) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	var w client.ApproversDecision
	if err := decode(r, &w); err != nil {
		return nil, err
	}
	if w.Decision != client.Allow && w.Decision != client.Deny {
		return nil, badRequest("the decision is %q or %q", client.Allow, client.Deny)
	}
	var err error
	if w.Reason, err = reasonOf(w.Reason); err != nil {
		return nil, err
	}
	if a.cfg.Approvers == nil {
		return nil, notFound("no configuration waits for a decision")
	}
	return struct{}{}, a.cfg.Approvers(r.Context(), w, by)
}
