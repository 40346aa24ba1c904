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

// mode is how a host finds its accounts and isolates their workers. Personal mode serves only the account of
// the running user; server mode serves many accounts, each with its own uid. Errors of look-ups wrap
// account.ErrUnknown, account.ErrSuspended or account.ErrShared.
type mode interface {
	// acting returns the current state of the account a, which the caller had at the beginning of the
	// session. It returns an error if the account does not exist any more, is suspended or belongs to another
	// user now.
	acting(a protocol.Account) (protocol.Account, error)
	// byPeer returns the account of the user uid, which connects to the socket. If the user may not connect,
	// for example because uid is in refused, the error is a *protocol.Error for the client.
	byPeer(uid int, refused map[int]bool) (protocol.Account, error)
	byName(name string) (protocol.Account, error)
	byDomain(domain string) (protocol.Account, error)
	// owner returns the name of the account to which domain belongs, or "".
	owner(domain string) string
	// owners returns the account of each domain, including accounts that can't be read at the moment.
	// complete is false if some domains may be missing, because a source can't be read.
	owners() (owners map[string]string, complete bool)
	all() []protocol.Account
	count() int // Number of accounts, including suspended ones.
	// tenant reports whether uid is the uid of an account in server mode. In personal mode it returns false.
	tenant(uid int) bool

	// reload reads the accounts again and returns the names of those that were removed, were suspended or
	// belong to another user now.
	reload() (ended []string)
	// watch waits for changes of the accounts, and calls changed after each change, until ctx ends.
	watch(ctx context.Context, changed func()) error
	// credentialsOf returns the uid of the account called name, or -1 if the account does not exist. Tokens
	// for this name with another uid may be revoked. If known is false, the caller must not revoke any token:
	// the account is suspended, its file can't be read at the moment, or the host is in personal mode.
	credentialsOf(name string) (uid int, known bool)

	// supervise adds to o the options with which the mode isolates workers.
	supervise(c *config.Config, o *worker.Options)
	// refusedUIDs returns the uids of the users that may not connect according to c.
	refusedUIDs(c *config.Config) (map[int]bool, error)
	// trust returns a function that checks that only root can have written the file at path. It returns nil
	// if the mode does not require this check.
	trust() func(path string) error
	runDirMode() os.FileMode
	workers() int          // Number of running workers, without the helpers.
	controllers() []string // The cgroup controllers that limit the workers.
}

// personal is the mode of a host that serves one account. The workers run with the host's own uid.
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
		return protocol.Account{}, denied(uid, "This host runs in personal mode and serves only the user that runs it.")
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

func (p personal) owners() (map[string]string, bool) { return nil, false } // Only server mode needs them.

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
