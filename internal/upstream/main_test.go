package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperArg makes this test binary an upstream: "helper MODE".
const helperArg = "helper"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == helperArg {
		// A test that fails to end its helpers must not leave them running.
		time.AfterFunc(2*time.Minute, func() { os.Exit(99) })
		helpers[os.Args[2]]()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var helpers = map[string]func(){
	"echo":     echo,
	"describe": describe,
	"fail": func() {
		fmt.Fprint(os.Stderr, "reading settings\nno such \x1b[31mdatabase\n")
		os.Exit(3)
	},
	"chatty": func() {
		fmt.Println("Server listening…")
		fmt.Println()
		fmt.Println(" [1]")
		fmt.Println("\ufeff{}")
		echo()
	},
	"spread": func() {
		fmt.Print("{\n \"jsonrpc\": \"2.0\",\n \"id\": 3,\n \"result\": {\n" + strings.Repeat("  \"x\": 1,\n", 2*garbageBurst) + "  \"y\": {}\n }\n}\n")
		fmt.Print("[\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/a\"}\n")
		fmt.Print("{\n\"a\": [\nwhat it \"was\nabout\n")
		fmt.Print("{\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"result\":{}}\n")
		echo()
	},
	"flood":    flood,
	"deaf":     func() { fmt.Println(`{"pid":1}`); block(false) },
	"mute":     func() { block(false) },
	"stubborn": func() { block(true) },
	"family":   family,
	"lastword": lastWord,
	"escape":   escape,
	"launcher": func() {
		d := description{PID: os.Getpid(), Child: spawnHelper("stubborn", &syscall.SysProcAttr{Setsid: true}).Pid}
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		print1(d)
		block(true)
	},
	"closer": func() { os.Stdout.Close(); block(false) },
	"errors": func() {
		for i := range 500 {
			fmt.Fprintf(os.Stderr, "line %d %s\r\n", i, strings.Repeat("x", i*20))
		}
		echo()
	},
	"supervisor": supervisor,
}

func echo() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		os.Stdout.Write(line)
	}
}

// block runs until it is killed; with ignore it ignores SIGTERM too.
func block(ignore bool) {
	c := make(chan os.Signal, 1)
	if ignore {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	}
	signal.Notify(c, syscall.SIGUSR1)
	<-c
}

type description struct {
	Env, Args          []string
	Dir                string
	Group, Session     int
	PID, Child, Nephew int
}

func describe() {
	d := description{Env: os.Environ(), Args: os.Args, PID: os.Getpid(), Group: syscall.Getpgrp()}
	d.Dir, _ = os.Getwd()
	d.Session, _ = getsid()
	print1(d)
	echo()
}

func print1(d description) {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(b, '\n'))
}

func flood() {
	w := bufio.NewWriter(os.Stdout)
	for {
		if _, err := w.WriteString("debug: nothing happened\n"); err != nil {
			return
		}
	}
}

// family starts a child that ignores everything, as a launcher would; neither
// reads its input.
func family() {
	d := description{PID: os.Getpid(), Child: spawnHelper("stubborn", nil).Pid}
	print1(d)
	block(true)
}

// escape starts a child in another session that keeps its standard output.
func escape() {
	d := description{PID: os.Getpid(), Child: spawnHelper("stubborn", &syscall.SysProcAttr{Setsid: true}).Pid}
	print1(d)
}

func lastWord() {
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadBytes('\n'); err != nil {
		return
	}
	// More than one read, less than what a pipe holds.
	for i := range 50 {
		fmt.Printf("{\"n\":%d,\"pad\":%q}\n", i, strings.Repeat("p", 1000))
	}
	os.Exit(7)
}

func spawnHelper(mode string, attr *syscall.SysProcAttr) *os.Process {
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], helperArg, mode},
		&os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: attr})
	if err != nil {
		panic(err)
	}
	return p
}

// supervisor acts as a daemon with one upstream that ignores everything.
func supervisor() {
	s := Spec{Name: "family", Command: os.Args[0], Args: []string{helperArg, "family"}, Dir: "/", Env: []string{}, Redact: asItIs}
	p, err := Start(context.Background(), s)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	frame, err := p.Next()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Stdout.Write(append(frame, '\n'))
	block(false)
}

func asItIs(line []byte) []byte { return line }

func spec(mode string) Spec {
	return Spec{
		Name: "test", Command: os.Args[0], Args: []string{helperArg, mode}, Dir: "/", Env: []string{},
		StopGrace: 100 * time.Millisecond, Redact: asItIs,
	}
}

func startTest(t testing.TB, s Spec) *Process {
	t.Helper()
	p, err := Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		p.stdout.Close()
	})
	return p
}

// until fails the test if a channel stays open. Tests wait in no other way.
func until(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("still waiting for %s", what)
	}
}

func nextDescription(t testing.TB, p *Process) description {
	t.Helper()
	frame, err := p.Next()
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.NewDecoder(bytes.NewReader(frame)).Decode(&d); err != nil {
		t.Fatalf("%s: %v", frame, err)
	}
	return d
}
