// Package daemon builds a running host from a configuration: its accounts, its plugins'
// supervisors, its sessions. Every program that serves starts here.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
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
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/host/record/audit"
	"github.com/liveapid/liveapid/host/record/metrics"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// Runtime is a host with everything it runs on.
type Runtime struct {
	Host    *host.Host
	Metrics *metrics.Metrics

	account     func() (protocol.Account, error) // Personal mode's.
	accounts    *account.Directory               // Server mode's; nil in personal mode.
	log         *slog.Logger
	spawner     *isolate.Spawner
	runDir      *isolate.RunDir
	pool        *worker.Pool
	answers     *admission.Answers
	intake      *admission.Intake
	work        *admission.Work
	cgroups     *isolate.Cgroups  // Nil where there are none.
	helper      *protocol.Account // Nil in personal mode.
	audit       *audit.Log        // Nil where there is none.
	top         *usage
	lookups     lookups          // Of the mail server.
	signIns     signIns          // Of mailboxes' users, at the webmail port.
	tokens      *token.Store     // Nil where there is no HTTPS API.
	front       *https.Front     // The same.
	access      *https.AccessLog // Nil where there is none.
	certificate *cert.Source     // The front's.
	started     time.Time

	mu      sync.Mutex
	config  *config.Config
	limiter *admission.Calls
	refused map[int]bool // Uids that are refused, whatever accounts say. Server mode.
	plugins []*running
	ending  sync.WaitGroup  // Of workers whose accounts are no more.
	server  *session.Server // Nil before Serve.
}

// New builds the host that c describes. Nothing is started before the first call.
func New(c *config.Config, log *slog.Logger) (*Runtime, error) {
	rt := &Runtime{config: c, log: log, spawner: isolate.NewSpawner(), top: newUsage(), started: time.Now(), answers: admission.NewAnswers(), work: admission.NewWork()}
	rt.account = func() (protocol.Account, error) { return Account(c) }
	if err := rt.build(); err != nil {
		rt.Close()
		return nil, err
	}
	return rt, nil
}

func (rt *Runtime) build() error {
	c := rt.config
	mode := os.FileMode(0o700)
	if c.Mode == config.Server {
		if err := rt.buildServer(); err != nil {
			return err
		}
		mode = 0o711 // Workers pass through it to their own directories.
	}
	var err error
	if rt.runDir, err = isolate.NewRunDir(c.RunDir, mode); err != nil {
		return err
	}
	if rt.plugins, err = rt.load(c, nil); err != nil {
		return err
	}
	observers := []host.Observer{rt.top}
	if c.Audit != "" {
		if rt.audit, err = audit.Open(c.Audit); err != nil {
			return err
		}
		// First: what can't be written down must not run.
		observers = append([]host.Observer{&audit.Observer{Log: rt.audit, Errors: rt.log}}, observers...)
	}
	if c.Metrics != "" || c.Control != "" {
		rt.Metrics = metrics.New(rt.sources())
		observers = append(observers, rt.Metrics)
	}
	rt.limiter = newLimiter(c)
	rt.intake = admission.NewIntake(intakeOptions(c))
	if c.Web.On() {
		rt.tokens = token.Open(c.Web.Tokens())
	}
	rt.Host = host.New(host.Options{
		Plugins: rt.builtins(rt.plugins), Timeout: time.Duration(c.Limits.Call), Variables: builtin.Variables, Observers: observers, Pace: rt.work.Pace, Log: rt.log,
	})
	return nil
}

// buildServer is what server mode has more.
func (rt *Runtime) buildServer() error {
	c := rt.config
	if os.Geteuid() != 0 {
		return errors.New("server mode serves accounts by their own uids and needs root; personal mode serves you alone")
	}
	helper, err := account.SystemUser(c.Helper)
	if err != nil {
		return fmt.Errorf("helper: %w: create it (useradd --system --no-create-home --shell /usr/sbin/nologin %s), or name another system user", err, c.Helper)
	}
	if _, err := isolate.HelperCredential(helper); err != nil {
		return err
	}
	rt.helper = &helper
	if rt.refused, err = rt.refusedUIDs(c); err != nil {
		return err
	}
	rt.pool = worker.NewPool(c.Limits.Workers)
	if rt.cgroups, err = isolate.FindCgroups(); err != nil {
		rt.log.Warn("workers have no control groups: their memory is looked at four times a second, and their processes are not counted", "why", err.Error())
		rt.cgroups = nil
	}
	if c.State != "" {
		if err := os.MkdirAll(c.State, 0o700); err != nil {
			return fmt.Errorf("state: %w", err)
		}
	}
	rt.accounts = account.NewDirectory(Sources(c))
	rt.reloadAccounts()
	return nil
}

// refusedUIDs returns the uids that are refused, whatever accounts say.
func (rt *Runtime) refusedUIDs(c *config.Config) (map[int]bool, error) {
	refused := make(map[int]bool)
	if rt.helper != nil {
		refused[rt.helper.UID] = true
	}
	for _, name := range c.Refuse {
		u, err := account.SystemUser(name)
		if err != nil {
			return nil, fmt.Errorf("refuse: %w", err)
		}
		refused[u.UID] = true
	}
	return refused, nil
}

func newLimiter(c *config.Config) *admission.Calls {
	o := admission.CallOptions{Calls: c.Limits.Calls, AccountCalls: c.Limits.AccountCalls, Rate: c.Limits.AccountRate}
	if c.Mode == config.Personal && o.Rate == 0 {
		o.Rate = -1 // There is nobody to be fair to.
	}
	return admission.NewCalls(o)
}

// intakeOptions returns what may be read of clients: of an account somewhat more than its calls can use.
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

// NewFor builds a host in personal mode for one account, whatever mode c has: the
// running user's own, for a session over pipes or a program that is run.
func NewFor(c *config.Config, a protocol.Account, log *slog.Logger) (*Runtime, error) {
	personal := *c
	personal.Mode = config.Personal
	if c.Mode == config.Server {
		personal.RunDir, personal.Audit, personal.Metrics, personal.Control = "", "", "", "" // Root's; the account makes its own.
		personal.Web = config.Web{}
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
	for _, p := range rt.plugins {
		p.supervisor.Close()
	}
	rt.ending.Wait()
	rt.spawner.Close()
	if rt.runDir != nil {
		if err := rt.runDir.Close(); err != nil {
			rt.log.Warn("remove the run directory", "error", err.Error())
		}
	}
	if err := rt.access.Close(); err != nil {
		rt.log.Error("close the access log", "error", err.Error())
	}
	if rt.audit != nil {
		if err := rt.audit.Close(); err != nil {
			rt.log.Error("close the audit log", "error", err.Error())
		}
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

// Sources are where server mode's accounts come from.
func Sources(c *config.Config) account.Sources {
	return account.Sources{Files: c.Accounts, CPanelUsers: c.CPanelUsers, UserDomains: c.UserDomains, SystemFrom: c.SystemUsers, Owners: c.Owners()}
}

// ServeStreams serves one session of the personal account on in and out.
func (rt *Runtime) ServeStreams(ctx context.Context, in io.Reader, out io.Writer) error {
	a, err := rt.account()
	if err != nil {
		return err
	}
	caller := protocol.Caller{Account: a, Role: protocol.RoleAccount, Door: "stdio", From: fmt.Sprintf("pid %d", os.Getppid())}
	return session.Serve(ctx, rt.checked(), caller, limits(rt.config), rt.log, in, out)
}

func limits(c *config.Config) session.Limits {
	l := c.Limits
	return session.Limits{
		Frame: l.Frame, FrameTime: time.Duration(l.FrameTime), Idle: time.Duration(l.Idle),
		Sessions: l.Sessions, AccountSessions: l.AccountSessions,
	}
}
