// Package pam asks PAM for the passwords of the system's users. It runs a program of its own, so that PAM's
// modules and their memory stay out of the host.
package pam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// Service is the name of PAM's configuration, /etc/pam.d/liveapid.
const Service = "liveapid"

const (
	atOnce  = 8                // Programs at once. PAM delays failed attempts.
	timeout = 20 * time.Second // Of a program.
)

// Checker runs the program.
type Checker struct {
	path    string
	slots   chan struct{}
	longest atomic.Int64 // The longest time of a program that ended by itself, in nanoseconds.
}

// Longest returns the longest time of a verification so far.
func (c *Checker) Longest() time.Duration { return time.Duration(c.longest.Load()) }

// New returns a checker that runs the program at path.
func New(path string) *Checker { return &Checker{path: path, slots: make(chan struct{}, atOnce)} }

// Verify reports whether a password belongs to a user. It returns an error if PAM could not decide.
func (c *Checker) Verify(ctx context.Context, name string, password protocol.Secret) (bool, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("wait to ask PAM: %w", ctx.Err())
	}
	if strings.ContainsRune(name, 0) || strings.ContainsRune(password.Reveal(), 0) || password.Len() > 512 {
		return false, nil
	}
	if name == "" {
		name = "nobody's name" // PAM takes as long for an unknown user.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}, "/"
	cmd.Stdin = strings.NewReader(Service + "\x00" + name + "\x00" + password.Reveal() + "\x00")
	// Processes of PAM's modules end with the program and keep no pipe open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	err := cmd.Run()
	for took := int64(time.Since(start)); ; {
		if before := c.longest.Load(); took <= before || c.longest.CompareAndSwap(before, took) {
			break
		}
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return false, nil
	case errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.ExitCode() == 0:
		return true, nil // The program has answered; only a child of it keeps the pipe open.
	}
	return false, fmt.Errorf("ask PAM: %w: %s", err, strings.TrimSpace(protocol.Clip(said.String(), protocol.MaxText)))
}
