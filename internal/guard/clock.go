package guard

import "time"

// Now is one reading of both clocks. Wall can be changed by anyone with the
// permission; Boot counts from the start of the machine, includes sleep, and
// never goes back.
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

// After returns the deadline that is d after n.
func (n Now) After(d time.Duration) Deadline {
	return Deadline{Wall: n.Wall.Add(d), Boot: n.Boot + d, BootID: n.BootID}
}

// Passed reports whether either clock has reached the deadline. After a reboot
// only the wall clock counts.
func (d Deadline) Passed(n Now) bool { return d.Left(n) <= 0 }

// Left returns the remaining time, by the clock on which less remains.
func (d Deadline) Left(n Now) time.Duration {
	left := d.Wall.Sub(n.Wall)
	if d.BootID == n.BootID && d.BootID != "" {
		left = min(left, d.Boot-n.Boot)
	}
	return left
}
