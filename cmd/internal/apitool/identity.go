package apitool

import (
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/liveapid/liveapid/host/account"
	"github.com/liveapid/liveapid/host/become"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/setup"
)

// assume makes the process the user that the call runs for, before it connects: the
// host asks the kernel, and no frame names an account.
func assume(c *config.Config, name string) error {
	if c.Mode == config.Personal && c.Path() != "" {
		a, err := setup.Account(c)
		if err != nil {
			return err
		}
		if name != "" && name != a.Name {
			return fmt.Errorf("Unknown user “%s”.", name)
		}
		return nil
	}
	if os.Geteuid() != 0 {
		if name == "" {
			return nil
		}
		if u, err := user.Current(); err != nil || name != u.Username {
			return errors.New("You must run this command as root to use --user.")
		}
		return nil
	}
	if c.Mode == config.Personal {
		if name != "" && name != "root" {
			return fmt.Errorf("Unknown user “%s”.", name)
		}
		return nil
	}
	if name == "" {
		return errors.New("As root you must name the account: --user=NAME.")
	}
	a, err := setup.Sources(c).ByName(name)
	if errors.Is(err, account.ErrUnknown) {
		return fmt.Errorf("Unknown user “%s”.", name)
	}
	if err != nil {
		return err
	}
	return become.Account(a)
}
