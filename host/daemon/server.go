package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// server is the mode of a host that serves many accounts. The workers of each account run with the account's
// uid, for which the host needs root.
type server struct {
	accounts *account.Directory
	helper   protocol.Account
	pool     *worker.Pool
	cgroups  *isolate.Cgroups // Nil if control groups can't be used.
	log      *slog.Logger
}

var _ mode = (*server)(nil)

func newServer(c *config.Config, log *slog.Logger) (*server, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("server mode must run as root, because the host starts each worker as its account's user; personal mode needs no root, but serves only your own user")
	}
	helper, err := account.SystemUser(c.Helper)
	if err != nil {
		return nil, fmt.Errorf("helper: %w: create the user (useradd --system --no-create-home --shell /usr/sbin/nologin %s), or name another system user", err, c.Helper)
	}
	if _, err := isolate.HelperCredential(helper); err != nil {
		return nil, err
	}
	if c.State != "" {
		if err := os.MkdirAll(c.State, 0o700); err != nil {
			return nil, fmt.Errorf("state: %w", err)
		}
	}
	s := &server{helper: helper, pool: worker.NewPool(c.Limits.Workers), accounts: account.NewDirectory(Sources(c)), log: log}
	if s.cgroups, err = isolate.FindCgroups(); err != nil {
		log.Warn("can't create cgroups for workers; the memory of the workers is checked four times a second, and the number of their processes is not limited", "why", err.Error())
		s.cgroups = nil
	}
	return s, nil
}

func (s *server) acting(a protocol.Account) (protocol.Account, error) {
	now, err := s.accounts.ByName(a.Name)
	if err == nil && (now.UID != a.UID || now.GID != a.GID) {
		err = fmt.Errorf("%w: the account name now belongs to another system user", account.ErrUnknown)
	}
	return now, err
}

// nobody is the uid that the system uses for processes and files without a user of their own. It never
// belongs to an account.
const nobody = 65534

func (s *server) byPeer(uid int, refused map[int]bool) (protocol.Account, error) {
	switch {
	case uid < isolate.MinTenantID || uid == nobody:
		return protocol.Account{}, denied(uid, "System users have no account on this host. Run the program as an account's user (cpapi2 --user, liveapi run --user).")
	case refused[uid]:
		return protocol.Account{}, denied(uid, "The host's configuration refuses this user.")
	}
	a, err := s.accounts.ByUID(uid)
	if err != nil {
		return a, refusal(err)
	}
	return a, nil
}

func (s *server) byName(name string) (protocol.Account, error) { return s.accounts.ByName(name) }
func (s *server) byDomain(domain string) (protocol.Account, error) {
	return s.accounts.ByDomain(domain)
}
func (s *server) owner(domain string) string { return s.accounts.Owner(domain) }

func (s *server) owners() (map[string]string, bool) { return s.accounts.Owners() }

func (s *server) all() []protocol.Account {
	var all []protocol.Account
	for _, name := range s.accounts.Names() {
		if a, err := s.accounts.ByName(name); err == nil || errors.Is(err, account.ErrSuspended) {
			all = append(all, a)
		}
	}
	return all
}

func (s *server) count() int { return len(s.accounts.Names()) }

func (s *server) tenant(uid int) bool {
	_, err := s.accounts.ByUID(uid)
	return !errors.Is(err, account.ErrUnknown)
}

func (s *server) reload() []string {
	ended, broken := s.accounts.Reload()
	for _, err := range broken {
		s.log.Error("problem with an account or a source of accounts", "error", err.Error())
	}
	if err := s.accounts.SaveOwners(); err != nil {
		s.log.Error("can't store the owners of domains; the host will not know these owners after a restart", "error", err.Error())
	}
	return ended
}

func (s *server) watch(ctx context.Context, changed func()) error {
	return s.accounts.Watch(ctx, changed)
}

func (s *server) credentialsOf(name string) (uid int, known bool) {
	a, err := s.accounts.ByName(name)
	switch {
	case errors.Is(err, account.ErrSuspended), s.accounts.Unreadable(name):
		return -1, false
	case err != nil:
		return -1, true
	}
	return a.UID, true
}

func (s *server) supervise(c *config.Config, o *worker.Options) {
	o.Trusted, o.TLS, o.Credential, o.Helper = true, true, isolate.Credential, &s.helper
	o.Pool, o.Cgroups, o.Memory = s.pool, s.cgroups, int64(c.Limits.WorkerMemory)<<20
}

func (s *server) refusedUIDs(c *config.Config) (map[int]bool, error) {
	refused := map[int]bool{s.helper.UID: true}
	for _, name := range c.Refuse {
		u, err := account.SystemUser(name)
		if err != nil {
			return nil, fmt.Errorf("refuse: %w", err)
		}
		refused[u.UID] = true
	}
	return refused, nil
}

func (*server) trust() func(string) error { return isolate.CheckTrusted }

// runDirMode returns mode 0711, so that workers can reach their own directories but can't list the run
// directory.
func (*server) runDirMode() os.FileMode { return 0o711 }
func (s *server) workers() int          { return s.pool.Workers() }

func (s *server) controllers() []string {
	if s.cgroups == nil {
		return nil
	}
	return s.cgroups.Controllers()
}
