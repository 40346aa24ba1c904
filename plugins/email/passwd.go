package email

import (
	"context"
	"errors"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/policy"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// hashPassword runs before passwdPop: it returns the hash to store for the password in the call.
func (m *Module) hashPassword(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := changeable(call)
	if err != nil {
		return nil, err
	}
	return m.newHash(ctx, call, box)
}

// changeable returns the mailbox whose password the call is to change. It rejects the account's own mailbox,
// whose password is not in the store.
func changeable(call *sdk.Call) (store.Address, error) {
	if isSystemMailbox(call) {
		return store.Address{}, protocol.NewError(protocol.KindInvalid, "You cannot change the password of the system account with this function.")
	}
	return mailbox(call)
}

// passwdPop stores the hash that hashPassword returned.
func (m *Module) passwdPop(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := changeable(call)
	if err != nil {
		return nil, err
	}
	hash, _ := call.Input.(string)
	if err := m.store(call.Account).SetHash(ctx, box, hash); err != nil {
		return nil, public(box, err, "Nothing was changed")
	}
	return nil, nil
}

// newHash checks the password in the call against the policy and returns the password's hash.
func (m *Module) newHash(ctx context.Context, call *sdk.Call, box store.Address) (string, error) {
	set := m.current()
	secret := call.Secret("password")
	if err := set.hasher.Check(secret); err != nil {
		return "", err
	}
	err := set.policy.Check(ctx, call.Account, secret, box.String(), box.Localpart, box.Domain, call.Account.Name)
	if errors.Is(err, policy.ErrList) {
		// The password is accepted although the list can't be read: people must still be able to change a
		// password.
		call.Log(err.Error())
		err = nil
	}
	if err != nil {
		return "", err
	}
	return set.hasher.Hash(ctx, secret)
}

// storedHash returns a mailbox's stored hash, or "" if the login is suspended: no password matches "".
func (m *Module) storedHash(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	hash, suspended, err := m.store(call.Account).Hash(ctx, box)
	if err != nil {
		return nil, public(box, err, "The password could not be verified")
	}
	if suspended {
		return "", nil
	}
	return hash, nil
}

// verifyPassword returns 1 if the password in the call matches the hash from storedHash, and otherwise 0. For
// a mailbox with a suspended login it always returns 0, because nobody can log in to that mailbox.
func (m *Module) verifyPassword(_ context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	hash, _ := call.Input.(string)
	if hash == "" {
		return 0, nil
	}
	ok, err := m.verifier.Verify(hash, call.Secret("password"))
	switch {
	case errors.Is(err, password.ErrCost), errors.Is(err, password.ErrScheme):
		return nil, &protocol.Error{
			Kind: protocol.KindFailed, Err: err,
			Message: "The password of “" + box.String() + "” is stored in a way that this server does not verify. Set a new password.",
		}
	case err != nil:
		return nil, err
	case ok:
		return 1, nil
	}
	return 0, nil
}
