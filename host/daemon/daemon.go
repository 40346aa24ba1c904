// Package daemon builds a running host from a configuration and serves its front doors. It connects the
// accounts, the plugins, the sessions, the HTTPS API, the mail server's look-ups, the metrics and the
// reloads, which other packages implement. Every program that runs a host uses this package. The package
// decodes no protocol and opens no file of an account.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/front/https/cert"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/modules/accountinfo"
	"github.com/liveapid/liveapid/host/record/audit"
	"github.com/liveapid/liveapid/host/record/metrics"
	"github.com/liveapid/liveapid/protocol"
)

// Runtime is a running host with all its parts. New sets the fields, which do not change after that; values
// that a reload replaces are in state. The methods may be called concurrently.
type Runtime struct {
	Host    *host.Host
	Metrics *metrics.Metrics

	mode        mode
	log         *slog.Logger
	started     time.Time
	accountInfo *accountinfo.Plugin
	limits      limits
	workers     workers
	records     records
	web         web

	state     atomic.Pointer[state]
	reloading sync.Mutex                     // Only one reload runs at a time.
	rereading latest                         // The reloads of the accounts.
	sessions  atomic.Pointer[session.Server] // Nil until Serve is called.
	ending    sync.WaitGroup                 // Counts account workers being stopped; Close waits for them.
	files     freshness                      // The files of the modules; personal mode only.
	life      context.Context                // Ends when Close begins.
	end       context.CancelFunc
}

// state contains everything that a reload replaces. A state is immutable: a reload stores a new one.
type state struct {
	config  *config.Config
	calls   *admission.Calls
	refused map[int]bool // Uids that may not connect, even if they belong to an account.
	loaded
}

// limits are the limiters that stay the same as long as the host runs; a reload does not change them.
type limits struct {
	answers *admission.Answers
	intake  *admission.Intake
	work    *admission.Work
	lookups *admission.Questions // Limits the look-ups of the mail server.
	signIns *admission.Questions // Limits the sign-ins of mailbox users at webmail.
}

// workers contains what the workers of all plugins share.
type workers struct {
	spawner *isolate.Spawner
	runDir  *isolate.RunDir
}

// records contains the counters and logs in which the host records calls and requests.
type records struct {
	usage  *usage
	audit  *audit.Log       // Nil if the configuration names no audit log.
	access *https.AccessLog // Nil if the configuration names no access log.
}

// web contains the parts of the HTTPS API.
type web struct {
	tokens      *token.Store // Nil if the HTTPS API is off.
	certificate *cert.Source // Nil until OpenHTTPS is called.
	front       atomic.Pointer[https.Front]
}

// New builds the host that c describes. New starts no worker; the first call of an account does. The caller
// must call Close.
func New(c *config.Config, log *slog.Logger) (*Runtime, error) {
	if c.Mode != config.Server {
		return build(c, personal{account: accountOf(c)}, log)
	}
	m, err := newServer(c, log)
	if err != nil {
		return nil, err
	}
	return build(c, m, log)
}

// NewFor builds a host in personal mode that serves only the account a, even if c describes a host in server
// mode. It is for a session over pipes, or for a program that runs as the account's user.
func NewFor(c *config.Config, a protocol.Account, log *slog.Logger) (*Runtime, error) {
	own := *c
	own.Mode = config.Personal
	if c.Mode == config.Server {
		// These keys contain paths that only root can use. If RunDir is empty, the host creates a private run
		// directory.
		own.RunDir, own.Audit, own.Metrics, own.Control, own.Web = "", "", "", "", config.Web{}
	}
	return build(&own, personal{account: func() (protocol.Account, error) { return a, nil }}, log)
}

func build(c *config.Config, m mode, log *slog.Logger) (_ *Runtime, err error) {
	rt := &Runtime{
		mode: m, log: log, started: time.Now(),
		limits: limits{
			answers: admission.NewAnswers(), intake: admission.NewIntake(intakeOptions(c)), work: admission.NewWork(),
			lookups: admission.NewQuestions(lookupOptions), signIns: admission.NewQuestions(signInOptions),
		},
		workers: workers{spawner: isolate.NewSpawner()},
		records: records{usage: newUsage()},
	}
	rt.life, rt.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			rt.Close()
		}
	}()
	if rt.workers.runDir, err = isolate.NewRunDir(c.RunDir, m.runDirMode()); err != nil {
		return nil, err
	}
	rt.accountInfo = rt.newAccountInfo(c)
	s := &state{config: c, calls: newCalls(c)}
	rt.files.mark(c)
	if s.loaded, err = rt.load(c, nil); err != nil {
		return nil, err
	}
	if s.refused, err = m.refusedUIDs(c); err != nil {
		return nil, err
	}
	rt.state.Store(s)
	observers, err := rt.observers(c)
	if err != nil {
		return nil, err
	}
	if c.Web.On() {
		rt.web.tokens = token.Open(c.Web.Tokens())
	}
	rt.Host = host.New(host.Options{
		Causes:  c.Mode == config.Personal,
		Plugins: rt.allPlugins(s.loaded), Timeout: time.Duration(c.Limits.Call), Variables: variables,
		Observers: observers, Pace: rt.limits.work.Pace, Log: log,
	})
	rt.reloadAccounts()
	return rt, nil
}

// observers opens the audit log and the metrics, if c names them, and returns the observers of all calls.
func (rt *Runtime) observers(c *config.Config) ([]host.Observer, error) {
	observers := []host.Observer{rt.records.usage}
	if c.Audit != "" {
		var err error
		if rt.records.audit, err = audit.Open(c.Audit); err != nil {
			return nil, err
		}
		// The audit log is the first observer, because a change that can't be recorded must not be made.
		observers = append([]host.Observer{&audit.Observer{Log: rt.records.audit, Errors: rt.log}}, observers...)
	}
	if c.Metrics != "" || c.Control != "" {
		rt.Metrics = metrics.New(rt.sources())
		observers = append(observers, rt.Metrics)
	}
	return observers, nil
}

func newCalls(c *config.Config) *admission.Calls {
	o := admission.CallOptions{Calls: c.Limits.Calls, AccountCalls: c.Limits.AccountCalls, Rate: c.Limits.AccountRate}
	if c.Mode == config.Personal && o.Rate == 0 {
		o.Rate = -1 // Only one account: no rate is needed for fairness.
	}
	return admission.NewCalls(o)
}

// intakeOptions returns the limits for reading requests from clients. The rate of requests is higher than the
// rate of calls, so that the limits of calls normally take effect first.
func intakeOptions(c *config.Config) admission.IntakeOptions {
	o := admission.IntakeOptions{Largest: int64(max(c.Limits.Frame, protocol.MaxFrame))}
	switch {
	case c.Limits.AccountRate < 0, c.Mode == config.Personal:
		o.Requests = -1
	case c.Limits.AccountRate > 0:
		o.Requests = max(4*c.Limits.AccountRate, 1)
	}
	return o
}

// Harden protects the secrets in the process: it disables core dumps, makes new files private (umask 077),
// and sets close-on-exec on all inherited file descriptors, so that workers do not inherit them. Harden
// changes the whole process: call it only in programs that only serve.
func Harden() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("disable core dumps: %w", err)
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("set close-on-exec on the inherited file descriptors: %w", err)
	}
	return nil
}

// Close ends all workers, removes the host's run directory and closes the logs. It waits until the workers
// have ended.
func (rt *Runtime) Close() {
	rt.end()
	if s := rt.state.Load(); s != nil {
		for _, p := range s.plugins {
			p.supervisor.Close()
		}
	}
	rt.ending.Wait()
	rt.workers.spawner.Close()
	if rt.workers.runDir != nil {
		if err := rt.workers.runDir.Close(); err != nil {
			rt.log.Warn("can't remove the run directory", "error", err.Error())
		}
	}
	if err := rt.records.access.Close(); err != nil {
		rt.log.Error("can't close the access log", "error", err.Error())
	}
	if rt.records.audit != nil {
		if err := rt.records.audit.Close(); err != nil {
			rt.log.Error("can't close the audit log", "error", err.Error())
		}
	}
}

// Mode returns the host's mode: personal (one account) or server (many accounts).
func (rt *Runtime) Mode() config.Mode { return rt.state.Load().config.Mode }

// Account returns the account that a host in personal mode serves: the account that c names, or, if c names
// none, the account of the running user.
func Account(c *config.Config) (protocol.Account, error) {
	if c.Account == "" {
		return account.Self()
	}
	return account.NewDir(c.Accounts, true).ByName(c.Account)
}

// accountOf returns Account for many calls: the file of the account is read again only when it has changed.
func accountOf(c *config.Config) func() (protocol.Account, error) {
	if c.Account == "" {
		return account.Self
	}
	return account.NewRemembered(account.NewDir(c.Accounts, true), c.Account).Account
}

// Sources returns the sources of the accounts in server mode, as c configures them: account files, cPanel's
// files and system users.
func Sources(c *config.Config) account.Sources {
	return account.Sources{
		Files: c.Accounts, CPanelUsers: c.CPanelUsers, UserDomains: c.UserDomains, UserData: c.UserData, Features: c.Features,
		SystemFrom: c.SystemUsers, Owners: c.Owners(),
	}
}

// ServeStreams serves one session on in and out, for the account of a host in personal mode. It returns when
// the session ends.
func (rt *Runtime) ServeStreams(ctx context.Context, in io.Reader, out io.Writer) error {
	a, err := rt.mode.acting(protocol.Account{})
	if err != nil {
		return err
	}
	caller := protocol.Caller{Account: a, Role: protocol.RoleAccount, Door: "stdio", From: fmt.Sprintf("pid %d", os.Getppid())}
	return session.Serve(ctx, rt.checked(), caller, sessionLimits(rt.state.Load().config), rt.log, in, out)
}

func sessionLimits(c *config.Config) session.Limits {
	l := c.Limits
	return session.Limits{
		Frame: l.Frame, FrameTime: time.Duration(l.FrameTime), Idle: time.Duration(l.Idle),
		Sessions: l.Sessions, AccountSessions: l.AccountSessions,
	}
}
