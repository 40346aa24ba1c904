package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// mode is how a host finds its accounts and isolates their workers: personal mode serves the running user's
// account, server mode many accounts, each with its own uid. Errors of look-ups wrap account.ErrUnknown,
// account.ErrSuspended or account.ErrShared.
type mode interface {
	// acting returns the current state of a caller's account, or an error if it may not act any more.
	acting(a protocol.Account) (protocol.Account, error)
	// byPeer returns the account of the connecting user, or a *protocol.Error for that user.
	byPeer(uid int, refused map[int]bool) (protocol.Account, error)
	byName(name string) (protocol.Account, error)
	byDomain(domain string) (protocol.Account, error)
	// owner returns the name of the account to which a domain belongs, or "".
	owner(domain string) string
	all() []protocol.Account
	count() int // Of all accounts.
	// tenant reports whether a uid belongs to an account of many.
	tenant(uid int) bool

	// reload reads the accounts again and returns those that were removed or changed their user.
	reload() (ended []string)
	// watch calls changed after changes of the accounts until ctx ends.
	watch(ctx context.Context, changed func()) error
	// credentialsOf returns the uid for which a name's tokens stay valid, -1 if for none. It returns
	// false if nothing may be revoked, because the account is suspended or can't be read at the moment.
	credentialsOf(name string) (uid int, known bool)

	// supervise adds the mode's isolation to the options of a supervisor.
	supervise(c *config.Config, o *worker.Options)
	// refusedUIDs returns the uids that c refuses.
	refusedUIDs(c *config.Config) (map[int]bool, error)
	// trust checks that nobody but root can have written a file; nil if that does not matter.
	trust() func(path string) error
	runDirMode() os.FileMode
	workers() int          // The workers that run, without helpers.
	controllers() []string // The cgroup controllers that bound workers.
}

// personal is the mode of one account, with the host's own uid.
type personal struct {
	account func() (protocol.Account, error)
}

var _ mode = personal{}

func (p personal) acting(protocol.Account) (protocol.Account, error) {
	a, err := p.account()
	if err == nil && a.Suspended {
		err = fmt.Errorf("%w: %s", account.ErrSuspended, a.Name)
	}
	return a, err
}

func (p personal) byPeer(uid int, _ map[int]bool) (protocol.Account, error) {
	if uid != os.Geteuid() {
		return protocol.Account{}, denied(uid, "This host serves its own user only.")
	}
	a, err := p.acting(protocol.Account{})
	if err != nil {
		return a, refusal(err)
	}
	return a, nil
}

func (p personal) byName(name string) (protocol.Account, error) {
	a, err := p.acting(protocol.Account{})
	if a.Name != "" && a.Name != name {
		err = fmt.Errorf("%w: name %.40q", account.ErrUnknown, name)
	}
	return a, err
}

func (p personal) byDomain(domain string) (protocol.Account, error) {
	a, err := p.acting(protocol.Account{})
	if err == nil && !slices.Contains(a.Domains, domain) {
		err = account.ErrUnknown
	}
	return a, err
}

func (p personal) owner(domain string) string {
	a, err := p.byDomain(domain)
	if err != nil {
		return ""
	}
	return a.Name
}

func (p personal) all() []protocol.Account {
	a, err := p.account()
	if err != nil {
		return nil
	}
	return []protocol.Account{a}
}

func (personal) count() int                                       { return 1 }
func (personal) tenant(int) bool                                  { return false }
func (personal) reload() []string                                 { return nil }
func (personal) watch(context.Context, func()) error              { return nil }
func (personal) credentialsOf(string) (int, bool)                 { return -1, false }
func (personal) supervise(*config.Config, *worker.Options)        {}
func (personal) refusedUIDs(*config.Config) (map[int]bool, error) { return nil, nil }
func (personal) trust() func(string) error                        { return nil }
func (personal) runDirMode() os.FileMode                          { return 0o700 }
func (personal) workers() int                                     { return 0 }
func (personal) controllers() []string                            { return nil }
