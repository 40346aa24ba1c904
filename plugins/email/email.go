// Package email is the Email module: cPanel's functions for mailboxes, as table and
// code, on any store. It decides what an account may touch; it knows no file, no wire
// and no process.
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

// Module is the Email module and, beside it, PasswdStrength.
type Module struct {
	verifier *password.Verifier

	counting sync.Mutex // Held from counting an account's mailboxes until one more is there.

	mu     sync.Mutex
	active *active
	stores map[string]store.Store // By home.
	mails  map[string]*rate.Limiter
}

// active is what the module works with, by its settings.
type active struct {
	settings Settings
	hasher   *password.Hasher
	policy   *policy.Policy
	notifier notifier // Nil tells nobody.
	relay    *relay   // Nil mails nothing.
	queue    *queue   // Nil works on none.
	open     func(protocol.Account) store.Store
	close    func() error
}

// Modules returns the modules as the plugin serves them.
func Modules() []*sdk.Module {
	m := &Module{verifier: password.NewVerifier(), mails: make(map[string]*rate.Limiter)}
	if err := m.configure(nil); err != nil {
		panic("email: the default settings: " + err.Error()) // A mistake in this program.
	}
	return []*sdk.Module{
		{Name: "Email", Help: "Mailboxes and their passwords.", Functions: m.functions(), Configure: m.configure,
			HelperSettings: helperSettings, Shared: m.shared},
		{Name: "PasswdStrength", Help: "How good passwords are, and must be.", Functions: m.strengthFunctions()},
	}
}

// helperSettings are secrets, and what only those parts use that run where secrets are.
var helperSettings = []string{"breached", "database", "database_file", "doveadm", "doveadm_key", "kick", "mail_from", "pool", "queue", "smtp", "store"}

// shared tells whether the store is one of all accounts, which none of them may open itself.
func (m *Module) shared() bool { return m.current().settings.Store != FilesStore }

// configure takes the plugin's settings.
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

// current returns what the module works with.
func (m *Module) current() *active {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.active
}

// store returns the account's store; changes that wait together meet in it.
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
