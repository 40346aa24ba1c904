package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/host/modules/cassette"
	"github.com/liveapid/liveapid/host/record/readable"
	"github.com/liveapid/liveapid/protocol"
)

func runCommand() *cobra.Command {
	var name, path string
	cmd := &cobra.Command{
		Use:   "run [--user NAME] -- PROGRAM [ARGUMENT ...]",
		Short: "Run a LiveAPI program with a private socket",
		Long: `Creates a private socket, sets CPANEL_CONNECT_SOCKET and CPANEL_PHPCONNECT_SOCKET to its path,
runs PROGRAM as the account, removes the socket, and exits with the program's status.`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			if err := enterTree(c, cmd.ErrOrStderr()); err != nil {
				return err
			}
			if c.Mode == config.Server {
				return runOnHost(c, name, words)
			}
			a, err := ownAccount(c, name)
			if err != nil {
				return err
			}
			return runProgram(c, a, words)
		},
	}
	cmd.Flags().SetInterspersed(false) // Options after PROGRAM belong to PROGRAM.
	cmd.Flags().StringVar(&name, "user", "", "the account; on a server with many accounts root must name it")
	cmd.Flags().StringVar(&path, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
	return cmd
}

// ownAccount returns the only account of personal mode. It returns an error if name, from --user, is another
// account.
func ownAccount(c *config.Config, name string) (protocol.Account, error) {
	a, err := daemon.Account(c)
	if err == nil && name != "" && name != a.Name {
		err = fmt.Errorf("user %q: you can run programs only as %q", name, a.Name)
	}
	return a, err
}

// encoding returns the value of LIVEAPI_ENCODING for the program that is run: the caller's own value if the
// variable is set, otherwise "msgpack", which lets the program use MessagePack.
func encoding() string {
	if e := os.Getenv("LIVEAPI_ENCODING"); e != "" {
		return e
	}
	return "msgpack"
}

// runProgram runs a program in personal mode. A host in this process serves a private socket until the
// program ends.
func runProgram(c *config.Config, a protocol.Account, words []string) error {
	return runWith(c, a, words, runOptions{})
}

// runOptions are the options of a host in this process that serves a program.
type runOptions struct {
	tap     host.Tap            // Gets each call; may be nil.
	https   bool                // Also serve the HTTPS API.
	players *[]*cassette.Player // Set to the players of the cassettes; may be nil.
}

// discardLog returns a log that drops all lines.
func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// runWith does the work of runProgram.
func runWith(c *config.Config, a protocol.Account, words []string, o runOptions) error {
	level := slog.LevelWarn
	if o.players != nil {
		level = slog.LevelError // The caller prints what differed.
	}
	log := slog.New(readable.For(os.Stderr, level))
	rt, err := daemon.NewFor(c, a, log)
	if err != nil {
		return err
	}
	defer rt.Close()
	if o.tap != nil {
		rt.Host.Tap(o.tap)
	}
	if o.players != nil {
		defer func() { *o.players = rt.Players() }()
	}
	l, socket, remove, err := privateSocket()
	if err != nil {
		return err
	}
	defer remove()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	web := make(chan struct{})
	if o.https && c.Web.On() {
		if err := rt.OpenHTTPS(); err != nil {
			stop()
			return errors.Join(err, l.Close())
		}
		go func() {
			defer close(web)
			rt.ServeHTTPS(ctx, time.Second)
		}()
	} else {
		close(web)
	}
	go func() { served <- rt.Serve(ctx, l, time.Second) }()
	err = execute(words, append(withLibraries(os.Environ(), c.Bindings), socketEnv(socket)...))
	stop()
	<-web
	if serveErr := <-served; err == nil {
		err = serveErr
	}
	return err
}

// privateSocket listens on a socket in a new directory that only the running user can open. The caller must call remove.
func privateSocket() (l *net.UnixListener, path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "liveapi-run-") // Created with mode 0700.
	if err != nil {
		return nil, "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "liveapi.sock")
	if l, err = unixsock.Listen(path, 0o600); err != nil {
		remove()
		return nil, "", nil, err
	}
	return l, path, remove, nil
}

// socketEnv returns the environment variables through which a program finds the host's socket and the
// encoding.
func socketEnv(socket string) []string {
	return []string{"CPANEL_CONNECT_SOCKET=" + socket, "CPANEL_PHPCONNECT_SOCKET=" + socket, "LIVEAPI_ENCODING=" + encoding()}
}

// execute runs a program as the running user, with this program's standard streams, and forwards signals to
// it. Its error contains the program's exit status.
func execute(words, env []string) error {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = env
	return executeCommand(cmd, func(started error) error { return started })
}

// executeCommand runs cmd in the same way as execute runs a program. It calls prepared with the result of
// starting cmd. If prepared returns an error, executeCommand returns it and does not wait for cmd.
func executeCommand(cmd *exec.Cmd, prepared func(started error) error) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := prepared(cmd.Start()); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	defer forwardSignals(cmd.Process, fromTerminal)()
	return statusOf(cmd.Wait())
}

// forwardSignals forwards the signals that this process receives to another process, until stop is called.
// Signals for which skip returns true are not forwarded, because the other process received them too.
func forwardSignals(to *os.Process, skip func(os.Signal) bool) (stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			if !skip(s) {
				_ = to.Signal(s)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// fromTerminal reports whether a signal probably came from a key of the terminal. The terminal sends such a
// signal to its whole foreground process group, so the program that is run also received it.
func fromTerminal(s os.Signal) bool {
	if s != os.Interrupt && s != syscall.SIGQUIT {
		return false
	}
	foreground, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

// statusOf converts the error of exec.Cmd.Wait to an exitStatus. If a signal ended the program, the status is
// 128 plus the signal's number, as in shells. Any other error is returned unchanged.
func statusOf(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exitStatus(128 + int(ws.Signal()))
	}
	return exitStatus(exit.ExitCode())
}
