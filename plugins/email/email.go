// Package email is the Email module: cPanel's functions for mailboxes, as a table and code, with any store.
// It decides which mailboxes an account may touch. table.go lists the functions; the other files have their code.
// Mailboxes are read and written only through a store.
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

// Module is the Email module together with PasswdStrength.
type Module struct {
	verifier *password.Verifier

	counting sync.Mutex // Held from counting an account's mailboxes until the new mailbox exists.

	mu     sync.Mutex
	active *active
	stores map[string]store.Store // By home.
	mails  map[string]*rate.Limiter
}

// active is the state that depends on the settings.
type active struct {
	settings Settings
	hasher   *password.Hasher
	policy   *policy.Policy
	notifier notifier // Nil if no mail server is notified.
	relay    *relay   // Nil if no message is sent.
	queue    *queue   // Nil if there is no queue agent.
	open     func(protocol.Account) store.Store
	close    func() error
}

// Modules returns the modules for the plugin.
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

// helperSettings are secrets, and settings that only the parts with secrets use.
var helperSettings = []string{"breached", "database", "database_file", "doveadm", "doveadm_key", "kick", "mail_from", "pool", "queue", "smtp", "store"}

// shared reports whether all accounts share the store. Then no account's worker may open it.
func (m *Module) shared() bool { return m.current().settings.Store != FilesStore }

// configure applies the plugin's settings.
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

// store returns the account's store. Changes that wait at the same time use the same store, so that they are
// committed together.
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
