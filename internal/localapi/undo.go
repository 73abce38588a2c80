package localapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// undo proposes the inverse of an executed change. It changes nothing: the
// inverse waits for a decision like every other change.
func (a *API) undo(r *http.Request, by guard.Approver) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	id := guard.ApprovalID(r.PathValue("id"))
	if err := guard.CheckID(guard.ApprovalPrefix, string(id)); err != nil {
		return nil, badRequest("%v", err)
	}
	var none struct{}
	if err := decode(r, &none); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), decideTimeout)
	defer cancel()
	fresh, err := a.cfg.Live.Undo(ctx, id, by)
	if err != nil {
		var no *effect.Refusal
		if errors.As(err, &no) {
			return nil, &client.Problem{
				Status: http.StatusConflict, Code: client.CodeNoUndo, Title: "Cannot be undone", Detail: no.Reason, Remedy: no.Repair,
			}
		}
		return nil, about(id, err)
	}
	a.log.Info("an undo was proposed", "approval", id, "by", fresh, "user", by.User, "pid", by.PID)
	v, err := a.cfg.Store.Approval(fresh)
	if err != nil {
		return nil, err
	}
	return a.detail(v), nil
}
