package localapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestAmbiguousBodiesAreRefused: each route that decides something refuses
// bodies that encoding/json would accept as a permission.
func TestAmbiguousBodiesAreRefused(t *testing.T) {
	r := newRig(t, nil)
	a := r.pending(r.session(), "one")
	approval := "/v1/approvals/" + string(a.ID)
	decision := fmt.Sprintf(`"digest":"%s","reason":"as discussed"`, a.Digest)
	must(r.c.SetSwitch(ctx, "files", "looking into it"))(t)

	for _, c := range []struct{ path, body, says string }{
		{approval + "/decision", `{"decision":"deny","Decision":"allow",` + decision + `}`, `"Decision" (the name is "decision") at byte 19`},
		{approval + "/decision", `{"Decision":"allow",` + decision + `}`, `"Decision"`},
		{approval + "/decision", `{"decision":"deny","deciſion":"allow",` + decision + `}`, `(the name is "decision")`},
		{approval + "/decision", `{"decision":"deny","decision":"allow",` + decision + `}`, "twice at byte 19"},
		{approval + "/decision", `{"decision":"deny","\u0064ecision":"allow",` + decision + `}`, "twice at byte 19"},
		{approval + "/decision", `{"decision":"allow","scope":"run",` + decision + `}`, `unknown member "scope"`},
		{approval + "/decision", `{"decision":"allow",` + decision + `}{}`, "after the value"},
		{approval + "/decision", `[{"decision":"allow",` + decision + `}]`, "not an object"},
		{approval + "/decision", `{"decision":["allow"],` + decision + `}`, "cannot be read"},
		{approval + "/settlement", `{"ran":false,"Ran":true,"reason":"as discussed"}`, `"Ran"`},
		{approval + "/settlement", `{"reason":"as discussed"}`, `"ran" is true or false`},
		{approval + "/undo", `{"x":1}`, `unknown member "x"`},
		{approval + "/undo", `null`, "not an object"},
		{approval + "/undo?really=true", `{}`, `"really" is not known`},
		{"/v1/switches", `{"scope":"files","Scope":"","reason":"as discussed"}`, `"Scope"`},
		{"/v1/switches", `{"scope":"files","scope":"","reason":"as discussed"}`, "twice"},
		{"/v1/approvers/decision", `{"decision":"deny","Decision":"allow","unsigned":"any","reason":"as discussed"}`, `"Decision"`},
		{"/v1/approvers/decision", `{"decision":"perhaps","unsigned":"any","reason":"as discussed"}`, `"allow" or "deny"`},
		{"/v1/alerts/" + string(guard.NewEventID()) + "/acknowledgement", `{"x":1}`, `unknown member "x"`},
	} {
		res := r.raw(request(http.MethodPost, c.path, c.body, "Content-Type: application/json"))
		if p := problemIn(t, res); p.Status != http.StatusBadRequest || p.Code != client.CodeBadRequest || !strings.Contains(p.Detail, c.says) {
			t.Errorf("POST %s %s: got %d %s: %s, want a refusal with %s", c.path, c.body, p.Status, p.Code, p.Detail, c.says)
		}
	}
	for _, path := range []string{"/v1/switches", "/v1/switches?Scope=files"} {
		if p := problemIn(t, r.raw(request(http.MethodDelete, path, ""))); p.Status != http.StatusBadRequest {
			t.Errorf("DELETE %s: got %d %s", path, p.Status, p.Detail)
		}
	}
	if now := must(r.store.Approval(a.ID))(t); now.Status != guard.Pending {
		t.Errorf("the approval is %s, want it to wait", now.Status)
	}
	if on := r.store.Switches(); len(on) != 1 {
		t.Errorf("switches %+v, want the one that was set", on)
	}
}
