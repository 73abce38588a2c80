package store

import (
	"context"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/audit"
	bolt "go.etcd.io/bbolt"
)

// ApproverRule says who may decide, as it is in force. The configuration only
// asks for one: whoever edits it must not let himself decide.
type ApproverRule struct {
	Unsigned string `json:"unsigned"` // where a decision without a signature may come from
	// Refused is what a human has refused to widen it to; "" is nothing.
	Refused string `json:"refused,omitempty"`
}

// ApproverRule returns the rule in force; false where none was kept yet.
func (s *Store) ApproverRule() (r ApproverRule, known bool, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		known, err = getJSON(tx.Bucket([]byte(bucketMeta)), []byte(metaApprovers), &r)
		return err
	})
	if err != nil {
		return r, false, fmt.Errorf("reading who may decide: %w", err)
	}
	return r, known, nil
}

// SetApproverRule keeps the rule in force, with the events that say why.
func (s *Store) SetApproverRule(_ context.Context, r ApproverRule, events ...audit.Event) error {
	return s.do("keeping who may decide", func(b *batch) error {
		if err := b.putJSON(bucketMeta, []byte(metaApprovers), r); err != nil {
			return err
		}
		for _, e := range events {
			if err := b.event(e); err != nil {
				return err
			}
		}
		return nil
	})
}
