package tui

import (
	"fmt"
	"testing"
)

func TestLook(t *testing.T) {
	f := newFake()
	f.put(sample(1, t1, "edit_file", "src/tax.go"))
	d2 := sample(2, t2, "delete_file", "config/prod.yaml")
	d2.SideEffects = []string{"NOT reversible", "file is outside version control"}
	d2.Hazards = append(d2.Hazards, clientHazard())
	f.put(d2)
	d := newDesk(t, f)
	fmt.Println(d.screen())
	d.press("down")
	fmt.Println(d.screen())
	d.press("a")
	fmt.Println(d.screen())
	d.size(140, 45)
	fmt.Println(d.screen())
	d.size(50, 14)
	fmt.Println(d.screen())
}
