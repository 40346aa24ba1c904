// Package terminal runs a command that root starts for an account, without giving the command root's
// terminal. With root's terminal, the command could insert input as if root had typed it (ioctl TIOCSTI), and
// could still use the terminal after root's command has ended. Therefore the command gets a session of its
// own. If a standard stream is a terminal, the command gets a pseudo-terminal instead, and the package copies
// the bytes between both. The package does not handle accounts.
package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Streams are the standard streams of the process that starts the command.
type Streams struct{ In, Out, Err *os.File }

// drainTime is the time for which the output of the command's children is still copied after the command has
// ended.
const drainTime = 200 * time.Millisecond

// Run runs cmd with the given standard streams and returns when cmd has ended. A pseudo-terminal that belongs
// to uid replaces every stream that is a terminal. Run calls started once with the running process, so that
// the caller can forward signals to it.
func Run(cmd *exec.Cmd, streams Streams, uid int, started func(*os.Process)) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	cmd.Stdin, cmd.Stdout, cmd.Stderr = streams.In, streams.Out, streams.Err
	ours := []*os.File{streams.In, streams.Out, streams.Err}
	terminals := make([]bool, len(ours))
	any := -1
	for i := len(ours) - 1; i >= 0; i-- {
		if ours[i] != nil && term.IsTerminal(int(ours[i].Fd())) {
			terminals[i], any = true, i
		}
	}
	if any < 0 {
		if err := cmd.Start(); err != nil {
			return err
		}
		started(cmd.Process)
		return cmd.Wait()
	}
	master, slave, err := pty.Open()
	if err != nil {
		return fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	defer func() { _ = master.Close() }()
	if err := slave.Chown(uid, -1); err != nil {
		return errors.Join(fmt.Errorf("open a pseudo-terminal: %w", err), slave.Close())
	}
	_ = pty.InheritSize(ours[any], master) // Fails for a terminal without a size, which is harmless.
	if terminals[0] {
		cmd.Stdin = slave
	}
	if terminals[1] {
		cmd.Stdout = slave
	}
	if terminals[2] {
		cmd.Stderr = slave
	}
	cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, any
	foreground, restore := rawMode(terminals[0], streams.In)
	defer restore()
	err = cmd.Start()
	_ = slave.Close()
	if err != nil {
		return err
	}
	started(cmd.Process)
	relayed := relay(master, foreground, terminals, streams)
	stopSizes := followSize(ours[any], master)
	defer stopSizes()
	err = cmd.Wait()
	select {
	case <-relayed:
	case <-time.After(drainTime): // A child of the command still uses the pseudo-terminal.
	}
	return err
}

// rawMode sets the terminal in to raw mode, so that all keys reach the pseudo-terminal, which interprets
// them. The parameter is reports whether in is a terminal. If in is not a terminal, or if this process runs
// in the background, rawMode changes nothing and foreground is false; the caller must then not read from in.
// restore resets the terminal to its previous mode.
func rawMode(is bool, in *os.File) (foreground bool, restore func()) {
	if !is {
		return false, func() {}
	}
	group, err := unix.IoctlGetInt(int(in.Fd()), unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return false, func() {}
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return false, func() {}
	}
	return true, func() {
		// The command may have sent queries to the terminal. Answers of the terminal that arrive after the
		// command has ended are discarded, so that the shell does not read them as typed text.
		_ = unix.IoctlSetInt(int(in.Fd()), unix.TCFLSH, unix.TCIFLUSH)
		_ = term.Restore(int(in.Fd()), state)
	}
}

// relay copies bytes between the pseudo-terminal and the streams. The returned channel is closed when all
// processes have closed their side of the pseudo-terminal and all of their output was copied.
func relay(master *os.File, input bool, terminals []bool, streams Streams) <-chan struct{} {
	if input {
		go func() { _, _ = io.Copy(master, streams.In) }() // Never interrupted: the read ends only with this process.
	}
	var to io.Writer = io.Discard // No output is a terminal: discard the input's echo.
	if terminals[1] {
		to = streams.Out
	} else if terminals[2] {
		to = streams.Err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, master) // Reading ends with EIO when the other side is closed.
	}()
	return done
}

// followSize copies the size of the terminal in the parameter from to the pseudo-terminal master whenever the
// size changes, until stop is called.
func followSize(from, master *os.File) (stop func()) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	go func() {
		for range changes {
			_ = pty.InheritSize(from, master)
		}
	}()
	return func() {
		signal.Stop(changes)
		close(changes)
	}
}
