package digest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestDigestText(t *testing.T) {
	d := Sum([]byte("abc")) // FIPS 180-2, appendix B.1
	const want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if d.String() != want {
		t.Errorf("got %s", d)
	}
	if back, err := ParseDigest(want); err != nil || back != d {
		t.Errorf("parsed %v, %v", back, err)
	}
	for _, s := range []string{
		"", "sha256:", want[7:], want[:len(want)-1], want + "0", " " + want, strings.ToUpper(want), "sha256:" + strings.ToUpper(want[7:]),
		"sha512:" + want[7:], "sha256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("é", 32),
	} {
		if d, err := ParseDigest(s); err == nil {
			t.Errorf("ParseDigest(%q) = %v", s, d)
		}
	}
	type record struct{ A, B Digest }
	raw, err := json.Marshal(record{A: d})
	if err != nil || string(raw) != `{"A":"`+want+`","B":""}` {
		t.Errorf("encoded as %s, %v", raw, err)
	}
	var back record
	if err := json.Unmarshal(raw, &back); err != nil || back.A != d || !back.B.IsZero() {
		t.Errorf("decoded as %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"sha256:ab"}`), &back); err == nil {
		t.Error("a short digest is accepted")
	}
}

// TestHasherKeepsListsApart: no two lists of fields share a digest.
func TestHasherKeepsListsApart(t *testing.T) {
	type field struct{ name, value string }
	seen := map[Digest]string{}
	for _, domain := range []string{"", "a", "ab"} {
		for _, fields := range [][]field{
			nil, {{"", ""}}, {{"", ""}, {"", ""}}, {{"a", ""}}, {{"", "a"}}, {{"a", "b"}}, {{"ab", ""}}, {{"", "ab"}}, {{"a", "b"}, {"c", "d"}}, {{"c", "d"}, {"a", "b"}}, {{"a", "bc"}, {"", "d"}}, {{"a", "b\x00"}},
		} {
			h := NewHasher(domain)
			for _, f := range fields {
				h.Field(f.name, []byte(f.value))
			}
			d, this := h.Digest(), fmt.Sprintf("%q %q", domain, fields)
			if other, ok := seen[d]; ok {
				t.Errorf("%s and %s share a digest", this, other)
			}
			if h.Digest() != d {
				t.Errorf("%s: asking changes the digest", this)
			}
			seen[d] = this
		}
	}
}
