package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/become"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/session"
	"github.com/liveapid/liveapid/host/setup"
	"github.com/liveapid/liveapid/protocol"
)

func runCommand() *cobra.Command {
	var name, path string
	cmd := &cobra.Command{
		Use:   "run [--user NAME] -- PROGRAM [ARGUMENT ...]",
		Short: "Run a LiveAPI program with a session socket of its own",
		Long: `Opens a private socket, names it in CPANEL_CONNECT_SOCKET and CPANEL_PHPCONNECT_SOCKET,
runs PROGRAM as the account, removes the socket, and ends with the program's status.`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			a, became, err := runAs(c, name)
			if err != nil {
				return err
			}
			env := os.Environ()
			if became {
				env = environmentOf(a)
			}
			return runProgram(c, a, words, env)
		},
	}
	cmd.Flags().SetInterspersed(false) // What follows the program's name is the program's.
	cmd.Flags().StringVar(&name, "user", "", "the account; root must name one on a server of many accounts")
	cmd.Flags().StringVar(&path, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
	return cmd
}

// runAs returns the account to run for. On a server of many accounts root becomes it.
func runAs(c *config.Config, name string) (a protocol.Account, became bool, err error) {
	if c.Mode == config.Server && os.Geteuid() == 0 {
		if name == "" {
			return a, false, errMisuse{errors.New("as root you must name the account: --user NAME")}
		}
		if a, err = setup.Sources(c).ByName(name); err != nil {
			return a, false, err
		}
		// Nothing of root's passes on to the account's program.
		if err = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
			return a, false, fmt.Errorf("keep descriptors from the program: %w", err)
		}
		return a, true, become.Account(a)
	}
	a, err = setup.Account(c)
	if err == nil && name != "" && name != a.Name {
		err = fmt.Errorf("user %q: you can run programs as %q only", name, a.Name)
	}
	return a, false, err
}

// encoding is what a program may speak on the session: MessagePack too, unless the caller
// wants JSON.
func encoding() string {
	if e := os.Getenv("LIVEAPI_ENCODING"); e != "" {
		return e
	}
	return "msgpack"
}

// environmentOf is the environment of a program that root runs as an account: the
// account's own, with the terminal's and the locale's words of the caller's.
func environmentOf(a protocol.Account) []string {
	env := []string{
		"HOME=" + a.Home, "USER=" + a.Name, "LOGNAME=" + a.Name, "SHELL=/bin/sh",
		"PATH=/usr/local/bin:/usr/bin:/bin",
	}
	for _, name := range []string{"TERM", "LANG", "LC_ALL", "TZ", config.Env} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func runProgram(c *config.Config, a protocol.Account, words, env []string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	rt, err := setup.NewFor(c, a, log)
	if err != nil {
		return err
	}
	defer rt.Close()
	dir, err := os.MkdirTemp("", "liveapi-run-") // Mode 0700.
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	socket := filepath.Join(dir, "liveapi.sock")
	l, err := session.Listen(socket, 0o600)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- rt.Serve(ctx, l, time.Second) }()
	err = execute(words, append(env, "CPANEL_CONNECT_SOCKET="+socket, "CPANEL_PHPCONNECT_SOCKET="+socket, "LIVEAPI_ENCODING="+encoding()))
	stop()
	if serveErr := <-served; err == nil {
		err = serveErr
	}
	return err
}

// execute runs the program and hands it the signals that are meant for it.
func execute(words, env []string) error {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = env
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if !fromTerminal(s) {
				_ = cmd.Process.Signal(s)
			}
		case err := <-done:
			return statusOf(err)
		}
	}
}

// fromTerminal tells whether the program had the signal from the terminal as well.
func fromTerminal(s os.Signal) bool {
	if s != os.Interrupt && s != syscall.SIGQUIT {
		return false
	}
	foreground, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

// statusOf turns a program's end into ours, a signal as shells do.
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
