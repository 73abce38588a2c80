package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// maxBody limits the body of a request, in bytes. Decisions have the largest.
const maxBody = 64 << 10

// answer handles one request. Its result is written as JSON.
type answer func(r *http.Request) (any, error)

// decision handles one request of a peer that may decide.
type decision func(r *http.Request, by guard.Approver) (any, error)

// routes returns the handler for all routes of the API.
func (a *API) routes() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	add := func(method, path string, h http.HandlerFunc) {
		mux.HandleFunc(method+" "+path, h)
		methods[path] = append(methods[path], method)
	}
	read := func(path string, h answer) {
		add(http.MethodGet, path, func(w http.ResponseWriter, r *http.Request) { a.reply(w, r, h) })
	}
	decide := func(method, path string, h decision) {
		add(method, path, func(w http.ResponseWriter, r *http.Request) {
			a.reply(w, r, func(r *http.Request) (any, error) {
				by, err := a.approver(r)
				if err != nil {
					return nil, err
				}
				return h(r, by)
			})
		})
	}
	read("/v1/status", a.status)
	read("/v1/approvals", a.list)
	read("/v1/approvals/count", a.count)
	read("/v1/approvals/{id}", a.get)
	decide(http.MethodPost, "/v1/approvals/{id}/decision", a.decide)
	decide(http.MethodPost, "/v1/approvals/{id}/settlement", a.settle)
	decide(http.MethodPost, "/v1/approvals/{id}/undo", a.undo)
	add(http.MethodGet, "/v1/events", a.events)
	read("/v1/sessions", a.sessions)
	read("/v1/servers", a.servers)
	read("/v1/commands", a.commands)
	decide(http.MethodPost, "/v1/commands/{id}/stop", a.stopCommand)
	read("/v1/switches", a.switches)
	decide(http.MethodPost, "/v1/switches", a.setSwitch)
	decide(http.MethodDelete, "/v1/switches", a.clearSwitch)
	read("/v1/alerts", a.alerts)
	decide(http.MethodPost, "/v1/alerts/{id}/acknowledgement", a.acknowledge)
	decide(http.MethodPost, "/v1/approvers/decision", a.decideApprovers)
	read("/v1/stats", a.stats)
	read("/v1/audit", a.audit)
	read("/v1/audit/checkpoint", a.checkpoint)
	read("/v1/audit/verification", a.verification)

	for path, allowed := range methods {
		list := strings.Join(allowed, ", ")
		refuse := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", list)
			writeProblem(w, &client.Problem{
				Status: http.StatusMethodNotAllowed, Code: client.CodeMethod, Title: "Method not allowed",
				Detail: fmt.Sprintf("this address takes %s", list),
			})
		}
		// One pattern for each method: a single one for all methods would
		// conflict with the paths that have a wildcard.
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			if !slices.Contains(allowed, m) {
				mux.HandleFunc(m+" "+path, refuse)
			}
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, &client.Problem{
			Status: http.StatusNotFound, Code: client.CodeNotFound, Title: "Not found",
			Detail: "there is nothing at this address", Remedy: "update approve and mcpguardd to the same version",
		})
	})
	return mux
}

// gate refuses, before anything is looked up, everything but a plain request
// of a local program of the same user.
func (a *API) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(client.HeaderProtocol, strconv.Itoa(client.Protocol))
		h.Set(client.HeaderVersion, a.cfg.Version)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		defer a.recover(w, r)
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // always supported here; without it a slow reader costs a goroutine
		if p := check(r); p != nil {
			a.log.Warn("a request was refused", "rule", p.Code, "detail", p.Detail)
			writeProblem(w, p)
			return
		}
		if r.Body != nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

// recover answers the request of a handler that panicked.
func (a *API) recover(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v) // the server's own way to cut a stream
	}
	a.log.Error("a handler of the control API panicked", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	writeProblem(w, a.problem(errors.New("panic")))
}

// check returns what is wrong with a request, before its path is looked at.
func check(r *http.Request) *client.Problem {
	for name := range r.Header {
		// A page in a browser cannot send a request without these.
		if name == "Origin" || name == "Referer" || strings.HasPrefix(name, "Sec-Fetch-") {
			return &client.Problem{
				Status: http.StatusForbidden, Code: client.CodeForeign, Title: "Foreign request",
				Detail: fmt.Sprintf("a request with the header %s is not answered", name),
			}
		}
	}
	if r.Host != client.Host {
		return &client.Problem{
			Status: http.StatusForbidden, Code: client.CodeForeign, Title: "Foreign request",
			Detail: fmt.Sprintf("this API answers to the host name %q alone", client.Host),
		}
	}
	if _, err := reader(r); err != nil {
		var p *client.Problem
		errors.As(err, &p)
		return p
	}
	if v := r.Header.Get(client.HeaderProtocol); v != "" && v != strconv.Itoa(client.Protocol) {
		return &client.Problem{
			Status: http.StatusBadRequest, Code: client.CodeVersion, Title: "Another version",
			Detail: fmt.Sprintf("the daemon speaks version %d of the control API, this program another", client.Protocol),
			Remedy: "update both to the same version; `mcpguardd stop` ends the daemon, the next call starts the new one",
		}
	}
	if path.Clean(r.URL.Path) != r.URL.Path || r.URL.Path != strings.TrimSpace(r.URL.Path) {
		return badRequest("the path is not in its shortest form")
	}
	switch r.Method {
	case http.MethodGet, http.MethodDelete:
		if r.ContentLength != 0 {
			return badRequest("a %s request has no body", r.Method)
		}
	case http.MethodPost:
		return checkMedia(r)
	default:
		return &client.Problem{
			Status: http.StatusMethodNotAllowed, Code: client.CodeMethod, Title: "Method not allowed",
			Detail: "this API takes GET, POST and DELETE",
		}
	}
	return nil
}

func checkMedia(r *http.Request) *client.Problem {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) && r.Header.Get("Content-Encoding") == "" {
		return nil
	}
	return &client.Problem{
		Status: http.StatusUnsupportedMediaType, Code: client.CodeMediaType, Title: "Unsupported media type",
		Detail: "the body must be application/json, not encoded further",
	}
}

// reply writes the result of h.
func (a *API) reply(w http.ResponseWriter, r *http.Request, h answer) {
	v, err := h(r)
	if err != nil {
		writeProblem(w, a.problem(err))
		return
	}
	var b bytes.Buffer
	if done, ok := v.(encoded); ok {
		b.Write(done)
	} else {
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			writeProblem(w, a.problem(fmt.Errorf("encoding the answer to %s: %w", r.URL.Path, err)))
			return
		}
	}
	// The deadline starts here: verifying a long log takes longer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = b.WriteTo(w) // the reader is gone and needs no answer
}

// decode reads the body of a request. Every body decides something, so it is
// read as strictly as [jsonvalue.DecodeStrict] does.
func decode(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			return err
		}
		return badRequest("the body cannot be read: %v", err)
	}
	if err := jsonvalue.DecodeStrict(body, into); err != nil {
		return badRequest("the body cannot be read: %v", err)
	}
	return nil
}

// params reads the query of a request strictly.
type params struct {
	values map[string][]string
	err    error
}

// query accepts the parameters that the route knows. Unknown and repeated ones
// are errors, since an ignored filter shows too much.
func query(r *http.Request, known ...string) *params {
	p := &params{values: map[string][]string{}}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		p.err = badRequest("the query cannot be read")
		return p
	}
	for name, v := range values {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			p.err = badRequest("the parameter %q is not known here; known are: %s", name, strings.Join(known, ", "))
		} else if len(v) > 1 {
			p.err = badRequest("the parameter %q is given %d times", name, len(v))
		}
	}
	p.values = values
	return p
}

func (p *params) text(name string) string {
	if v := p.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// number returns the parameter, or fallback if it is absent.
func (p *params) number(name string, fallback, least, most int64) int64 {
	s := p.text(name)
	if s == "" {
		return fallback
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		p.fail(badRequest("the parameter %s is a number from %d to %d", name, least, most))
		return fallback
	}
	return n
}

func (p *params) flag(name string) bool {
	switch p.text(name) {
	case "", "false":
		return false
	case "true":
		return true
	}
	p.fail(badRequest("the parameter %s is true or false", name))
	return false
}

func (p *params) time(name string) time.Time {
	s := p.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		p.fail(badRequest("the parameter %s is a time such as 2026-01-31T12:00:00Z", name))
	}
	return t
}

// oldest returns the order; newest first is the default.
func (p *params) oldest() bool {
	switch p.text("order") {
	case "", "newest":
		return false
	case "oldest":
		return true
	}
	p.fail(badRequest("the parameter order is newest or oldest"))
	return false
}

func (p *params) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}
