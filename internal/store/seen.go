package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// Bounds on the hosts, recipients and tables remembered as touched by the
// calls of a tenant. Beyond them the oldest eighth is forgotten and counts as
// new again.
const (
	maxSeen    = 20_000
	maxTouches = 500 // of one call
)

// seenKey hashes a name, so that the database is not an address book.
func seenKey(tenant, name string) string {
	sum := sha256.Sum256(key("mcpguard/seen/v1", tenant, name))
	return hex.EncodeToString(sum[:16])
}

// Unseen returns the names that no executed call of the tenant has touched. It
// reads from memory, as of the last commit.
func (s *Store) Unseen(tenant string, names []string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	known := s.mem.seen[tenant]
	var out []string
	for _, n := range names {
		if _, ok := known[seenKey(tenant, n)]; !ok {
			out = append(out, n)
		}
	}
	return out
}

// saw records what an executed call has touched.
func (b *batch) saw(in guard.Intent) error {
	if len(in.Touches) == 0 {
		return nil
	}
	now := b.now.Wall.UnixMilli()
	known := b.mem.seen[in.Tenant] // read only: the batch changes it once it is durable
	fresh := map[string]int64{}
	for _, n := range in.Touches[:min(len(in.Touches), maxTouches)] {
		h := seenKey(in.Tenant, n)
		fresh[h] = now
		if err := b.put(bucketSeen, key(in.Tenant, h), number(now)); err != nil {
			return err
		}
	}
	drop := oldest(known, fresh)
	for _, h := range drop {
		if err := b.delete(bucketSeen, key(in.Tenant, h)); err != nil {
			return err
		}
	}
	b.then(func(m *memory) {
		if m.seen[in.Tenant] == nil {
			m.seen[in.Tenant] = map[string]int64{}
		}
		for h, at := range fresh {
			m.seen[in.Tenant][h] = at
		}
		for _, h := range drop {
			delete(m.seen[in.Tenant], h)
		}
	})
	return nil
}

// oldest returns the entries to drop to stay within the bound.
func oldest(known, fresh map[string]int64) []string {
	if len(known)+len(fresh) <= maxSeen {
		return nil
	}
	var list []string
	for h := range known {
		if _, again := fresh[h]; !again {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(known[a], known[b]), cmp.Compare(a, b)) })
	return list[:min(len(list), maxSeen/8+len(fresh))]
}

func loadSeen(tx *bolt.Tx, m *memory) error {
	each(tx.Bucket([]byte(bucketSeen)), nil, func(k, v []byte) bool {
		h := last(k)
		tenant := string(k[:max(0, len(k)-len(h)-1)])
		if m.seen[tenant] == nil {
			m.seen[tenant] = map[string]int64{}
		}
		m.seen[tenant][h] = parseNumber(v)
		return true
	})
	return nil
}
