package daemon

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mcpguard/mcpguard/internal/redact"
)

// secrets is the redactor of the process. It learns the values of configured
// secrets as servers start and never forgets one, because an old secret may
// still appear in a result. It is safe for concurrent use.
type secrets struct {
	mu      sync.Mutex
	known   map[string]bool
	current atomic.Pointer[redact.Redactor]
}

func newSecrets() *secrets {
	s := &secrets{known: map[string]bool{}}
	s.current.Store(redact.New(redact.Config{}))
	return s
}

// learn adds values. Short values are skipped, because they would mask
// ordinary text.
func (s *secrets) learn(values map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.known)
	for _, v := range values {
		s.known[v] = true
	}
	if len(s.known) > n {
		s.current.Store(redact.New(redact.Config{Secrets: slices.Sorted(maps.Keys(s.known))}))
	}
}

// text returns b without secrets, or only a marker if that cannot be ensured.
func (s *secrets) text(b []byte) []byte {
	out, _ := s.current.Load().Text(b)
	return out
}

// JSON implements proxy.Redactor.
func (s *secrets) JSON(value []byte) ([]byte, []redact.Finding, error) {
	return s.current.Load().JSON(value)
}
