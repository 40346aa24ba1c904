package email

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/password"
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
	hasher := m.currentHasher()
	secret := call.Secret("password")
	if err := hasher.Check(secret); err != nil {
		return nil, err
	}
	hash, err := hasher.Hash(ctx, secret)
	if err != nil {
		return nil, err
	}
	if err := m.store(call.Account).SetHash(ctx, box, hash); err != nil {
		return nil, public(box, err, "Nothing was changed")
	}
	return call.Done(), nil
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

// mailbox reads the address that a call names and makes sure that the account owns its
// domain, before anything is made of it.
func mailbox(call *sdk.Call) (store.Address, error) {
	localpart, domain := call.String("email"), call.String("domain")
	if at := strings.LastIndexByte(localpart, '@'); at >= 0 {
		own := localpart[at+1:]
		localpart = localpart[:at]
		if own == "" {
			return store.Address{}, protocol.NewError(protocol.KindInvalid, "The ‘email’ argument has no domain behind its @.")
		}
		if domain != "" && store.Lower(domain) != store.Lower(own) {
			return store.Address{}, protocol.NewError(protocol.KindInvalid,
				"The ‘email’ and ‘domain’ arguments name different domains: “"+clip(own)+"” and “"+clip(domain)+"”.")
		}
		domain = own
	}
	if domain == "" {
		if domain = call.Account.MainDomain(); domain == "" {
			return store.Address{}, protocol.Missing("domain")
		}
	}
	if localpart == "" {
		return store.Address{}, protocol.Missing("email")
	}
	if !slices.Contains(call.Account.Domains, store.Lower(domain)) {
		return store.Address{}, protocol.NewError(protocol.KindInvalid, "You do not have access to the domain “"+clip(domain)+"”.")
	}
	box, err := store.NewAddress(localpart, domain)
	if err != nil {
		return store.Address{}, protocol.NewError(protocol.KindInvalid, "The ‘email’ argument is no mailbox's name: "+err.Error()+".")
	}
	return box, nil
}

// isSystemMailbox tells whether the call names the account's own mailbox, whose
// password is the system account's.
func isSystemMailbox(call *sdk.Call) bool {
	name, domain := call.String("email"), call.String("domain")
	if localpart, own, ok := strings.Cut(name, "@"); ok {
		name, domain = localpart, own
	}
	main := domain == "" || store.Lower(domain) == call.Account.MainDomain()
	return name == "Main Account" || main && store.Lower(name) == store.Lower(call.Account.Name)
}

// public gives an error of the store the words that the caller may see; the cause goes
// to the log. outcome says what became of the call.
func public(box store.Address, err error, outcome string) error {
	e := &protocol.Error{Kind: protocol.KindFailed, Err: err}
	switch {
	case errors.Is(err, store.ErrNoMailbox):
		// Nothing for the log: callers mistype.
		return protocol.NewError(protocol.KindNotFound, "The email account “"+box.String()+"” does not exist.")
	case errors.Is(err, store.ErrSuspended):
		return protocol.NewError(protocol.KindDenied, "This account is suspended.")
	case errors.Is(err, store.ErrBusy):
		e.Kind, e.Message = protocol.KindUnavailable, "The mail store is in use by another program. "+outcome+"; try again."
	case errors.Is(err, store.ErrFull):
		e.Message = "The disk, or the account's quota, is full. " + outcome + "; free some space and try again."
	case errors.Is(err, store.ErrReadOnly):
		e.Message = "The mail store of “" + box.Domain + "” is not accessible. " + outcome + "; check the permissions of the account's etc folder."
	case errors.Is(err, store.ErrUnsafe):
		e.Message = "The mail store of “" + box.Domain + "” is not as it should be. " + outcome + "; the log has the details."
	case errors.Is(err, store.ErrUnknown):
		e.Kind, e.Message = protocol.KindUnavailable, "Whether the password of “"+box.String()+"” was changed is not known. Check it, or change it again."
	default:
		return err
	}
	return e
}

// clip bounds a client's text before it is repeated to it.
func clip(s string) string {
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "…"
}
