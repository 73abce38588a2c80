//go:build !linux

package sandbox

import (
	"context"
	"fmt"
)

// Main plays no part on this system.
func Main([]string) (code int, handled bool) { return 0, false }

// Exec runs nothing: this system has nothing that could contain a command.
func Exec(context.Context, Spec) (*Run, error) {
	return nil, fmt.Errorf("%w: only Linux has what is needed", ErrUnavailable)
}

// Clean has nothing to remove.
func Clean(string) error { return nil }
