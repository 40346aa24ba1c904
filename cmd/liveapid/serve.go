package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/identity/account"
)

// metricsConnections is how many connections the page of metrics has at once: any user of this machine can
// open some.
const metricsConnections = 8

// drainTime is how long calls in flight may take after SIGTERM.
const drainTime = 20 * time.Second

// gcPercent is how much garbage the host collects before it clears up, as a part of what it holds: what it
// holds is little, and its memory is counted in docs/security.md. GOGC says otherwise.
const gcPercent = 50

// memoryLimit is from what on the host clears up more often than it needs to, in bytes; a large list goes
// beyond it. GOMEMLIMIT says otherwise.
const memoryLimit = 80 << 20

// serve listens until ctx ends, on the socket that it makes or that systemd hands over.
func serve(ctx context.Context, c *config.Config, log *slog.Logger) error {
	if err := check(c); err != nil {
		return err
	}
	if err := c.Exposed(); err != nil {
		return err
	}
	handed := activation.Files(true) // Taken before anything opens a descriptor.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	dirs := []string{filepath.Dir(c.Socket)}
	if c.Mode == config.Server && c.RunDir != "" {
		dirs = append(dirs, c.RunDir) // Workers pass through it.
	}
	for _, dir := range dirs {
		if err := makeSocketDir(dir); err != nil {
			return err
		}
	}
	rt, err := daemon.New(c, log)
	if err != nil {
		return err
	}
	defer rt.Close()
	l, err := listen(c, handed)
	if err != nil {
		return err
	}
	side, stopSide := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	defer others.Wait()
	defer stopSide()
	if err := serveControl(side, &others, c, rt, log); err != nil {
		return errors.Join(err, l.Close())
	}
	if c.Web.On() {
		if err := rt.OpenWeb(); err != nil {
			log.Error("the HTTPS API is not served; the socket is", "error", err.Error())
		} else {
			// It drains as the socket does, at the same time.
			others.Go(func() { rt.ServeWeb(ctx, drainTime) })
		}
	}
	others.Go(func() { reload(side, rt, log) })
	others.Go(func() { rt.Watch(side) })
	others.Go(func() { watchdog(side, rt, log) })
	log.Info("listening", "socket", c.Socket, "mode", string(c.Mode), "pid", os.Getpid(), "handed_over", len(handed) > 0)
	tell(log, systemd.SdNotifyReady)
	drained := context.AfterFunc(ctx, func() {
		tell(log, systemd.SdNotifyStopping)
		log.Info("draining", "most", drainTime)
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		<-again // Whoever signals twice means it.
		os.Exit(1)
	})
	defer drained()
	err = rt.Serve(ctx, l, drainTime)
	log.Info("stopped")
	return err
}

// listen returns the socket to serve: the one that was handed over, or one of its own.
func listen(c *config.Config, handed []*os.File) (*net.UnixListener, error) {
	switch len(handed) {
	case 0:
	case 1:
		l, err := net.FileListener(handed[0])
		_ = handed[0].Close()
		if err != nil {
			return nil, fmt.Errorf("the socket that was handed over: %w", err)
		}
		socket, ok := l.(*net.UnixListener)
		if !ok {
			_ = l.Close()
			return nil, fmt.Errorf("the socket that was handed over is of %s, not of unix", l.Addr().Network())
		}
		socket.SetUnlinkOnClose(false) // It is whoever made it's.
		return socket, nil
	default:
		return nil, fmt.Errorf("%d sockets were handed over; one is served", len(handed))
	}
	// In personal mode the host refuses other users; the mode keeps them from knocking.
	mode := os.FileMode(0o600)
	if c.Mode == config.Server {
		mode = 0o666
	}
	return session.Listen(c.Socket, mode)
}

// serveControl serves what shows how the host is: the control socket and Prometheus' page.
func serveControl(ctx context.Context, others *sync.WaitGroup, c *config.Config, rt *daemon.Runtime, log *slog.Logger) error {
	if c.Control != "" {
		if err := makeSocketDir(filepath.Dir(c.Control)); err != nil {
			return err
		}
		l, err := control.Listen(c.Control)
		if err != nil {
			return err
		}
		others.Go(func() {
			if err := control.Serve(ctx, l, control.Host{Status: rt.Status, Owner: rt.DomainOwner, Metrics: rt.Metrics.Handler()}); err != nil {
				log.Error("control", "error", err.Error())
			}
		})
	}
	if err := openDovecotDict(ctx, others, c, rt, log); err != nil {
		return err
	}
	if c.Metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", c.Metrics)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	l = netutil.LimitListener(l, metricsConnections)
	others.Go(func() {
		if err := control.Serve(ctx, l, control.Host{Metrics: rt.Metrics.Handler()}); err != nil {
			log.Error("metrics", "error", err.Error())
		}
	})
	return nil
}

// openDovecotDict listens for Dovecot, where that is asked for.
func openDovecotDict(ctx context.Context, others *sync.WaitGroup, c *config.Config, rt *daemon.Runtime, log *slog.Logger) error {
	if c.DovecotSocket == "" || c.Mode != config.Server {
		return nil
	}
	mail, err := account.SystemUser(c.MailUser)
	if err != nil {
		return fmt.Errorf("mail_user: %w", err)
	}
	if err := makeSocketDir(filepath.Dir(c.DovecotSocket)); err != nil {
		return err
	}
	l, err := session.Listen(c.DovecotSocket, 0o600)
	if err != nil {
		return err
	}
	if err := os.Lchown(c.DovecotSocket, mail.UID, -1); err != nil {
		return errors.Join(fmt.Errorf("mail_door: %w", err), l.Close())
	}
	others.Go(func() {
		if err := rt.ServeDovecotDict(ctx, l, mail.UID); err != nil {
			log.Error("mail door", "error", err.Error())
		}
	})
	return nil
}

// reload does what SIGHUP asks for.
func reload(ctx context.Context, rt *daemon.Runtime, log *slog.Logger) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		// systemd wants to know when it began, by the clock that never goes back.
		var now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		tell(log, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", systemd.SdNotifyReloading, now.Nano()/1000))
		if err := rt.Reload(ctx); err != nil {
			log.Error("not reloaded; all stays as it was", "error", err.Error())
		}
		tell(log, systemd.SdNotifyReady)
	}
}

// watchdog tells systemd, twice in each interval it asks for, that the host is alive: that it
// can still say how it is, which needs what every call needs.
func watchdog(ctx context.Context, rt *daemon.Runtime, log *slog.Logger) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		s := rt.Status()
		tell(log, systemd.SdNotifyWatchdog)
		tell(log, fmt.Sprintf("STATUS=%d accounts, %d sessions, %d workers, %d calls", s.Accounts, s.Sessions, s.Workers, s.Calls))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tell tells systemd, where it is there to be told.
func tell(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("systemd can't be told", "error", err.Error())
	}
}

// makeSocketDir makes a socket's folder, and those above it, where they are missing,
// passable for those who connect. One that is there stays as it is.
func makeSocketDir(dir string) error {
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the socket's folder: %w", err)
	}
	return nil
}
