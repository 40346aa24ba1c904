// Package email implements cPanel's Email module, limited to the functions for mailboxes, and the module
// PasswdStrength. It decides which mailboxes a caller may access, and reads and writes mailboxes only through
// the interface store.Store. table.go lists the functions; the other files implement them.
package email

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/policy"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// Module contains the state of the modules Email and PasswdStrength, which share their settings. Its methods
// may be called concurrently.
type Module struct {
	verifier *password.Verifier

	counting sync.Mutex // Held from counting the mailboxes to creating a new one.

	mu     sync.Mutex
	active *active
	stores map[string]store.Store // The key is the account's home directory.
	mails  map[string]*rate.Limiter
}

// active contains everything that is built from the settings. When the settings change, configure replaces
// the whole value.
type active struct {
	settings Settings
	hasher   *password.Hasher
	policy   *policy.Policy
	notifier notifier // Nil if no mail server is notified.
	relay    *relay   // Nil if this module sends no messages.
	queue    *queue   // Nil if no agent for the mail server's queue is configured.
	open     func(protocol.Account) store.Store
	close    func() error
}

// Modules returns the modules Email and PasswdStrength, with the default settings until Configure is called.
func Modules() []*sdk.Module {
	m := &Module{verifier: password.NewVerifier(), mails: make(map[string]*rate.Limiter)}
	if err := m.configure(nil); err != nil {
		panic("email: the default settings: " + err.Error()) // A bug in this program.
	}
	return []*sdk.Module{
		{Name: "Email", Help: "Mailboxes and their passwords.", Functions: m.functions(), Configure: m.configure,
			HelperSettings: helperSettings, Shared: m.shared},
		{Name: "PasswdStrength", Help: "How good passwords are, and must be.", Functions: m.strengthFunctions()},
	}
}

// helperSettings lists the names of the settings that contain secrets or that only the helper uses. The host
// does not send them to an account's worker.
var helperSettings = []string{"breached", "database", "database_file", "doveadm", "doveadm_key", "kick", "mail_from", "pool", "queue", "smtp", "store"}

// shared reports whether all accounts share a database as their store. In that case the helper runs the
// functions, because no account's worker may open the shared store.
func (m *Module) shared() bool { return m.current().settings.Store != FilesStore }

// configure validates the plugin's settings and replaces the active state by one that is built from them. If
// a setting is invalid, it returns an error and keeps the old state.
func (m *Module) configure(raw map[string]any) error {
	s, err := ParseSettings(raw)
	if err != nil {
		return err
	}
	a, err := s.build()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.active != nil {
		_ = m.active.close()
	}
	m.active, m.stores = a, make(map[string]store.Store)
	return nil
}

// current returns the state for the current settings.
func (m *Module) current() *active {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.active
}

// store returns the account's store. All calls for an account use the same Store value, because a Store
// commits changes that wait at the same time together.
func (m *Module) store(account protocol.Account) store.Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stores[account.Home]
	if s == nil {
		s = m.active.open(account)
		m.stores[account.Home] = s
	}
	return s
}
