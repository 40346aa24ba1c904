// Package pam verifies the passwords of the system's users with PAM. It does so by running a separate
// program, so that PAM's modules are not loaded into the host's process.
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

// Service is the name of the PAM service. PAM's configuration for the service is /etc/pam.d/liveapid.
const Service = "liveapid"

const (
	atOnce  = 8                // Maximum number of programs at once; failures take long.
	timeout = 20 * time.Second // Maximum run time of the program.
)

// Checker verifies passwords by running the program that asks PAM. It is safe for concurrent use.
type Checker struct {
	path    string
	slots   chan struct{}
	longest atomic.Int64 // Longest run time of the program so far, in nanoseconds.
}

// Longest returns the duration of the longest verification so far.
func (c *Checker) Longest() time.Duration { return time.Duration(c.longest.Load()) }

// New returns a checker. path is the path of the program that asks PAM.
func New(path string) *Checker { return &Checker{path: path, slots: make(chan struct{}, atOnce)} }

// Verify reports whether password is the password of the user called name. If the maximum number of programs
// is running, Verify waits until a program has ended. It returns an error if PAM could not decide, or if ctx
// ends while Verify waits.
func (c *Checker) Verify(ctx context.Context, name string, password protocol.Secret) (bool, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("wait for other password checks with PAM: %w", ctx.Err())
	}
	if strings.ContainsRune(name, 0) || strings.ContainsRune(password.Reveal(), 0) || password.Len() > 512 {
		return false, nil
	}
	if name == "" {
		name = "nobody's name" // An unknown user, so that PAM takes the usual time.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}, "/"
	cmd.Stdin = strings.NewReader(Service + "\x00" + name + "\x00" + password.Reveal() + "\x00")
	// PAM's modules may start processes. The program gets a process group of its own, so that these processes
	// are killed with the program on a timeout. WaitDelay limits the wait for processes that keep a pipe
	// open.
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
		return true, nil // The program succeeded; a child of it kept the pipe open.
	}
	return false, fmt.Errorf("check a password with PAM: %w: %s", err, strings.TrimSpace(protocol.Clip(said.String(), protocol.MaxText)))
}
