package tui

import (
	"testing"
	"time"
)

// BenchmarkFrame is one frame and one key, without a terminal.
func BenchmarkFrame(b *testing.B) {
	for name, f := range map[string]*fakeDaemon{"small": crowd(10, 20), "100000-lines": crowd(10, 100_000), "10000-items": crowd(10_000, 20)} {
		d := newDesk(b, f, func(c *Config) { c.Now = time.Now })
		d.size(120, 40)
		b.Run("view/"+name, func(b *testing.B) {
			for b.Loop() {
				d.m.View()
			}
		})
		b.Run("key/"+name, func(b *testing.B) {
			for b.Loop() {
				d.m.Update(keyOf("j"))
				d.m.View()
			}
		})
		b.Run("resync/"+name, func(b *testing.B) {
			for b.Loop() {
				msg := d.m.call.sync(d.m.link.sync, false)().(syncedMsg)
				d.m.Update(msg)
				d.m.View()
			}
		})
	}
}
