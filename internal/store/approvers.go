package store

import (
	"context"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/audit"
	bolt "go.etcd.io/bbolt"
)

// ApproverRule is the rule in force about who may decide. The configuration
// can only request a wider one: whoever edits it must not be able to let
// himself decide.
type ApproverRule struct {
	Unsigned string `json:"unsigned"` // where a decision without a signature may come from
	// Refused is the wider setting that a human has refused; "" if none.
	Refused string `json:"refused,omitempty"`
}

// ApproverRule returns the rule in force. known is false if none was stored
// yet.
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

// SetApproverRule stores the rule in force, with the events that explain it.
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
