package diff

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
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

// TestAlgorithmVersion fails when any output changes: raise AlgorithmVersion
// then and record the new sum, so that no digest made before can match.
func TestAlgorithmVersion(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	h := NewHasher("all outputs")
	for i := range 2000 {
		before := randomText(r, 60)
		after := mutate(r, before)
		if i%3 == 0 {
			after = randomText(r, 60)
		}
		o := Options{Context: i%5 - 1, Budget: (i % 7) * 40}
		text, result := Unified(File{Path: "x y", Data: before, Mode: 0o644, Exists: i%11 != 0}, File{Path: "x y", Data: after, Mode: uint32(i), Exists: i%13 != 0}, o)
		h.Field("text", text).Field("coarse", fmt.Append(nil, result.Coarse, result.Added, result.Removed))
		h.Field("spans", fmt.Append(nil, fmt.Sprint(Intraline(before, after))))

		x := randomValue(r, 4)
		y := altered(r, x)
		patch, coarse := makePatchWith(x, y, Options{Budget: (i % 5) * 10})
		raw, err := json.Marshal(patch)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := json.Marshal(Preview(x, y))
		if err != nil {
			t.Fatal(err)
		}
		canonical, _ := Canonical(x.Encode())
		h.Field("patch", raw).Field("coarse", fmt.Append(nil, coarse)).Field("rows", rows).Field("canonical", canonical)
	}
	const version, want = 1, "sha256:7b44210d11a8ffce4742d289adda51dfa11cfff52201c792061ea6d807f74568"
	if got := h.Digest().String(); AlgorithmVersion != version || got != want {
		t.Errorf("version %d: outputs sum to %s; recorded: version %d, %s", AlgorithmVersion, got, version, want)
	}
}
