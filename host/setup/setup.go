// Package setup builds a running host from a configuration: its accounts, its plugins'
// supervisors, its sessions. Every program that serves starts here.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/account"
	"github.com/liveapid/liveapid/host/builtin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/session"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// Runtime is a host with everything it runs on.
type Runtime struct {
	Host *host.Host

	config      *config.Config
	account     func() (protocol.Account, error) // Personal mode's.
	log         *slog.Logger
	spawner     *worker.Spawner
	runDir      *worker.RunDir
	supervisors []*worker.Supervisor
}

// New builds the host that c describes. Nothing is started before the first call.
func New(c *config.Config, log *slog.Logger) (*Runtime, error) {
	server := c.Mode == config.Server
	if server && os.Geteuid() != 0 {
		return nil, errors.New("server mode serves accounts by their own uids and needs root; personal mode serves you alone")
	}
	mode := os.FileMode(0o700)
	if server {
		mode = 0o711 // Workers pass through it to their own directories.
	}
	runDir, err := worker.NewRunDir(c.RunDir, mode)
	if err != nil {
		return nil, err
	}
	rt := &Runtime{
		config: c, log: log, spawner: worker.NewSpawner(), runDir: runDir,
		account: func() (protocol.Account, error) { return Account(c) },
	}
	plugins := []host.Plugin{builtin.Special{}, builtin.Chrome{}}
	for _, p := range c.Plugins {
		sum, err := p.Sum()
		if err != nil {
			rt.Close()
			return nil, fmt.Errorf("plugin %s: %w", p.Path, err)
		}
		plugins = append(plugins, rt.supervise(worker.Options{Path: p.Path, Args: p.Args, SHA256: sum, Settings: p.Settings, Log: log}))
	}
	scripts, err := rt.scripts()
	if err != nil {
		rt.Close()
		return nil, err
	}
	plugins = append(plugins, scripts...)
	rt.Host = host.New(host.Options{Plugins: plugins, Timeout: time.Duration(c.Limits.Call), Variables: builtin.Variables, Log: log})
	return rt, nil
}

// supervise makes the supervisor of one plugin; o is completed with what all share.
func (rt *Runtime) supervise(o worker.Options) *worker.Supervisor {
	o.RunDir, o.Spawner, o.Idle = rt.runDir, rt.spawner, time.Duration(rt.config.Limits.WorkerIdle)
	if rt.config.Mode == config.Server {
		o.Trusted, o.TLS, o.Credential = true, true, worker.Credential
	}
	s := worker.New(o)
	rt.supervisors = append(rt.supervisors, s)
	return s
}

// NewFor builds a host in personal mode for one account, whatever mode c has: the
// running user's own, for a session over pipes or a program that is run.
func NewFor(c *config.Config, a protocol.Account, log *slog.Logger) (*Runtime, error) {
	personal := *c
	personal.Mode = config.Personal
	if c.Mode == config.Server {
		personal.RunDir = "" // Root's; the account makes its own.
	}
	rt, err := New(&personal, log)
	if err != nil {
		return nil, err
	}
	rt.account = func() (protocol.Account, error) { return a, nil }
	return rt, nil
}

// Harden makes the process one whose secrets stay in memory: no core files, files
// private unless said otherwise, and no descriptor that was inherited passes on to
// workers. For programs that only serve.
func Harden() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("keep descriptors from workers: %w", err)
	}
	return nil
}

// Close ends the workers and removes what the host made at run time.
func (rt *Runtime) Close() {
	for _, s := range rt.supervisors {
		s.Close()
	}
	rt.spawner.Close()
	if err := rt.runDir.Close(); err != nil {
		rt.log.Warn("remove the run directory", "error", err.Error())
	}
}

// Account returns the account that c serves as the running user: the one it names, and
// the user's own where it names none.
func Account(c *config.Config) (protocol.Account, error) {
	if c.Account == "" {
		return account.Self()
	}
	return account.NewDir(c.Accounts, true).ByName(c.Account)
}

// identify maps the uid of a peer to a caller.
func (rt *Runtime) identify() func(uid int) (protocol.Caller, error) {
	caller := func(a protocol.Account) protocol.Caller {
		return protocol.Caller{Account: a, Role: protocol.RoleAccount, Door: "socket"}
	}
	if rt.config.Mode == config.Personal {
		return func(uid int) (protocol.Caller, error) {
			if uid != os.Geteuid() {
				return protocol.Caller{}, &protocol.Error{
					Kind: protocol.KindDenied, Message: "This host serves its own user only.", Err: fmt.Errorf("peer uid %d", uid),
				}
			}
			a, err := rt.account()
			return caller(a), err
		}
	}
	accounts := account.NewDir(rt.config.Accounts, false)
	return func(uid int) (protocol.Caller, error) {
		if uid < worker.MinTenantID || uid == 65534 {
			return protocol.Caller{}, &protocol.Error{
				Kind: protocol.KindDenied, Err: fmt.Errorf("peer uid %d", uid),
				Message: "System users have no account here. Become the account first (cpapi2 --user, liveapi run --user).",
			}
		}
		a, err := accounts.ByUID(uid)
		if errors.Is(err, account.ErrUnknown) {
			err = &protocol.Error{Kind: protocol.KindDenied, Message: "Your user has no account on this host.", Err: err}
		}
		return caller(a), err
	}
}

// Serve serves the sessions of l until ctx ends, then drains for at most grace.
func (rt *Runtime) Serve(ctx context.Context, l *net.UnixListener, grace time.Duration) error {
	server := &session.Server{Doer: rt.Host, Limits: rt.limits(), Log: rt.log, Identify: rt.identify()}
	served := make(chan error, 1)
	// Calls outlive ctx: draining lets them finish.
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

// ServeStreams serves one session of the personal account on in and out.
func (rt *Runtime) ServeStreams(ctx context.Context, in io.Reader, out io.Writer) error {
	a, err := rt.account()
	if err != nil {
		return err
	}
	caller := protocol.Caller{Account: a, Role: protocol.RoleAccount, Door: "stdio"}
	return session.Serve(ctx, rt.Host, caller, rt.limits(), rt.log, in, out)
}

func (rt *Runtime) limits() session.Limits {
	l := rt.config.Limits
	return session.Limits{
		Frame: l.Frame, FrameTime: time.Duration(l.FrameTime), Idle: time.Duration(l.Idle),
		Sessions: l.Sessions, AccountSessions: l.AccountSessions,
	}
}
