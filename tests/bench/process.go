package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/protocol"
)

// until polls condition for about ten seconds. It returns nil when condition returns true, and an error if
// condition never does.
func until(condition func() bool) error {
	for range 2000 {
		if condition() {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("a part of the benchmark does not start")
}

// process measures whole processes: the time from the start of a host to the end of its first call, the time
// of cpapi2 with and without a running host, and the memory of the host and its worker.
func (b *bench) process() error {
	w, err := b.newWorld(1_000, "")
	if err != nil {
		return err
	}
	defer w.stop()
	n := b.times(50)
	look := protocol.Call{API: protocol.UAPI, Module: "Email", Func: "verify_password", Args: protocol.Args{Named: map[string]any{"email": "nobody@example.com", "password": "x"}}}
	stdio := func() error {
		c, err := client.Spawn(context.Background(), filepath.Join(b.bin, "liveapid"), filepath.Join(w.dir, "liveapid.toml"), nil)
		if err != nil {
			return err
		}
		if _, err := c.Call(context.Background(), look); err != nil {
			return err
		}
		return c.Close()
	}
	command := func() error {
		cmd := exec.Command(filepath.Join(b.bin, "cpapi2"), "--output=json", "Email", "passwdpop", "domain=example.com", "email=nobody", "password=x")
		cmd.Env = w.env
		return cmd.Run()
	}
	first, err := timed(n, stdio)
	if err != nil {
		return err
	}
	alone, err := timed(n, command)
	if err != nil {
		return err
	}
	if err := w.serve(); err != nil {
		return err
	}
	var rows [][]string
	add := func(what string) {
		now, peak := memory(w.host.Process.Pid)
		rows = append(rows, []string{"host", what, now, peak})
		for _, pid := range children(w.host.Process.Pid) {
			now, peak := memory(pid)
			rows = append(rows, []string{"worker", what, now, peak})
		}
	}
	add("idle")
	if err := command(); err != nil {
		return err
	}
	add("after the first call")
	served, err := timed(n, command)
	if err != nil {
		return err
	}
	floor, err := timed(n, func() error { return exec.Command(filepath.Join(b.bin, "liveapid"), "--version").Run() })
	if err != nil {
		return err
	}
	table("Whole processes", []string{"what", "median", "p99", "ratio to liveapid --version"}, [][]string{
		{"liveapid stdio: start, one call answered by its worker, end", ms(first.median()), ms(first.p99()), ratio(float64(first.median()), float64(floor.median()))},
		{"cpapi2, no host runs (a refused passwdpop: one hash)", ms(alone.median()), ms(alone.p99()), ratio(float64(alone.median()), float64(floor.median()))},
		{"cpapi2, a host runs (the same)", ms(served.median()), ms(served.p99()), ratio(float64(served.median()), float64(floor.median()))},
		{"liveapid --version", ms(floor.median()), ms(floor.p99()), "1"},
	})

	add("after some calls")
	if _, _, err := w.changes(16, 1_000, time.Second); err != nil {
		return err
	}
	add("after a second of changes by 16 callers")
	table("Memory", []string{"process", "when", "resident", "at most"}, rows)
	return nil
}
