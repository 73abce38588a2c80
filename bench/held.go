package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
)

// held measures the memory of a daemon that holds a few very long writes, on a
// guard of its own: what the system has given to it, at the end and at most.
func (b *bench) held(ctx context.Context) (err error) {
	const calls, size = 20, 7 << 20
	fmt.Printf("%d writes of 7 MB that wait\n", calls)
	g, err := newGuardIn(filepath.Join(b.base, "held"), b.bin, "strict", "")
	if err != nil {
		return err
	}
	defer func() {
		if serr := g.stop(); err == nil {
			err = serr
		}
	}()
	w, err := g.session("work")
	if err != nil {
		return err
	}
	defer w.close()
	content := longText(size)
	sent := make(chan error, 1)
	go func() { // ends with the last request
		for i := range calls {
			if _, err := w.send(fmt.Sprintf(`"method":"tools/call","params":{"name":"write_file","arguments":{"path":"held-%d.txt","content":"%s"}}`, i, content)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	answers := make(chan []byte, calls)
	go func() { // ends with the session
		for {
			line, err := w.out.ReadBytes('\n')
			if err != nil {
				return
			}
			if bytes.Contains(line, []byte(`"id":`)) {
				answers <- line[:min(len(line), 300)]
			}
		}
	}()
	waiting := make(chan error, 1)
	go func() { // ends when all wait
		_, err := g.pending(ctx, calls)
		waiting <- err
	}()
	select {
	case err = <-waiting:
	case line := <-answers:
		err = fmt.Errorf("a write was answered %s", line)
	}
	if err != nil {
		return err
	}
	if err := <-sent; err != nil && err != io.EOF {
		return err
	}
	status, err := g.api.Status(ctx)
	if err != nil {
		return err
	}
	kib, err := resident(status.PID)
	if err != nil {
		return err
	}
	peak, err := highWater(status.PID)
	if err != nil {
		return err
	}
	verdict("resident, long writes held", float64(kib)/1024, " MiB", true, 400)
	verdict("at most while they came", float64(peak)/1024, " MiB", true, 400)
	return nil
}

// longText is a text for a member of JSON, of lines that no compression makes
// much shorter, the same in each run.
func longText(size int) string {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < size {
		for range 10 {
			b.WriteString(strconv.FormatUint(random.Uint64(), 36))
		}
		b.WriteString("\\n")
	}
	return b.String()
}
