package guard

import "time"

// Now is one reading of both clocks. Wall can be set by anyone with the right
// to; Boot counts since the machine started, sleep included, and only forward.
type Now struct {
	Wall   time.Time
	Boot   time.Duration
	BootID string // changes with each start of the machine
}

// Deadline is a point in time on both clocks. The zero value has passed.
type Deadline struct {
	Wall   time.Time     `json:"wall"`
	Boot   time.Duration `json:"boot"` // nanoseconds since boot
	BootID string        `json:"boot_id"`
}

// After returns the deadline d from n.
func (n Now) After(d time.Duration) Deadline {
	return Deadline{Wall: n.Wall.Add(d), Boot: n.Boot + d, BootID: n.BootID}
}

// Passed reports whether either clock has reached the deadline. On another
// boot only the wall clock can tell.
func (d Deadline) Passed(n Now) bool { return d.Left(n) <= 0 }

// Left returns how long remains, by the clock on which less remains.
func (d Deadline) Left(n Now) time.Duration {
	left := d.Wall.Sub(n.Wall)
	if d.BootID == n.BootID && d.BootID != "" {
		left = min(left, d.Boot-n.Boot)
	}
	return left
}
