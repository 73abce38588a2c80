package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// maxAnswer is the largest response body that is read, in bytes.
const maxAnswer = 256 << 20

// Client talks to one daemon. Its methods are safe for concurrent use; set its
// fields before the first call. Every error wraps exactly one kind of failure
// (ErrUnreachable, …) or is the context's error. A refusal by the daemon is a
// *Problem.
type Client struct {
	// Version is the caller's version, for the daemon's log and for messages.
	Version string
	// Autostart, if set, is called once per request when no daemon answers;
	// the request is then repeated.
	Autostart func(ctx context.Context) error

	path string
	http *http.Client
	// The fields below are set only by tests.
	backoff  func(attempt int) time.Duration
	silence  time.Duration
	patience time.Duration
}

// New returns a client of the daemon that listens on the socket at path. It
// does not connect yet.
func New(path string) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return ipc.Dial(ctx, path)
		},
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
	return &Client{path: path, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// List returns one page of approvals, without their contents.
func (c *Client) List(ctx context.Context, f Filter) (Page, error) {
	return get[Page](ctx, c, "/v1/approvals", f.query())
}

// ListAll returns every approval that f selects, page by page; f.Limit, if
// set, bounds the total.
func (c *Client) ListAll(ctx context.Context, f Filter) ([]Approval, error) {
	return listAll[Approval](ctx, c, f)
}

// ListRaw is like ListAll and returns the approvals as the daemon wrote them.
func (c *Client) ListRaw(ctx context.Context, f Filter) ([]json.RawMessage, error) {
	return listAll[json.RawMessage](ctx, c, f)
}

func listAll[T any](ctx context.Context, c *Client, f Filter) ([]T, error) {
	limit := f.Limit
	all := []T{}
	for {
		if limit > 0 {
			f.Limit = min(limit-len(all), maxPage)
		}
		page, err := get[struct {
			Approvals []T    `json:"approvals"`
			Next      string `json:"next"`
		}](ctx, c, "/v1/approvals", f.query())
		if err != nil {
			return nil, err
		}
		all = append(all, page.Approvals...)
		if page.Next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		f.After = page.Next
	}
}

// maxPage is the largest page of approvals that the daemon sends.
const maxPage = 1000

// Count returns how many approvals f selects. It ignores f.Limit and f.After.
func (c *Client) Count(ctx context.Context, f Filter) (int, error) {
	f.Fields, f.Limit, f.After = nil, 0, ""
	n, err := get[struct {
		Count int `json:"count"`
	}](ctx, c, "/v1/approvals/count", f.query())
	return n.Count, err
}

// Get returns one approval in full. ref is its identifier, or a prefix or
// suffix that matches only one approval; open approvals are tried first.
func (c *Client) Get(ctx context.Context, ref string) (Detail, error) {
	return get[Detail](ctx, c, "/v1/approvals/"+url.PathEscape(ref), nil)
}

// GetBrief is like Get but leaves out long arguments if the change has a text,
// which is what a reviewer reads first.
func (c *Client) GetBrief(ctx context.Context, ref string) (Detail, error) {
	return get[Detail](ctx, c, "/v1/approvals/"+url.PathEscape(ref), url.Values{"brief": {"true"}})
}

// Decide sends a decision about the approval with exactly this identifier, and
// returns the approval's new state.
func (c *Client) Decide(ctx context.Context, id string, w DecisionRequest) (Detail, error) {
	return send[Detail](ctx, c, http.MethodPost, "/v1/approvals/"+url.PathEscape(id)+"/decision", nil, w)
}

// Settle records the outcome of an execution whose outcome is unknown, and
// returns the approval's new state.
func (c *Client) Settle(ctx context.Context, id string, w Settlement) (Detail, error) {
	return send[Detail](ctx, c, http.MethodPost, "/v1/approvals/"+url.PathEscape(id)+"/settlement", nil, w)
}

// Undo proposes the inverse of an executed change, and returns the new pending
// approval.
func (c *Client) Undo(ctx context.Context, id string) (Detail, error) {
	return send[Detail](ctx, c, http.MethodPost, "/v1/approvals/"+url.PathEscape(id)+"/undo", nil, struct{}{})
}

// Sessions returns the sessions that are served now.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	v, err := get[struct {
		Sessions []Session `json:"sessions"`
	}](ctx, c, "/v1/sessions", nil)
	return v.Sessions, err
}

// Servers returns the configured servers.
func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	v, err := get[struct {
		Servers []Server `json:"servers"`
	}](ctx, c, "/v1/servers", nil)
	return v.Servers, err
}

type switches struct {
	Switches []Switch `json:"switches"`
}

// Switches returns the switches that are set.
func (c *Client) Switches(ctx context.Context) ([]Switch, error) {
	v, err := get[switches](ctx, c, "/v1/switches", nil)
	return v.Switches, err
}

// SetSwitch pauses the calls of a scope, and returns all switches that are now
// set.
func (c *Client) SetSwitch(ctx context.Context, scope, reason string) ([]Switch, error) {
	v, err := send[switches](ctx, c, http.MethodPost, "/v1/switches", nil, SwitchChange{Scope: scope, Reason: reason})
	return v.Switches, err
}

// StopNow is like SetSwitch and also ends calls in flight: it cancels them and
// ends the processes of their servers. A call that has begun to change files
// finishes first.
func (c *Client) StopNow(ctx context.Context, scope, reason string) ([]Switch, error) {
	v, err := send[switches](ctx, c, http.MethodPost, "/v1/switches", nil, SwitchChange{Scope: scope, Reason: reason, Now: true})
	return v.Switches, err
}

// SwitchChange is the body of a request to set a switch.
type SwitchChange struct {
	Scope  string `json:"scope"`
	Reason string `json:"reason"`
	Now    bool   `json:"now,omitempty"`
}

// ClearSwitch resumes the calls of a scope, and returns the switches that
// remain.
func (c *Client) ClearSwitch(ctx context.Context, scope string) ([]Switch, error) {
	v, err := send[switches](ctx, c, http.MethodDelete, "/v1/switches", url.Values{"scope": {scope}}, nil)
	return v.Switches, err
}

// Alerts returns the alerts that wait for a human; with all, also the
// acknowledged and resolved ones.
func (c *Client) Alerts(ctx context.Context, all bool) ([]Alert, error) {
	q := url.Values{}
	if all {
		q.Set("all", "true")
	}
	v, err := get[struct {
		Alerts []Alert `json:"alerts"`
	}](ctx, c, "/v1/alerts", q)
	return v.Alerts, err
}

// Acknowledge records that a human has seen the alert.
func (c *Client) Acknowledge(ctx context.Context, id string) (Alert, error) {
	return send[Alert](ctx, c, http.MethodPost, "/v1/alerts/"+url.PathEscape(id)+"/acknowledgement", nil, struct{}{})
}

// DecideApprovers decides whether a pending setting of approvers.unsigned
// takes effect.
func (c *Client) DecideApprovers(ctx context.Context, w ApproversDecision) error {
	_, err := send[struct{}](ctx, c, http.MethodPost, "/v1/approvers/decision", nil, w)
	return err
}

// Stats counts what happened since a time; the zero time means 24 hours ago.
func (c *Client) Stats(ctx context.Context, since time.Time) (Stats, error) {
	q := url.Values{}
	setTime(q, "since", since)
	return get[Stats](ctx, c, "/v1/stats", q)
}

// Audit returns one page of the audit log.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (Records, error) {
	return get[Records](ctx, c, "/v1/audit", f.query())
}

// Checkpoint returns the signed state of the audit log and the proof that it
// extends the log of size since; 0 asks for no proof.
func (c *Client) Checkpoint(ctx context.Context, since int64) (Proof, error) {
	q := url.Values{}
	if since > 0 {
		q.Set("since", strconv.FormatInt(since, 10))
	}
	return get[Proof](ctx, c, "/v1/audit/checkpoint", q)
}

// VerifyLog has the daemon recompute its log, which may take a while.
func (c *Client) VerifyLog(ctx context.Context) (Verification, error) {
	return get[Verification](ctx, c, "/v1/audit/verification", nil)
}

// Status returns the daemon's report about itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

func (f Filter) query() url.Values {
	q := url.Values{}
	if len(f.Status) > 0 {
		q.Set("status", strings.Join(f.Status, ","))
	}
	set(q, "run", f.Run)
	set(q, "server", f.Server)
	set(q, "tenant", f.Tenant)
	set(q, "after", f.After)
	set(q, "fields", strings.Join(f.Fields, ","))
	setTime(q, "since", f.Since)
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Oldest {
		q.Set("order", "oldest")
	}
	return q
}

func (f AuditFilter) query() url.Values {
	q := url.Values{}
	if len(f.Types) > 0 {
		q.Set("type", strings.Join(f.Types, ","))
	}
	set(q, "run", f.Run)
	set(q, "approval", f.Approval)
	set(q, "server", f.Server)
	set(q, "tool", f.Tool)
	set(q, "tenant", f.Tenant)
	set(q, "status", f.Status)
	set(q, "verdict", f.Verdict)
	setTime(q, "since", f.Since)
	setTime(q, "until", f.Until)
	if f.From > 0 {
		q.Set("from", strconv.FormatInt(f.From, 10))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Oldest {
		q.Set("order", "oldest")
	}
	return q
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func setTime(q url.Values, name string, t time.Time) {
	if !t.IsZero() {
		q.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
}

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	return send[T](ctx, c, http.MethodGet, path, q, nil)
}

// send makes one request and decodes the response.
func send[T any](ctx context.Context, c *Client, method, path string, q url.Values, body any) (T, error) {
	var out T
	var encoded []byte
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return out, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		encoded = b
	}
	r := request{method: method, path: path, query: q, body: encoded, patience: readPatience}
	if method != http.MethodGet {
		r.patience = changePatience
	}
	if c.patience > 0 {
		r.patience = c.patience
	}
	res, err := c.do(ctx, r)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	b, err := readAnswer(res)
	var silent *silenceError
	switch {
	case errors.As(err, &silent):
		return out, fmt.Errorf("%w: %w", ErrUnreachable, err)
	case err == nil:
		err = jsonvalue.DecodeKnown(b, &out)
	}
	if err != nil {
		return out, fmt.Errorf("%w: reading its answer: %w", ErrServer, err)
	}
	return out, nil
}

// readAnswer reads a body of at most maxAnswer bytes, in one allocation if its
// length is announced.
func readAnswer(res *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := res.ContentLength; n > 0 && n <= maxAnswer {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(res.Body, maxAnswer+1)); err != nil {
		return nil, err
	}
	if b.Len() > maxAnswer {
		return nil, fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	return b.Bytes(), nil
}

// request is one request of the control API.
type request struct {
	method, path string
	query        url.Values
	body         []byte      // JSON; nil for none
	header       http.Header // in addition to those of every request
	// patience is how long the daemon may send nothing; 0 means that only the
	// caller's context bounds the wait.
	patience time.Duration
}

// How long a daemon that has accepted a request may send nothing. A request
// that changes something may start a server first.
const (
	readPatience   = 15 * time.Second
	changePatience = 2 * time.Minute
)

// do makes one request, starting the daemon if configured, and turns every
// response but success into an error. The caller closes the body.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	res, err := c.try(ctx, r)
	if errors.Is(err, ipc.ErrNoDaemon) && c.Autostart != nil {
		if err := c.Autostart(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		res, err = c.try(ctx, r)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("asking the daemon: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if err := c.checkVersion(res); err != nil {
		res.Body.Close()
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		return nil, problemOf(res)
	}
	return res, nil
}

func (c *Client) try(ctx context.Context, r request) (*http.Response, error) {
	target := "http://" + Host + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	ctx, answer := c.await(ctx, r.patience)
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		answer.Close()
		return nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	req.Header.Set(HeaderProtocol, strconv.Itoa(Protocol))
	req.Header.Set("User-Agent", "mcpguard/"+c.Version)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	// The library's wrapping does not help: its URL is not a real address.
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if err != nil {
		answer.Close()
		if silent := answer.silent(); silent != nil {
			err = silent
		}
		return nil, err
	}
	answer.body, res.Body = res.Body, answer
	return res, nil
}

func (c *Client) checkVersion(res *http.Response) error {
	got, version := res.Header.Get(HeaderProtocol), res.Header.Get(HeaderVersion)
	if got == strconv.Itoa(Protocol) {
		return nil
	}
	if got == "" {
		return fmt.Errorf("%w: what listens on %s does not answer like mcpguard's control API", ErrVersion, c.path)
	}
	return fmt.Errorf("%w: it is %s and speaks version %s of the control API, this program is %s and speaks %d; end the daemon with `mcpguardd stop`, the next call starts the newer one",
		ErrVersion, version, got, c.Version, Protocol)
}

func problemOf(res *http.Response) error {
	p := &Problem{}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil || jsonvalue.DecodeKnown(b, p) != nil || p.Code == "" {
		p = &Problem{Code: CodeInternal, Detail: fmt.Sprintf("the daemon answered with status %d and no explanation", res.StatusCode)}
	}
	p.Status = res.StatusCode
	return p
}
