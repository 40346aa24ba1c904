package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/net/netutil"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/front/maildoor"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/host/identity/account"
)

const (
	// drainTime is the maximum time that calls in flight may take after the host was asked to end.
	drainTime = 20 * time.Second
	// metricsConnections is the maximum number of connections to the metrics page. The page needs no sign-in:
	// any user of the machine could otherwise use up the file descriptors.
	metricsConnections = 8
)

// Signals contains a channel and a function through which Serve reacts to signals of the operating system.
type Signals struct {
	Reload <-chan os.Signal // Receives SIGHUP, after which the host reloads.
	Force  func()           // Called when draining begins; a second signal then exits.
}

// Serve builds the host that c describes and serves all its front doors until ctx ends, then drains. It uses
// the socket that systemd passed, if any, and otherwise listens on the socket that c names.
func Serve(ctx context.Context, c *config.Config, signals Signals, log *slog.Logger) error {
	passed := activation.Files(true) // Must come before any other descriptor is opened.
	if err := c.Exposed(); err != nil {
		return err
	}
	if err := makeDirs(c); err != nil {
		return err
	}
	rt, err := New(c, log)
	if err != nil {
		return err
	}
	defer rt.Close()
	l, err := listen(c, passed)
	if err != nil {
		return err
	}
	side, stopSide := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	defer others.Wait()
	defer stopSide()
	for _, open := range []func(context.Context, *sync.WaitGroup) error{rt.openControl, rt.openMetrics, rt.openMailDoor} {
		if err := open(side, &others); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	if c.Web.On() {
		if err := rt.OpenHTTPS(); err != nil {
			log.Error("can't serve the HTTPS API; only the socket is served", "error", err.Error())
		} else {
			// ServeHTTPS uses ctx, so that the HTTPS API drains at the same time as the socket. The context
			// side ends only after the socket has drained.
			others.Go(func() { rt.ServeHTTPS(ctx, drainTime) })
		}
	}
	others.Go(func() { rt.reloadOn(side, signals.Reload) })
	others.Go(func() { rt.Watch(side) })
	others.Go(func() { rt.watchdog(side) })
	log.Info("listening", "socket", c.Socket, "mode", string(c.Mode), "pid", os.Getpid(), "handed_over", len(passed) > 0)
	notify(log, systemd.SdNotifyReady)
	announced := make(chan struct{})
	cancelAnnouncement := context.AfterFunc(ctx, func() {
		notify(log, systemd.SdNotifyStopping)
		log.Info("draining", "most", drainTime)
		close(announced)
		signals.Force()
	})
	err = rt.Serve(ctx, l, drainTime)
	// An idle host drains at once. Without the wait, the process could exit before systemd is notified.
	if !cancelAnnouncement() {
		<-announced
	}
	log.Info("stopped")
	return err
}

// Serve serves sessions on l until ctx ends. It then closes l and waits at most grace for the calls in
// flight.
func (rt *Runtime) Serve(ctx context.Context, l *net.UnixListener, grace time.Duration) error {
	server := &session.Server{Doer: rt.checked(), Limits: rt.socketLimits(), Intake: rt.limits.intake, Log: rt.log, Identify: rt.identify}
	rt.sessions.Store(server)
	served := make(chan error, 1)
	// server.Serve gets a context that does not end when ctx ends, so that calls in flight can finish while
	// the server drains.
	go func() { served <- server.Serve(context.WithoutCancel(ctx), l) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		_ = l.Close()
		err = <-served
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	server.Shutdown(drain)
	return err
}

// makeDirs makes the directories of the sockets with mode 0755, so that clients can reach the sockets.
// Directories that exist keep their modes.
func makeDirs(c *config.Config) error {
	dirs := []string{filepath.Dir(c.Socket)}
	if c.Mode == config.Server && c.RunDir != "" {
		dirs = append(dirs, c.RunDir) // Workers reach their own directories through RunDir.
	}
	if c.Control != "" {
		dirs = append(dirs, filepath.Dir(c.Control))
	}
	if c.DovecotSocket != "" {
		dirs = append(dirs, filepath.Dir(c.DovecotSocket))
	}
	for _, dir := range dirs {
		if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create the directory of a socket: %w", err)
		}
	}
	return nil
}

// listen returns the socket that systemd passed, if any, and otherwise listens on the socket that c names.
func listen(c *config.Config, passed []*os.File) (*net.UnixListener, error) {
	switch len(passed) {
	case 0:
	case 1:
		l, err := net.FileListener(passed[0])
		_ = passed[0].Close()
		if err != nil {
			return nil, fmt.Errorf("use the socket that systemd passed: %w", err)
		}
		socket, ok := l.(*net.UnixListener)
		if !ok {
			_ = l.Close()
			return nil, fmt.Errorf("the socket that systemd passed has the type %s, not unix", l.Addr().Network())
		}
		socket.SetUnlinkOnClose(false) // systemd made the socket and keeps its file.
		return socket, nil
	default:
		return nil, fmt.Errorf("systemd passed %d sockets, but the host needs exactly one", len(passed))
	}
	// In personal mode the host rejects other users anyway. Mode 0600 already prevents them from connecting.
	mode := os.FileMode(0o600)
	if c.Mode == config.Server {
		mode = 0o666
	}
	return unixsock.Listen(c.Socket, mode)
}

// openControl serves the control socket, if the configuration names one. Tools that root runs read the host's
// status from this socket. The goroutines that openControl starts are added to others.
func (rt *Runtime) openControl(ctx context.Context, others *sync.WaitGroup) error {
	path := rt.state.Load().config.Control
	if path == "" {
		return nil
	}
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	others.Go(func() {
		if err := control.Serve(ctx, l, control.Host{Status: rt.Status, Owner: rt.DomainOwner, Metrics: rt.Metrics.Handler(), WHM: rt.operator()}); err != nil {
			rt.log.Error("the control socket stopped", "error", err.Error())
		}
	})
	return nil
}

// operator returns the handler of WHM's functions for root. It works also if the HTTPS API is off, except for
// functions of its tokens, passwords and sessions.
func (rt *Runtime) operator() http.Handler {
	alone := https.New(https.Options{
		Backend: backend{rt}, Admin: administration{rt}, Certified: func() []string { return nil },
		Intake: rt.limits.intake, Enter: rt.enterHeavy, Pace: rt.limits.work.Pace, Log: rt.log,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front := rt.web.front.Load()
		if front == nil {
			front = alone
		}
		front.Operator().ServeHTTP(w, r)
	})
}

// openMetrics serves the metrics page for Prometheus, if the configuration contains an address for the page.
// The goroutines that openMetrics starts are added to others.
func (rt *Runtime) openMetrics(ctx context.Context, others *sync.WaitGroup) error {
	address := rt.state.Load().config.Metrics
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	l = netutil.LimitListener(l, metricsConnections)
	others.Go(func() {
		if err := control.Serve(ctx, l, control.Host{Metrics: rt.Metrics.Handler()}); err != nil {
			rt.log.Error("the metrics port stopped", "error", err.Error())
		}
	})
	return nil
}

// openMailDoor answers Dovecot's look-ups, if the configuration names a socket for Dovecot and the host is in
// server mode. Dovecot 2.4 uses a second socket in the directory of the first. The goroutines that openMailDoor
// starts are added to others.
func (rt *Runtime) openMailDoor(ctx context.Context, others *sync.WaitGroup) error {
	c := rt.state.Load().config
	if c.DovecotSocket == "" || c.Mode != config.Server {
		return nil
	}
	mail, err := account.SystemUser(c.MailUser)
	if err != nil {
		return fmt.Errorf("mail_user: %w", err)
	}
	server := rt.mailDoor(mail.UID)
	for _, door := range []struct {
		path  string
		serve func(context.Context, *net.UnixListener) error
	}{
		{c.DovecotSocket, server.ServeDict},
		{filepath.Join(filepath.Dir(c.DovecotSocket), maildoor.PostgreSQLSocket), server.ServePostgreSQL},
	} {
		l, err := unixsock.Listen(door.path, 0o600)
		if err != nil {
			return fmt.Errorf("mail_door: %w", err)
		}
		if err := os.Lchown(door.path, mail.UID, -1); err != nil {
			return errors.Join(fmt.Errorf("mail_door: %w", err), l.Close())
		}
		others.Go(func() {
			if err := door.serve(ctx, l); err != nil {
				rt.log.Error("the socket for Dovecot stopped", "socket", door.path, "error", err.Error())
			}
		})
	}
	return nil
}
