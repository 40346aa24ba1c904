package apitool

import (
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// callerFor returns the account that the command must connect as, with the account's uid and gid, or nil if the
// command connects as the running user. The host gets the caller's uid from the kernel, and a frame can't
// name an account, so root must connect with the account's uid. In server mode, only root may select another
// account with --user. In personal mode, --user may only name the account that the host serves anyway.
func callerFor(c *config.Config, name string) (*protocol.Account, error) {
	if c.Mode == config.Personal && c.Path() != "" {
		a, err := daemon.Account(c)
		if err == nil && name != "" && name != a.Name {
			err = fmt.Errorf("Unknown user “%s”.", name)
		}
		return nil, err
	}
	if os.Geteuid() != 0 {
		if name == "" {
			return nil, nil
		}
		if u, err := user.Current(); err != nil || name != u.Username {
			return nil, errors.New("You must run this command as root to use --user.")
		}
		return nil, nil
	}
	if c.Mode == config.Personal {
		if name != "" && name != "root" {
			return nil, fmt.Errorf("Unknown user “%s”.", name)
		}
		return nil, nil
	}
	if name == "" {
		return nil, errors.New("As root you must name the account: --user=NAME.")
	}
	a, err := daemon.Sources(c).ByName(name)
	if errors.Is(err, account.ErrUnknown) {
		return nil, fmt.Errorf("Unknown user “%s”.", name)
	}
	if err != nil {
		return nil, err
	}
	_, err = isolate.Credential(a)
	return &a, err
}
