//go:build !linux

package sandbox

import (
	"context"
	"fmt"
	"os"
)

// Main plays no part on this system.
func Main([]string) (code int, handled bool) { return 0, false }

// Exec runs nothing: this system has nothing that could contain a command.
func Exec(context.Context, Spec) (*Run, error) {
	return nil, fmt.Errorf("%w: only Linux has what is needed", ErrUnavailable)
}

// Remove removes a folder.
func Remove(dir string) error { return os.RemoveAll(dir) }

// Clean has nothing to remove.
func Clean(string) error { return nil }

// LandlockABI returns 0: this system has no Landlock.
func LandlockABI() int { return 0 }

// Land changes nothing on this system, on which nothing was run either.
func (l *Landing) Land(context.Context) (map[Name]int64, error) { return nil, errNotHere }

// Progress knows nothing on this system.
func (l *Landing) Progress() (Progress, error) { return Elsewhere, errNotHere }

// Moved lists nothing: nothing lands here.
func (l *Landing) Moved() []string { return nil }

// Finish finishes nothing on this system.
func (l *Landing) Finish() (Progress, error) { return Elsewhere, errNotHere }

var errNotHere = fmt.Errorf("%w: only Linux has what is needed", ErrUnavailable)
