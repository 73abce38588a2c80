package config

import (
	"testing"
	"time"
)

func TestContentsAreKeptForNinetyDaysByDefault(t *testing.T) {
	if got := (Retention{}).Keep(); got != 90*24*time.Hour {
		t.Errorf("by default they are kept for %v", got)
	}
	if got := (Retention{Payloads: Duration(time.Hour)}).Keep(); got != time.Hour {
		t.Errorf("1h was written, %v are kept", got)
	}
}
