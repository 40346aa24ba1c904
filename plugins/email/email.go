// Package email is the Email module: cPanel's functions for mailboxes, as table and
// code, on any store. It decides what an account may touch; it knows no file, no wire
// and no process.
package email

import (
	"fmt"
	"sync"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// Module is the Email module.
type Module struct {
	verifier *password.Verifier
	open     func(account protocol.Account) store.PasswordStore

	mu     sync.Mutex
	hasher *password.Hasher
	stores map[string]store.PasswordStore // By home.
}

// New returns the module as a plugin serves it, on the files store.
func New() *sdk.Module {
	hasher, err := password.NewHasher(password.SHA512Crypt)
	if err != nil {
		panic("email: the default scheme: " + err.Error()) // A mistake in this program.
	}
	m := &Module{
		verifier: password.NewVerifier(), hasher: hasher, stores: make(map[string]store.PasswordStore),
		open: func(account protocol.Account) store.PasswordStore { return files.New(account.Home) },
	}
	return &sdk.Module{
		Name: "Email", Help: "Mailboxes and their passwords.",
		Functions: m.functions(), Configure: m.configure,
	}
}

// configure takes the plugin's settings: scheme.
func (m *Module) configure(settings map[string]any) error {
	for name, value := range settings {
		if name != "scheme" {
			return fmt.Errorf("unknown setting %q; there is: scheme", name)
		}
		text, ok := value.(string)
		if !ok || text == "" {
			return sdk.ErrSetting(name, "SHA512-CRYPT, BLF-CRYPT or ARGON2ID, as text")
		}
		hasher, err := password.NewHasher(password.Scheme(text))
		if err != nil {
			return fmt.Errorf("setting scheme: %w", err)
		}
		m.mu.Lock()
		m.hasher = hasher
		m.mu.Unlock()
	}
	return nil
}

func (m *Module) currentHasher() *password.Hasher {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hasher
}

// store returns the account's store; changes that wait together meet in it.
func (m *Module) store(account protocol.Account) store.PasswordStore {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stores[account.Home]
	if s == nil {
		s = m.open(account)
		m.stores[account.Home] = s
	}
	return s
}

// functions is the table that routing, checks, help and documents follow. Parameters
// are those of cPanel's documentation: api.docs.cpanel.net, "Email::passwdpop" (API 2),
// "passwd_pop" and "verify_password" (UAPI).
func (m *Module) functions() []sdk.Function {
	owner := []protocol.Role{protocol.RoleAccount}
	secret := protocol.Param{Name: "password", Type: protocol.TypeSecret, Required: true, Help: "The new password."}
	return []sdk.Function{
		{Function: protocol.Function{
			API: protocol.API2, Name: "passwdpop", Roles: owner, Changes: true,
			Help:    "Change a mailbox's password.",
			Returns: "One record: result is 1, or 0 with the reason.",
			Params: []protocol.Param{
				{Name: "domain", Required: true, Help: "A domain of the account, such as example.com."},
				{Name: "email", Required: true, Help: "The mailbox's name, such as user; the whole address is taken too."},
				secret,
			},
		}, Do: m.passwdPop},
		{Function: protocol.Function{
			API: protocol.UAPI, Name: "passwd_pop", Roles: owner, Changes: true,
			Help:    "Change a mailbox's password.",
			Returns: "Nothing.",
			Params: []protocol.Param{
				{Name: "email", Required: true, Help: "The mailbox's name or its whole address."},
				secret,
				{Name: "domain", Help: "A domain of the account. Default: the main domain."},
			},
		}, Do: m.passwdPop},
		{Function: protocol.Function{
			API: protocol.UAPI, Name: "verify_password", Roles: owner,
			Help:    "Tell whether a password is a mailbox's own.",
			Returns: "1, or 0 where it is another one or the mailbox's login is suspended.",
			Params: []protocol.Param{
				{Name: "email", Required: true, Help: "The mailbox's whole address."},
				{Name: "password", Type: protocol.TypeSecret, Required: true, Help: "The password to try."},
			},
		}, Do: m.verifyPassword},
	}
}
