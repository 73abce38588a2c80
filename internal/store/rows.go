package store

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// row is a stored approval. Its large contents are separate blobs named by
// their digests.
type row struct {
	guard.Approval
	Args   digest.Digest `json:"args_blob,omitzero"`
	Text   digest.Digest `json:"text_blob,omitzero"`
	Patch  digest.Digest `json:"patch_blob,omitzero"`
	Values digest.Digest `json:"values_blob,omitzero"`
	Facts  digest.Digest `json:"facts_blob,omitzero"`
	Ran    digest.Digest `json:"ran_blob,omitzero"` // what a command printed and tried in a sandbox
	Pruned bool          `json:"pruned,omitempty"`  // the blobs are gone
}

// blob is content to be written to the database.
type blob struct {
	sum  digest.Digest
	data []byte // as stored
}

// split separates the contents from an approval.
func (s *Store) split(a guard.Approval) (*row, []blob) {
	r := &row{Approval: a}
	var blobs []blob
	keep := func(content []byte) digest.Digest {
		if len(content) == 0 {
			return digest.Digest{}
		}
		sum := digest.Sum(content)
		blobs = append(blobs, blob{sum, s.deflate.pack(content)})
		return sum
	}
	r.Args = keep(a.Args)
	r.Text = keep([]byte(a.Preview.Change.Text))
	r.Patch = keep(a.Preview.Change.Patch)
	r.Values = keep(a.Preview.Change.Preview)
	r.Facts = keep(packFacts(a.Preview.Change.Facts))
	r.Ran = keep(packRan(a.Preview))
	r.Approval.Args = nil
	r.Preview.Change.Text, r.Preview.Change.Patch, r.Preview.Change.Preview = "", nil, nil
	r.Preview.Change.Facts = guard.Facts{}
	r.Preview.Output, r.Preview.Attempt = "", nil
	return r, blobs
}

// approval returns a copy without the contents.
func (r *row) approval() guard.Approval { return copied(r.Approval) }

// copied returns a with copies of its decisions and receipt.
func copied(a guard.Approval) guard.Approval {
	a.Signoffs = slices.Clone(a.Signoffs)
	if a.Receipt != nil {
		receipt := *a.Receipt
		a.Receipt = &receipt
	}
	return a
}

// fill loads the contents of r into a.
func (r *row) fill(tx *bolt.Tx, a *guard.Approval) error {
	if r.Pruned {
		return nil
	}
	b := tx.Bucket([]byte(bucketBlobs))
	for _, part := range []struct {
		sum digest.Digest
		set func([]byte) error
	}{
		{r.Args, func(c []byte) error { a.Args = c; return nil }},
		{r.Text, func(c []byte) error { a.Preview.Change.Text = string(c); return nil }},
		{r.Patch, func(c []byte) error { a.Preview.Change.Patch = c; return nil }},
		{r.Values, func(c []byte) error { a.Preview.Change.Preview = c; return nil }},
		{r.Facts, func(c []byte) error { return json.Unmarshal(c, &a.Preview.Change.Facts) }},
		{r.Ran, func(c []byte) error {
			var kept ran
			err := json.Unmarshal(c, &kept)
			a.Preview.Output, a.Preview.Attempt = kept.Output, kept.Attempt
			return err
		}},
	} {
		if part.sum.IsZero() {
			continue
		}
		content, err := unpack(b.Get(blobKey(r.Tenant, part.sum)), part.sum)
		if err != nil {
			return fmt.Errorf("reading a content of %s: %w", r.ID, err)
		}
		if err := part.set(content); err != nil {
			return fmt.Errorf("reading a content of %s: %w", r.ID, err)
		}
	}
	return nil
}

// packFacts encodes the facts of a change; empty for none.
func packFacts(f guard.Facts) []byte {
	if f.Empty() {
		return nil
	}
	out, err := json.Marshal(f)
	if err != nil {
		return nil // JSON values only, else the digest of the call could not have been computed
	}
	return out
}

// ran is the part of a preview that describes the run of a command, besides
// its changes.
type ran struct {
	Output  string         `json:"output,omitempty"`
	Attempt *guard.ExecRun `json:"attempt,omitempty"`
}

// packRan encodes it; empty for none.
func packRan(p guard.Preview) []byte {
	if p.Output == "" && p.Attempt == nil {
		return nil
	}
	out, err := json.Marshal(ran{p.Output, p.Attempt})
	if err != nil {
		return nil // text and numbers always encode
	}
	return out
}

func (r *row) blobs() []digest.Digest {
	var out []digest.Digest
	for _, d := range []digest.Digest{r.Args, r.Text, r.Patch, r.Values, r.Facts, r.Ran} {
		if !d.IsZero() {
			out = append(out, d)
		}
	}
	return out
}

func blobKey(tenant string, sum digest.Digest) []byte { return key(tenant, sum.String()) }

func refKey(tenant string, sum digest.Digest, id guard.ApprovalID) []byte {
	return key(tenant, sum.String(), string(id))
}

// readRow decodes the approval with this id, nil if there is none.
func readRow(tx *bolt.Tx, tenants []string, id guard.ApprovalID) (*row, error) {
	b := tx.Bucket([]byte(bucketApprovals))
	t, ok := findTenant(b, tenants, string(id))
	if !ok {
		return nil, nil
	}
	return decodeRow(b.Get(key(t, string(id))))
}

func decodeRow(data []byte) (*row, error) {
	var r row
	if err := json.Unmarshal(data, &r); err != nil {
		// fail closed: an approval that cannot be read approves nothing.
		return nil, fmt.Errorf("reading a stored approval: %w", err)
	}
	return &r, nil
}

// The codecs of a blob; its first byte.
const (
	codecRaw     = 1
	codecDeflate = 2
)

// maxBlob bounds the unpacked size in bytes; it is larger than any frame.
const maxBlob = 256 << 20

// deflater compresses contents, one at a time: a compressor is large.
type deflater struct {
	mu sync.Mutex
	w  *flate.Writer
}

// pack returns a codec, the length and the content, compressed where that helps.
func (d *deflater) pack(content []byte) []byte {
	header := binary.AppendUvarint([]byte{codecDeflate}, uint64(len(content)))
	if len(content) >= 128 {
		if data := d.deflate(header, content); data != nil {
			return data
		}
	}
	header[0] = codecRaw
	return append(header, content...)
}

func (d *deflater) deflate(header, content []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var buf bytes.Buffer
	buf.Write(header)
	if d.w == nil {
		w, err := flate.NewWriter(&buf, flate.BestSpeed)
		if err != nil {
			return nil // the content is kept as it is
		}
		d.w = w
	} else {
		d.w.Reset(&buf)
	}
	_, err := d.w.Write(content)
	if errors.Join(err, d.w.Close()) != nil || buf.Len() >= len(header)+len(content) {
		return nil
	}
	return buf.Bytes()
}

// unpack is the inverse of pack. Content that does not match the digest is
// refused.
func unpack(data []byte, sum digest.Digest) ([]byte, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("the content %s is missing", sum)
	}
	size, n := binary.Uvarint(data[1:])
	if n <= 0 || size > maxBlob {
		return nil, fmt.Errorf("the content %s is damaged", sum)
	}
	var content []byte
	switch body := data[1+n:]; data[0] {
	case codecRaw:
		content = bytes.Clone(body)
	case codecDeflate:
		var err error
		if content, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body)), int64(size)+1)); err != nil {
			return nil, fmt.Errorf("the content %s is damaged: %w", sum, err)
		}
	}
	if uint64(len(content)) != size || digest.Sum(content) != sum {
		// fail closed: a reviewer must see exactly what was computed.
		return nil, fmt.Errorf("the content %s is not what was kept", sum)
	}
	return content, nil
}
