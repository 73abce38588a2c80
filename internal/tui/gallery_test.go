package tui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
)

// The pictures in the documentation are frames of the console, painted by the
// console: see TestPictures.

const pricesBefore = `"""Prices of the shop."""
from decimal import Decimal, ROUND_HALF_UP

VAT = {"DE": Decimal("0.19"), "FR": Decimal("0.20")}


def rounded(amount):
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def gross(net, country):
    """The price with tax."""
    return rounded(net * (1 + VAT[country]))


def discount(net, percent):
    """The price after a discount."""
    return net - net * percent / 100


def total(items, country):
    sum = Decimal(0)
    for item in items:
        sum += gross(item.price, country)
    return sum
`

const pricesAfter = `"""Prices of the shop."""
from decimal import Decimal, ROUND_HALF_UP

VAT = {"DE": Decimal("0.19"), "FR": Decimal("0.20"), "AT": Decimal("0.20")}


def rounded(amount):
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def gross(net, country):
    """The price with tax."""
    return rounded(net * (1 + VAT[country]))


def discount(net, percent):
    """The price after a discount of 0 to 100 percent."""
    if not 0 <= percent <= 100:
        raise ValueError(f"no such discount: {percent}")
    return rounded(net * (100 - percent) / 100)


def total(items, country):
    sum = Decimal(0)
    for item in items:
        sum += gross(item.price, country) * item.count
    return sum
`

const reviewAfter = "from auth import is_admin\n\n\ndef may_refund(user, amount):\n    # admins only \u202e\u2066 # check the role\u2069 \u2066\n    if is_\u0430dmin(user):\n        return True\n    return amount <= LIMIT\n"

const reviewBefore = "from auth import is_admin\n\n\ndef may_refund(user, amount):\n    # admins only\n    if is_admin(user):\n        return True\n    return amount <= LIMIT\n"

// gallery returns a daemon with what a working day brings.
func gallery() *fakeDaemon {
	f := newFake()
	f.status.Level = "L1"
	put := func(n int, tier, tool, target, before, after string, change func(*client.Detail)) {
		d := sample(n, tier, tool, target)
		d.Tenant, d.TenantID, d.Workflow = "shop", "shop", ""
		text, r := diff.Unified(diff.File{Path: target, Data: []byte(before), Exists: before != "", Mode: 0o644},
			diff.File{Path: target, Data: []byte(after), Exists: after != "", Mode: 0o644}, diff.Options{})
		d.Diff = client.NewDiff("unified", string(text))
		d.Added, d.Removed, d.Diff.Added, d.Diff.Removed = r.Added, r.Removed, r.Added, r.Removed
		if change != nil {
			change(&d)
		}
		f.put(d)
	}
	other := func(d *client.Detail) {
		d.RunID, d.RequestedBy.Folder = "run_01jq000000000000000000q9fz", "/home/mira/src/shop-tax"
	}
	put(1, t1, "edit_file", "src/shop/prices.py", pricesBefore, pricesAfter, nil)
	put(2, t1, "patch_document", "config/shop.json", "{\n  \"currency\": \"EUR\",\n  \"retries\": 3\n}\n", "{\n  \"currency\": \"EUR\",\n  \"retries\": 5\n}\n", func(d *client.Detail) {
		d.Diff.Type, d.Diff.Preview = "json_diff", []byte(`[{"op":"replace","path":"/retries","from":3,"to":5}]`)
	})
	put(3, t2, "delete_file", "notes/backup-codes.txt", "4411-9923\n1107-5520\n", "", func(d *client.Detail) {
		d.SideEffects = []string{"NOT reversible", "the file is outside version control"}
		d.Claim = "cleaning up, nobody uses these"
	})
	put(4, t1, "edit_file", "src/shop/refunds.py", reviewBefore, reviewAfter, func(d *client.Detail) {
		other(d)
		d.Hazards = []client.Hazard{
			{Kind: "bidi_control", Text: "4 characters that reorder text, first in line 5: what you read is not what runs"},
			{Kind: "mixed_script", Text: "a name mixes letters of several scripts, first in line 6"},
		}
		d.Claim = "only a comment"
	})
	put(5, t3, "run", "npm test", "", "", func(d *client.Detail) {
		other(d)
		d.Target, d.Summary = "run", "run npm test -- --update-snapshots"
		d.Diff = client.NewDiff("exec", "folder    /home/mira/src/shop-tax\nrun by    a shell of the server\nprograms  npm\ncommand\nnpm test -- --update-snapshots\n")
		d.Added, d.Removed = 0, 0
	})
	put(6, t4, "send_mail", "billing@example.com", "", "", func(d *client.Detail) {
		other(d)
		d.Server, d.Environment = "mail", "prod"
		d.Diff = client.NewDiff("message", `{"from":"shop@example.com","to":["billing@example.com","ann@example.com","li@partner.org"],"subject":"Refund for order 4711","attachments":["refund-4711.pdf (18 kB)"],"body":"Dear all,\n\nthe refund of 89.00 EUR for order 4711 is on its way. The invoice is\nattached; please book it under \"goodwill\".\n\nThe shop\n"}`)
		d.Added, d.Removed = 0, 0
		d.SideEffects = []string{"will email 3 recipients in 2 domains", "first message to partner.org", "NOT reversible"}
	})
	for _, d := range f.items {
		d.ExpiresAt = start.Add(time.Duration(4+len(d.Tool)) * time.Minute)
	}
	return f
}

// pictures lead to the frames that the documentation shows.
var pictures = []struct {
	name  string
	w, h  int
	light bool
	keys  []string
	text  string
}{
	{name: "console", w: 140, h: 45},
	{name: "console-small", w: 80, h: 24},
	{name: "console-light", w: 80, h: 24, light: true},
	{name: "hazards", w: 100, h: 28, keys: []string{"down", "down", "down"}},
	{name: "typed", w: 100, h: 38, keys: []string{"down", "down", "down", "down", "down", "G", "a"}, text: "agreed with Ann on the phone"},
}

// TestPictures keeps the pictures of the documentation as they are painted now.
func TestPictures(t *testing.T) {
	for _, p := range pictures {
		t.Run(p.name, func(t *testing.T) {
			d := newDesk(t, gallery(), func(c *Config) {
				c.Profile, c.Light = colorprofile.TrueColor, p.light
				c.Worktree = func(folder string) string {
					return map[string]string{"/home/mira/src/shop": "main", "/home/mira/src/shop-tax": "feature/tax"}[folder]
				}
			})
			d.size(p.w, p.h)
			d.play(p.keys, p.text)
			if p.name == "typed" {
				d.press("enter")
				d.write("billing@exam")
			}
			d.wait(2 * time.Second)
			path := filepath.Join("..", "..", "docs", "img", p.name+".svg")
			got := picture(d.last, d.m.w, p.light)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not what the console paints now (run with -update and look at it)", path)
			}
		})
	}
}

// TestPictureHoldsTheFrame reads a picture back: all letters of the frame, in
// order.
func TestPictureHoldsTheFrame(t *testing.T) {
	d := newDesk(t, gallery(), func(c *Config) { c.Profile = colorprofile.TrueColor })
	d.size(100, 30)
	var got strings.Builder
	_, body, _ := strings.Cut(picture(d.last, 100, false), "<g ")
	for _, part := range strings.Split(body, "<text ")[1:] {
		_, word, _ := strings.Cut(part, ">")
		word, _, _ = strings.Cut(word, "</text>")
		got.WriteString(strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(word))
	}
	want := strings.NewReplacer(" ", "", "\n", "", "─", "", "│", "", "▌", "").Replace(d.screen())
	if got.String() != want {
		t.Errorf("the picture reads\n%s\nthe frame\n%s", got.String(), want)
	}
}
