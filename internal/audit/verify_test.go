package audit

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
	"golang.org/x/mod/sumdb/tlog"
)

// list is a log in memory.
type list struct {
	leaves []Leaf
	hashes []tlog.Hash
}

func (l *list) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *list) add(t testing.TB, e Event) {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.append(t, data)
}

func (l *list) append(t testing.TB, data []byte) {
	t.Helper()
	n := int64(len(l.leaves))
	h, err := tlog.StoredHashes(n, data, l)
	if err != nil {
		t.Fatal(err)
	}
	l.leaves, l.hashes = append(l.leaves, Leaf{n, data}), append(l.hashes, h...)
}

func (l *list) Size() (int64, int64, error) {
	n := int64(0)
	if k := len(l.leaves); k > 0 {
		n = l.leaves[k-1].Index + 1
	}
	return n, int64(len(l.hashes)), nil
}

func (l *list) Leaves(from int64, limit int) (out []Leaf, err error) {
	for _, v := range l.leaves {
		if v.Index >= from && len(out) < limit {
			out = append(out, v)
		}
	}
	return out, nil
}

func (l *list) StoredHashes(from int64, n int) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, n)
	if from < int64(len(l.hashes)) {
		copy(out, l.hashes[from:])
	}
	return out, nil
}

func (l *list) sign(t testing.TB, k *Key) []byte {
	t.Helper()
	n := int64(len(l.leaves))
	root, err := tlog.TreeHash(n, l)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := k.Sign(n, root)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func event(i int) Event {
	e := New(DaemonStarted, noon)
	e.Reason = fmt.Sprint(i)
	return e
}

// TestVerifyEverySize checks logs of every small size with a checkpoint at each.
func TestVerifyEverySize(t *testing.T) {
	k, err := NewKey(rand.Reader, "test")
	if err != nil {
		t.Fatal(err)
	}
	l := &list{}
	points := [][]byte{l.sign(t, k)}
	for i := range 70 {
		l.add(t, event(i))
		points = append(points, l.sign(t, k))
		shuffled := slices.Clone(points)
		slices.Reverse(shuffled)
		r, err := Verify(context.Background(), l, VerifyOptions{Verifier: k.Verifier(), Checkpoints: shuffled})
		if err != nil || !r.OK() || r.Size != int64(i+1) || r.Checkpoints != i+2 || r.Signed != int64(i+1) {
			t.Fatalf("%d records: %+v %v", i+1, r, err)
		}
		if root, _ := tlog.TreeHash(r.Size, l); root != r.Root {
			t.Fatalf("%d records: root %v, want %v", i+1, r.Root, root)
		}
	}
	// Between two checkpoints, a forger who recomputes the hashes is caught in
	// the range between them.
	forged := &list{}
	for i := range 70 {
		if i == 37 {
			i = 1000
		}
		forged.add(t, event(i))
	}
	r, err := Verify(context.Background(), forged, VerifyOptions{Verifier: k.Verifier(), Checkpoints: [][]byte{points[70], points[0]}})
	if err != nil || r.OK() || r.FirstBad > 37 || r.LastBad < 37 {
		t.Errorf("forged: %+v %v", r, err)
	}
}

func TestVerifyEmpty(t *testing.T) {
	r, err := Verify(context.Background(), &list{}, VerifyOptions{})
	if err != nil || !r.OK() || r.Size != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestVerifyFollowsCalls finds calls that ended twice.
func TestVerifyFollowsCalls(t *testing.T) {
	l := &list{}
	for i, typ := range []Type{ToolCallRequested, ToolCallRequested, ToolCallCompleted, ToolCallCompleted} {
		e := New(typ, noon)
		e.Status = StatusOK
		e.CallID = guard.CallID(fmt.Sprint("call_", []int{1, 2, 1, 1}[i]))
		l.add(t, e)
	}
	r, err := Verify(context.Background(), l, VerifyOptions{})
	if err != nil || r.OK() || r.Calls != 2 || r.Open != 1 || !slices.Equal(r.Twice, []string{"call_1"}) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestVerifyStops(t *testing.T) {
	l := &list{}
	l.add(t, event(1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Verify(ctx, l, VerifyOptions{}); err == nil {
		t.Error("an ended context was ignored")
	}
}
