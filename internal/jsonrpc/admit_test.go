package jsonrpc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func admitReason(t *testing.T, frame string, l Limits) Reason {
	t.Helper()
	m, err := Admit([]byte(frame), l)
	if err == nil {
		return 0
	}
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("Admit(%.80q): error is %T, want *Refusal", frame, err)
	}
	if m.Raw != nil || m.Kind != 0 {
		t.Errorf("Admit(%.80q): refused, but a message was returned", frame)
	}
	return r.Reason
}

func TestAdmitKinds(t *testing.T) {
	for _, tc := range []struct {
		frame, method, id string
		kind              MessageKind
	}{
		{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":1}}}`, "tools/call", "1", Request},
		{` { "method" : "tools\/call" , "id" : "\u0061" , "jsonrpc" : "2.0" } `, "tools/call", `"a"`, Request},
		{`{"jsonrpc":"2.0","id":-9007199254740992,"method":"x/y"}`, "x/y", "-9007199254740992", Request},
		{`{"jsonrpc":"2.0","method":"notifications/initialized","params":null}`, "notifications/initialized", "null", Notification},
		{`{"jsonrpc":"2.0","id":0,"result":{}}`, "", "0", Response},
		{`{"jsonrpc":"2.0","id":"x","result":null}`, "", `"x"`, Response},
		{`{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}`, "", `"x"`, Response},
		{`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}`, "", `null`, Response},
		{`{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}`, "", `null`, Response},
		{`{"jsonrpc":"2\u002e0","id":7,"method":"ping","ext":{"Method":1,"x":1e999}}`, "ping", "7", Request},
	} {
		m, err := Admit([]byte(tc.frame), Limits{})
		if err != nil {
			t.Errorf("Admit(%s): %v", tc.frame, err)
			continue
		}
		if m.Kind != tc.kind || m.Method != tc.method || m.ID.String() != tc.id || string(m.Raw) != tc.frame {
			t.Errorf("Admit(%s) = %v %q %v", tc.frame, m.Kind, m.Method, m.ID)
		}
	}
}

func TestAdmitSpans(t *testing.T) {
	m, err := Admit([]byte(`{"jsonrpc":"2.0","id":1,"method":"m","params": {"name":"\u0061b","_meta":{}} }`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.ParamsRaw()); got != `{"name":"\u0061b","_meta":{}}` {
		t.Errorf("ParamsRaw = %s", got)
	}
	if m.ResultRaw() != nil || m.ErrorRaw() != nil {
		t.Error("absent members have bytes")
	}
	s, ok := m.Param("name")
	if str, ok2 := String(m.Raw, s); !ok || !ok2 || str != "ab" {
		t.Errorf("name = %q %v %v", str, ok, ok2)
	}
}

// refused lists one frame or more for every reason.
var refused = []struct {
	why   Reason
	frame string
}{
	{DuplicateMember, `{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}`},
	{DuplicateMember, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","n\u0061me":"y"}}`},
	{DuplicateMember, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":{"o":[{"k":1,"k":2}]}}}`},
	{DuplicateMember, `{"jsonrpc":"2.0","id":1,"result":{"x":[[{"":1,"":1}]]}}`},
	{DuplicateMember, `{"jsonrpc":"2.0","id":1,"method":"a","x":{"\ud83d\ude00":1,"😀":2}}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","id":1,"method":"a","Method":"b"}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","id":1,"method":"a","PARAMS":{}}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","id":1,"method":"a","param\u017f":{}}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"Name":"x"}}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"progresstoken":"x"}}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"tas` + "\u212a" + `":"x"}}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"\u0041rguments":{}}}`},
	{CaseFoldedMember, `{"jsonrpc":"2.0","ID":1,"method":"a"}`},
	{InvalidUTF8, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\xff\"}"},
	{InvalidUTF8, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xed\xa0\x80\"}"},
	{InvalidUTF8, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc0\xaf\"}"},
	{LoneSurrogate, `{"jsonrpc":"2.0","id":1,"method":"\ud800"}`},
	{LoneSurrogate, `{"jsonrpc":"2.0","id":1,"method":"\ud800\ud800"}`},
	{LoneSurrogate, `{"jsonrpc":"2.0","id":1,"method":"\udc00\ud800"}`},
	{LoneSurrogate, `{"jsonrpc":"2.0","id":1,"method":"a","x":"\uD83Dx"}`},
	{NulInName, `{"jsonrpc":"2.0","id":1,"method":"a","x":{"a\u0000b":1}}`},
	{NumberNotCanonical, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":{"n":9007199254740993}}}`},
	{NumberNotCanonical, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":[[{"n":-0}]]}}`},
	{NumberNotCanonical, `{"jsonrpc":"2.0","id":1,"params":{"arguments":{"n":1e400}},"method":"a"}`},
	{NumberNotCanonical, `{"jsonrpc":"2.0","id":1,"params":{"argum\u0065nts":1e-400},"method":"a"}`},
	{TooDeep, `{"jsonrpc":"2.0","id":1,"method":"a","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`},
	{TooDeep, `{"jsonrpc":"2.0","id":1,"method":"a","x":` + strings.Repeat(`{"":`, 1_000_000)},
	{Batch, `[{"jsonrpc":"2.0","id":1,"method":"a"}]`},
	{Batch, ` []`},
	{NotAnObject, `"x"`},
	{NotAnObject, ` 17 `},
	{BadID, `{"jsonrpc":"2.0","id":null,"method":"a"}`},
	{BadID, `{"jsonrpc":"2.0","id":1.0,"method":"a"}`},
	{BadID, `{"jsonrpc":"2.0","id":1e0,"method":"a"}`},
	{BadID, `{"jsonrpc":"2.0","id":-0,"method":"a"}`},
	{BadID, `{"jsonrpc":"2.0","id":9007199254740993,"method":"a"}`},
	{BadID, `{"jsonrpc":"2.0","id":true,"method":"a"}`},
	{BadID, `{"jsonrpc":"2.0","id":{},"method":"a"}`},
	{BadID, `{"jsonrpc":"2.0","id":null,"result":{}}`},
	{BadID, `{"jsonrpc":"2.0","result":{}}`},
	{BadID, `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", maxIDLen+1) + `","method":"a"}`},
	{BadVersion, `{"id":1,"method":"a"}`},
	{BadVersion, `{"jsonrpc":"1.0","id":1,"method":"a"}`},
	{BadVersion, `{"jsonrpc":2.0,"id":1,"method":"a"}`},
	{BadMethod, `{"jsonrpc":"2.0","id":1,"method":1}`},
	{BadMethod, `{"jsonrpc":"2.0","id":1,"method":null}`},
	{BadParams, `{"jsonrpc":"2.0","id":1,"method":"a","params":[]}`},
	{BadParams, `{"jsonrpc":"2.0","id":1,"method":"a","params":"x"}`},
	{NotAMessage, `{"jsonrpc":"2.0","id":1}`},
	{NotAMessage, `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`},
	{NotAMessage, `{"jsonrpc":"2.0","id":1,"result":{},"error":null}`},
	{NotAMessage, `{"jsonrpc":"2.0","id":1,"method":"a","result":{}}`},
	{NotAMessage, `{"jsonrpc":"2.0","id":1,"params":{},"result":{}}`},
	{NotAMessage, `{"jsonrpc":"2.0","id":1,"error":"x"}`},
	{BareCR, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"x\":[\r{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"b\"}\r]}"},
	{TrailingData, `{"jsonrpc":"2.0","id":1,"method":"a"}{}`},
	{TrailingData, `{"jsonrpc":"2.0","id":1,"method":"a"} x`},
	{Syntax, ``},
	{Syntax, `{"jsonrpc":"2.0","id":01,"method":"a"}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a",}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a","x":[1,]}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a","x":+1}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a","x":.5}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a","x":1.}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a","x":NaN}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a","x":"\x41"}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a","x":"` + "\t" + `"}`},
	{Syntax, `{'jsonrpc':'2.0'}`},
	{Syntax, "\xef\xbb\xbf" + `{"jsonrpc":"2.0","id":1,"method":"a"}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a"/**/}`},
	{Syntax, `{"jsonrpc":"2.0","id":1,"method":"a"`},
}

func TestAdmitRefuses(t *testing.T) {
	seen := map[Reason]bool{TooLarge: true, SeveralLines: true} // said of what is no frame
	for _, tc := range refused {
		seen[tc.why] = true
		if got := admitReason(t, tc.frame, Limits{}); got != tc.why {
			t.Errorf("Admit(%.120q) = %v, want %v", tc.frame, got, tc.why)
		}
	}
	for r := reasonInvalid + 1; r < reasonEnd; r++ {
		if !seen[r] {
			t.Errorf("no frame is refused for %v", r)
		}
	}
	if got := admitReason(t, `{"jsonrpc":"2.0","id":1,"method":"a"}`, Limits{MaxFrame: 10}); got != TooLarge {
		t.Errorf("a frame over the limit: %v", got)
	}
}

func TestAdmitDepthLimit(t *testing.T) {
	frame := func(n int) string {
		return `{"jsonrpc":"2.0","id":1,"method":"a","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	for _, tc := range []struct {
		limit, n int
		want     Reason
	}{{0, 99, 0}, {0, 100, TooDeep}, {5, 4, 0}, {5, 5, TooDeep}, {1 << 30, maxMaxDepth, TooDeep}} {
		if got := admitReason(t, frame(tc.n), Limits{MaxDepth: tc.limit}); got != tc.want {
			t.Errorf("limit %d, %d arrays in the envelope: %v, want %v", tc.limit, tc.n, got, tc.want)
		}
	}
}

func TestAdmitManyMembers(t *testing.T) {
	for _, n := range []int{1, quadratic - 1, quadratic, quadratic + 1, 100, 5000} {
		var b strings.Builder
		b.WriteString(`{"jsonrpc":"2.0","id":1,"method":"a","x":{`)
		for i := range n {
			fmt.Fprintf(&b, `"k%d":{"k":%d},`, i, i)
		}
		if got := admitReason(t, b.String()+`"last":1}}`, Limits{}); got != 0 {
			t.Errorf("%d different members: %v", n, got)
		}
		for _, dup := range []int{0, n / 2, n - 1} {
			if got := admitReason(t, b.String()+fmt.Sprintf(`"\u006b%d":1}}`, dup), Limits{}); got != DuplicateMember {
				t.Errorf("%d members, number %d twice: %v", n, dup, got)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for tok, want := range map[string]bool{
		"0": true, "-1": true, "1.0": true, "0.10": true, "1e2": true, "1E+2": true, "0.1": true, "-0.5e-3": true, "0.0": true, "0e5": true,
		"9007199254740992": true, "-9007199254740992": true, "9007199254740993": false, "9007199254740994": false, "-9007199254740993": false,
		"1e300": true, "1.7976931348623157e308": true, "1e309": false, "1e400": false, "5e-324": true, "4e-324": false, "1e-400": false,
		"-0": false, "-0.0": false, "-0e1": false, "0.1000000000000000055": false, "3.141592653589793": true, "3.14159265358979323846": false,
		"123456789012345678": false, "9007199254740993.0": false, "0.000001": true, "1e-7": true, "100000000000000000000e-20": true,
		"1e00000000000000000000000000000000000000000000000000000000001":     true,
		"1e000000000000000000000000000000000000000000000000000000000000001": false, // 65 bytes
		"1e99999999999999999999": false, "0e99999999999999999999": true,
	} {
		if got := survivesCanonical([]byte(tok)); got != want {
			t.Errorf("survivesCanonical(%s) = %v, want %v", tok, got, want)
		}
		frame := `{"jsonrpc":"2.0","id":1,"method":"a","params":{"other":` + tok + `}}`
		if got := admitReason(t, frame, Limits{}); got != 0 {
			t.Errorf("%s outside arguments: %v", tok, got)
		}
	}
}

func TestRefusalNamesTheID(t *testing.T) {
	for _, tc := range []struct {
		frame, id string
		kind      MessageKind
	}{
		{`{"jsonrpc":"2.0","method":"a","params":{"x":1,"x":2},"id":5}`, "5", Request},
		{`{"jsonrpc":"2.0","method":"a","params":{"id":9,"x":[{"id":8}],"s":"\"id\":3,"`, "null", Notification},
		{`{"method":"a","params":{"s":"},\"id\":3,"}, "i\u0064" : "z\u0041" , "x":tru`, `"zA"`, Request},
		{`{"jsonrpc":"2.0","id":5,"id":6,"method":"a"}`, "null", Request},
		{`{"jsonrpc":"2.0","id":5,"ID":6,"method":"a"}`, "null", Request},
		{`{"jsonrpc":"2.0","id":5.0,"method":"a"}`, "5.0", Request},
		{`{"jsonrpc":"2.0","id":[5],"method":"a"}`, "null", Request},
		{`{"jsonrpc":"2.0","id":5,"result":{"a":1,"a":2}}`, "5", Response},
		{`{"jsonrpc":"2.0","id":5,"result":{},"error":{}}`, "5", Response},
		{`{"jsonrpc":"2.0","id":5,"result":{},"method":"x"}`, "5", 0},
		{`[{"jsonrpc":"2.0","id":5,"method":"a"}]`, "null", 0},
		{`"id":5`, "null", 0},
		{`nonsense {"id":5}`, "null", 0},
		{`{"jsonrpc":"2.0","id":5,"method":"a"}{"id":6}`, "5", Request},
		{"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"\xff\"}", "5", Request},
		{`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 5000) + `","method":"a"}`, "null", Request},
	} {
		_, err := Admit([]byte(tc.frame), Limits{})
		var r *Refusal
		if !errors.As(err, &r) {
			t.Errorf("Admit(%.100q) was not refused", tc.frame)
			continue
		}
		if r.ID.String() != tc.id || r.Kind != tc.kind {
			t.Errorf("Admit(%.100q): id %v kind %v, want %v %v", tc.frame, r.ID, r.Kind, tc.id, tc.kind)
		}
	}
}

func TestIDsCompareByValue(t *testing.T) {
	id := func(s string) ID {
		m, err := Admit([]byte(`{"jsonrpc":"2.0","method":"a","id":`+s+`}`), Limits{})
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return m.ID
	}
	if id(`"1"`) == id(`1`) {
		t.Error(`"1" equals 1`)
	}
	if id(`"\u0031"`) != id(`"1"`) || id(`1`) != IntID(1) || id(`"1"`) != StringID("1") {
		t.Error("ids of one value differ")
	}
	if (ID{}) == id("0") || (ID{}) == id(`""`) || id("0").IsZero() || id(`""`).IsZero() {
		t.Error("the zero ID equals an id")
	}
	for _, s := range []string{"7", `"a\"b\\\n😀\u0007"`, `""`} {
		raw := id(s).Raw()
		if back, ok := IDFrom(raw, Span{0, len(raw)}); !ok || back != id(s) {
			t.Errorf("%s comes back from Raw as %v", s, back)
		}
	}
}
