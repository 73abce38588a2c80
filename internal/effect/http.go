package effect

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// HTTP sends a request. The response of the other side is not predicted.
const HTTP = "http"

// Hazards of requests.
const (
	HazardPlainHTTP = "not_encrypted"
	HazardUserinfo  = "credentials_in_address"
	HazardAddress   = "local_address"
	HazardHost      = "host_name"
	HazardURLData   = "data_in_address"
)

type httpKind struct{ notPredicted }

func (httpKind) about() About {
	return About{
		Name:    HTTP,
		params:  []param{{name: "url", want: expr.String}, {"method", expr.String, true}, {"body", expr.String, true}},
		touches: &touching{noun: "host", first: "first request to the host", many: "first request to the hosts", names: hostsOf},
	}
}

func hostsOf(_ string, c guard.Change) []string {
	if c.HTTP == nil {
		return nil
	}
	return []string{c.HTTP.Host}
}

func (httpKind) resolve(_ context.Context, _ *Binding, in Input) (resolved, error) {
	return resolved{targets: []guard.Target{runTarget(HTTP, in)}}, nil
}

// mayRedirect is added to every request, because only the first one is shown.
var mayRedirect = guard.SideEffect{Text: "the host may redirect it to another one, which the guard does not see"}

// urlData is the length in bytes from which a query or path segment is reported as
// data that leaves the machine.
const urlData = 100

// plan shows the parts of the request.
func (httpKind) plan(_ context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	raw, err := b.text(in, "url")
	if err != nil {
		return guard.Preview{}, err
	}
	method, body := "GET", ""
	if err := b.texts(in, map[string]*string{"method": &method, "body": &body}); err != nil {
		return guard.Preview{}, err
	}
	u, host, err := address(raw)
	if err != nil {
		return guard.Preview{}, err
	}
	var out strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%-7s %s\n", name, oneLine(value))
		}
	}
	row("method", method)
	row("scheme", u.Scheme)
	row("host", host)
	shown := shownName(host)
	row("reads", shown)
	row("port", u.Port())
	row("path", u.EscapedPath())
	row("query", u.RawQuery)
	row("as sent", raw)
	if body != "" {
		out.WriteString("body\n" + body + "\n")
	}
	text := out.String()
	var sides []guard.SideEffect
	if !slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method) {
		sides = append(sides, notReversible)
	}
	if b.dialect != DialectClaude { // it returns a redirect to another host to the model
		sides = append(sides, mayRedirect)
	}
	return guard.Preview{
		SideEffects: sides,
		Effects:     []guard.Effect{{Kind: HTTP, Resource: at.targets[0], Diff: digest.Sum([]byte(text))}},
		Change: guard.Change{Type: guard.ChangeHTTP, Text: text, Facts: guard.Facts{HTTP: &guard.HTTPFacts{
			Method: method, URL: raw, Scheme: u.Scheme, Host: host, HostShown: shown, Port: u.Port(), Path: u.EscapedPath(), Query: u.RawQuery, Body: body,
		}}},
		Hazards: slices.Concat(addressHazards(u, host), secretHazards("sends", []byte(raw+"\n"+body)), textHazards([]byte(text))),
		Summary: oneLine(method + " " + u.Scheme + "://" + withPort(host, u.Port())),
	}, nil
}

// withPort adds the port to the host if the address has one.
func withPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" {
		return host
	}
	return host + ":" + port
}

// address parses a URL. host is in the form used for lookups.
func address(raw string) (u *url.URL, host string, err error) {
	const repair = "give a plain https address"
	for _, r := range raw {
		if r <= ' ' || r == 0x7f || r == '\\' {
			// fail closed: readers of addresses disagree about these
			return nil, "", refusePlan(repair, "the address holds a blank, a control character or a backslash")
		}
	}
	u, perr := url.Parse(raw)
	if perr != nil {
		return nil, "", refusePlan(repair, "the address cannot be read")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, "", refusePlan(repair, "the address has no valid port")
		}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.Hostname() == "" {
		return nil, "", refusePlan(repair, "the address is not one of http or https with a host")
	}
	name := strings.TrimSuffix(u.Hostname(), ".")
	if _, aerr := netip.ParseAddr(name); aerr == nil {
		return u, name, nil
	}
	host, perr = idna.Lookup.ToASCII(name)
	if perr != nil || strings.Contains(host, "..") || strings.HasPrefix(host, ".") {
		return nil, "", refusePlan(repair, "the host's name is not a valid one")
	}
	return u, host, nil
}

func addressHazards(u *url.URL, host string) []guard.Hazard {
	var out []guard.Hazard
	add := func(kind, format string, args ...any) {
		out = append(out, guard.Hazard{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if u.Scheme == "http" {
		add(HazardPlainHTTP, "the request is not encrypted")
	}
	if u.User != nil {
		add(HazardUserinfo, "the address carries a user name or password")
	}
	if host != strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")) {
		add(HazardHost, "the host's name has letters beyond ASCII; it is looked up as %s", host)
	} else if strings.Contains(host, "xn--") {
		add(HazardHost, "the host's name stands for one with letters beyond ASCII")
	}
	if scripts := mixedScripts(shownName(host)); scripts != "" {
		add(HazardHost, "the host's name mixes scripts, as a name that imitates another does: %s", scripts)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal") || !strings.Contains(host, ".") && err != nil:
		add(HazardAddress, "the host is this machine or one of its own network")
	case err == nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()):
		add(HazardAddress, "the address is this machine or one of its own network")
	case err == nil || numeric(host):
		add(HazardAddress, "the host is a bare address without a name")
	}
	longest := len(u.RawQuery)
	for _, s := range strings.Split(u.EscapedPath(), "/") {
		longest = max(longest, len(s))
	}
	if labels := strings.Split(host, "."); len(labels[0]) > 40 || len(strings.Join(labels[:max(len(labels)-2, 0)], "")) > 60 {
		longest = max(longest, urlData)
	}
	if longest >= urlData {
		add(HazardURLData, "the address carries much text, which the other side gets to read")
	}
	return out
}

// numeric reports whether a host could be read as an address in another
// notation, such as 0x7f000001 or 2130706433.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && last[0] >= '0' && last[0] <= '9'
}
