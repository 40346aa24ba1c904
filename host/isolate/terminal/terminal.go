// Package terminal runs a command without the terminal of its starter: a program of an account
// that root runs. With root's terminal, the program could type into it (ioctl TIOCSTI), and would keep it
// after root's command has ended. The command gets a session of its own. If a standard stream is a terminal,
// the command gets a pseudo-terminal, and its bytes are relayed. The package knows no account.
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

// drainTime is how long output of the command's children is relayed after the command has ended.
const drainTime = 200 * time.Millisecond

// Run runs cmd with the streams until it ends. Terminals among the streams are replaced by a pseudo-terminal
// that uid owns. started is called with the running process; the caller forwards signals to it.
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
	_ = pty.InheritSize(ours[any], master) // A terminal without a size has none to inherit.
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
	case <-time.After(drainTime): // A child of the command still holds the pseudo-terminal.
	}
	return err
}

// rawMode passes keys on unchanged; the pseudo-terminal interprets them. A command in the background leaves
// the terminal as it is and reads nothing from it.
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
		// Answers of the terminal to queries of the command must not reach the shell as typed text.
		_ = unix.IoctlSetInt(int(in.Fd()), unix.TCFLSH, unix.TCIFLUSH)
		_ = term.Restore(int(in.Fd()), state)
	}
}

// relay copies bytes between the pseudo-terminal and the streams. The channel is closed when the command's
// side is closed and all of its output was copied.
func relay(master *os.File, input bool, terminals []bool, streams Streams) <-chan struct{} {
	if input {
		go func() { _, _ = io.Copy(master, streams.In) }() // It ends with this process, because the read can't be interrupted.
	}
	var to io.Writer = io.Discard // If the output is elsewhere, the pseudo-terminal shows only the echo of the input.
	if terminals[1] {
		to = streams.Out
	} else if terminals[2] {
		to = streams.Err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, master) // EIO marks the end of a pseudo-terminal.
	}()
	return done
}

// followSize copies each change of the terminal's size.
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
