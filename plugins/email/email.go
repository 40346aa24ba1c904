// Package email is the Email module: cPanel's functions for mailboxes, as table and
// code, on any store. It decides what an account may touch; it knows no file, no wire
// and no process.
package email

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/policy"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// Module is the Email module and, beside it, PasswdStrength.
type Module struct {
	verifier *password.Verifier
	settings atomic.Pointer[settings]

	mu     sync.Mutex
	stores map[string]store.Store // By home.
}

// settings are what the operator set.
type settings struct {
	hasher   *password.Hasher
	policy   *policy.Policy
	notifier notifier
	open     func(account protocol.Account) store.Store
}

// Modules returns the modules as the plugin serves them.
func Modules() []*sdk.Module {
	m := &Module{verifier: password.NewVerifier(), stores: make(map[string]store.Store)}
	if err := m.configure(nil); err != nil {
		panic("email: the default settings: " + err.Error()) // A mistake in this program.
	}
	return []*sdk.Module{
		{Name: "Email", Help: "Mailboxes and their passwords.", Functions: m.functions(), Configure: m.configure},
		{Name: "PasswdStrength", Help: "How good passwords are, and must be.", Functions: m.strengthFunctions()},
	}
}

// known are the settings that there are, with what is wanted of each.
var known = map[string]string{
	"scheme":            "SHA512-CRYPT, BLF-CRYPT or ARGON2ID, as text",
	"required_strength": "a whole number from 0 (no policy) to 100",
	"breached":          "the path of a list of SHA-1 sums, as text",
}

// configure takes the plugin's settings.
func (m *Module) configure(raw map[string]any) error {
	set := &settings{open: func(account protocol.Account) store.Store { return files.New(account.Home) }}
	texts := make(map[string]string)
	required := policy.DefaultRequired
	for name, value := range raw {
		want, ok := known[name]
		if !ok {
			return fmt.Errorf("unknown setting %q", name)
		}
		if name == "required_strength" {
			n, ok := integer(value)
			if !ok || n < 0 || n > 100 {
				return sdk.ErrSetting(name, want)
			}
			required = n
			continue
		}
		if texts[name], ok = value.(string); !ok || texts[name] == "" {
			return sdk.ErrSetting(name, want)
		}
	}
	var err error
	if set.hasher, err = password.NewHasher(password.Scheme(texts["scheme"])); err != nil {
		return fmt.Errorf("setting scheme: %w", err)
	}
	var list *policy.List
	if path := texts["breached"]; path != "" {
		if list, err = policy.OpenList(path); err != nil {
			return fmt.Errorf("setting breached: %w", err)
		}
	}
	set.policy = policy.New(required, list)
	m.settings.Store(set)
	return nil
}

func integer(value any) (int, bool) {
	switch n := value.(type) {
	case int:
		return n, true
	case int64:
		return int(n), true
	case uint64:
		return int(min(n, 1<<31)), true
	}
	return 0, false
}

// store returns the account's store; changes that wait together meet in it.
func (m *Module) store(account protocol.Account) store.Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stores[account.Home]
	if s == nil {
		s = m.settings.Load().open(account)
		m.stores[account.Home] = s
	}
	return s
}
