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

// passwdPop changes a mailbox's password. The hash is made before the store is locked.
func (m *Module) passwdPop(ctx context.Context, call *sdk.Call) (any, error) {
	if isSystemMailbox(call) {
		return nil, protocol.NewError(protocol.KindInvalid, "You cannot change the password of the system account with this function.")
	}
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	// Before the work of hashing.
	if _, _, err := m.store(call.Account).Hash(ctx, box); err != nil {
		return nil, public(box, err, "Nothing was changed")
	}
	hash, err := m.newHash(ctx, call, box)
	if err != nil {
		return nil, err
	}
	if err := m.store(call.Account).SetHash(ctx, box, hash); err != nil {
		return nil, public(box, err, "Nothing was changed")
	}
	m.notify(ctx, call, box, logins)
	return nil, nil
}

// newHash holds the call's password against the policy and hashes it.
func (m *Module) newHash(ctx context.Context, call *sdk.Call, box store.Address) (string, error) {
	set := m.now()
	secret := call.Secret("password")
	if err := set.hasher.Check(secret); err != nil {
		return "", err
	}
	err := set.policy.Check(ctx, call.Account, secret, box.String(), box.Localpart, box.Domain, call.Account.Name)
	if errors.Is(err, policy.ErrList) {
		// A list that can't be read must not keep people from changing a password.
		call.Log(err.Error())
		err = nil
	}
	if err != nil {
		return "", err
	}
	return set.hasher.Hash(ctx, secret)
}

// verifyPassword tells whether a password logs in. A mailbox whose login is suspended
// answers 0: that password does not.
func (m *Module) verifyPassword(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	hash, suspended, err := m.store(call.Account).Hash(ctx, box)
	if err != nil {
		return nil, public(box, err, "The password could not be verified")
	}
	if suspended || hash == "" {
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
