package localapi

import (
	"net/http"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// commands lists the commands that run in a sandbox now.
func (a *API) commands(r *http.Request) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	return map[string]any{"commands": notNil(a.cfg.Live.Commands())}, nil
}

// stopCommand ends a command that runs in a sandbox. Whoever may decide on a
// command may end its preview; the command is then shown for approval as text.
func (a *API) stopCommand(r *http.Request, by guard.Approver) (any, error) {
	if err := query(r).err; err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if err := guard.CheckID(guard.CallPrefix, id); err != nil {
		return nil, badRequest("%v", err)
	}
	var none struct{}
	if err := decode(r, &none); err != nil {
		return nil, err
	}
	if !a.cfg.Live.StopCommand(guard.CallID(id)) {
		p := notFound("the call %s does not run a command in a sandbox", id)
		p.Remedy = "it has ended by itself; look at what waits"
		return nil, p
	}
	a.log.Info("a command in a sandbox was ended", "call", id, "user", by.User, "pid", by.PID)
	return map[string]any{"commands": notNil(a.cfg.Live.Commands())}, nil
}
