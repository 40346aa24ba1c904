package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/identity/passwdfile"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// administration implements https.Administration: it changes the files of accounts. The host notices the
// changes at once.
type administration struct{ rt *Runtime }

var _ https.Administration = administration{}

// Record implements https.Administration.
func (d administration) Record(caller protocol.Caller, function string, args map[string]string, change func() *protocol.Error) *protocol.Error {
	return d.rt.Host.Record(caller, "WHM", function, args, change)
}

// Run implements https.Administration. All calls together take at most as long as a single one. They do not count
// against the limits of the account, whose owner could otherwise prevent its own suspension.
func (d administration) Run(ctx context.Context, caller protocol.Caller, calls []protocol.Call) []*protocol.Result {
	ctx, cancel := context.WithTimeout(ctx, protocol.CallTimeout)
	defer cancel()
	name := caller.Account.Name
	var refused *protocol.Error
	out := make([]*protocol.Result, 0, len(calls))
	for _, call := range calls {
		// Only accounts have valid names: a user of WHM without an account may ask for facts about the host.
		if account.ValidName(name) && refused == nil {
			if _, err := d.rt.mode.acting(caller.Account); err != nil && !errors.Is(err, account.ErrSuspended) {
				refused = refusal(err)
			}
		}
		switch {
		case refused != nil:
			out = append(out, protocol.Failed(refused))
		case ctx.Err() != nil:
			out = append(out, protocol.Failed(protocol.NewError(protocol.KindUnavailable, "There was no time left for it. Call the function again for the rest.")))
		default:
			out = append(out, d.rt.Host.Do(ctx, caller, call))
		}
	}
	return out
}

func (d administration) config() *config.Config { return d.rt.state.Load().config }

// Suspend implements https.Administration.
func (d administration) Suspend(name, reason string, on bool) *protocol.Error {
	err := d.edit(name, account.Suspension(on, reason, time.Now()))
	if err != nil || on {
		return err
	}
	return d.unlock(name) // The account is active first: no mailbox of a suspended account may be unlocked.
}

// unlock removes the mark of a suspended account, which an imported account has, from the account's mailboxes.
func (d administration) unlock(name string) *protocol.Error {
	a, err := d.rt.mode.byName(name)
	if err != nil && !errors.Is(err, account.ErrSuspended) {
		return failedEdit(err)
	}
	caller := protocol.Caller{Account: a, Role: protocol.RoleAdmin, Door: "WHM"}
	result := d.Run(context.Background(), caller, []protocol.Call{{API: protocol.UAPI, Module: "Email", Func: "unlock_mailboxes"}})[0]
	switch {
	case result.Err == nil, result.Err.Kind == protocol.KindNoModule, result.Err.Kind == protocol.KindNoFunction:
		return nil
	}
	return &protocol.Error{Kind: result.Err.Kind, Err: result.Err, Message: "The account is active, but not all mailboxes that were locked with it may be unlocked. Call the function again later. " + result.Err.Message}
}

// Modify implements https.Administration.
func (d administration) Modify(name string, facts https.AccountFacts) *protocol.Error {
	return d.edit(name, changeOf(facts))
}

// changeOf returns the change of an account's file that sets facts.
func changeOf(facts https.AccountFacts) account.Change {
	c := account.Change{Keys: map[string]string{}, Data: map[string]string{}}
	for key, value := range map[string]string{"contact": facts.Contact, "plan": facts.Plan, "theme": facts.Theme, "locale": facts.Locale} {
		if value != "" {
			c.Keys[key] = account.Quoted(value)
		}
	}
	for key, value := range dataOf(facts) {
		c.Data[key] = account.Quoted(value)
	}
	return c
}

// dataOf returns the facts that stand in the table data of an account's file.
func dataOf(facts https.AccountFacts) map[string]string {
	data := make(map[string]string)
	for key, value := range map[string]string{"OWNER": facts.Owner, "MAXPOP": facts.MaxPop} {
		if value != "" {
			data[key] = value
		}
	}
	return data
}

// edit changes an account's file, and lets the host read the accounts again.
func (d administration) edit(name string, change account.Change) *protocol.Error {
	_, err := account.Edit(d.config().Accounts, name, change)
	if err == nil {
		d.rt.reloadAccounts()
	}
	return failedEdit(err)
}

func failedEdit(err error) *protocol.Error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, account.ErrNoFile):
		return protocol.NewError(protocol.KindFailed, "The account does not come from a file of this server. Change it where it comes from, for example on the cPanel server.")
	}
	return &protocol.Error{Kind: protocol.KindFailed, Err: err, Message: "The account's file could not be changed. Nothing was changed; the log has the details."}
}

// Create implements https.Administration.
func (d administration) Create(name string, facts https.AccountFacts) *protocol.Error {
	c := d.config()
	if c.Mode != config.Server || c.Accounts == "" {
		return protocol.NewError(protocol.KindFailed, "This server does not register accounts: it serves a single account, or has no directory for the files of accounts.")
	}
	if !account.ValidName(name) {
		return protocol.NewError(protocol.KindInvalid, "The ‘username’ argument must have at most 64 letters, digits and the characters _, - and .")
	}
	if _, err := account.ParseDomain(facts.Domain); err != nil {
		return protocol.NewError(protocol.KindInvalid, "The ‘domain’ argument must be a domain, such as example.com.")
	}
	user, err := account.SystemUser(name)
	if err != nil {
		return protocol.NewError(protocol.KindFailed, "This server does not create system users. Create the user “"+name+"” first (useradd -m "+name+"), and try again.")
	}
	registry := account.Registry{
		Dir: c.Accounts, Sources: Sources(c),
		Credential: func(a protocol.Account) error {
			_, err := isolate.Credential(a)
			return err
		},
		Served: func(domains []string) (map[string]string, error) {
			owners := make(map[string]string)
			for _, domain := range domains {
				if owner := d.rt.mode.owner(domain); owner != "" {
					owners[domain] = owner
				}
			}
			return owners, nil
		},
	}
	f := account.File{
		UID: &user.UID, GID: &user.GID, Home: user.Home, Domains: []string{facts.Domain},
		Contact: facts.Contact, Plan: facts.Plan, Theme: facts.Theme, Locale: facts.Locale, Data: dataOf(facts),
	}
	if _, err := registry.Register(name, f, "Account "+name+", created by WHM's createacct."); err != nil {
		return &protocol.Error{Kind: protocol.KindInvalid, Message: "The account was not created: " + err.Error() + ".", Err: err}
	}
	d.rt.reloadAccounts()
	return nil
}

// Remove implements https.Administration. The reload revokes the account's tokens and deletes its password.
func (d administration) Remove(name string) *protocol.Error {
	c := d.config()
	if c.Mode != config.Server {
		return protocol.NewError(protocol.KindFailed, "This server serves a single account, which can't be removed.")
	}
	if err := account.Remove(c.Accounts, name); err != nil {
		return failedEdit(err)
	}
	d.rt.reloadAccounts()
	d.rt.revoke(name)
	return nil
}

// SetPassword implements https.Administration.
func (d administration) SetPassword(name string, password protocol.Secret) *protocol.Error {
	c := d.config().Web
	if c.Passwords == config.PAM || filepath.Dir(c.Passwords) != c.State {
		return protocol.NewError(protocol.KindFailed, "This server does not keep the passwords of accounts: they are the system's. Change the password there, for example with the command passwd.")
	}
	if _, err := os.Stat(c.State); err != nil {
		return protocol.NewError(protocol.KindFailed, "This server keeps no passwords of accounts.")
	}
	switch _, err := passwdfile.Set(c.Passwords, name, password); {
	case errors.Is(err, passwdfile.ErrPassword):
		return &protocol.Error{Kind: protocol.KindInvalid, Err: err, Message: "The ‘password’ argument can't be used: " + err.Error() + "."}
	case err != nil:
		return &protocol.Error{Kind: protocol.KindFailed, Err: err, Message: "The password could not be stored. Nothing was changed; the log has the details."}
	}
	return nil
}
