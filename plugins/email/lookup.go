package email

import (
	"context"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// lookupFunction returns the function that the host calls to look up a mailbox for the mail server. An
// account must not be able to call that function, because its result contains the password hash.
func (m *Module) lookupFunction() sdk.Function {
	return sdk.Function{
		Function: protocol.Function{
			API: protocol.UAPI, Name: "mail_server_lookup", Help: "Look up a mailbox for the mail server.",
			Returns: "An object with address, hash, quota, incoming and outgoing.", Roles: []protocol.Role{protocol.RoleMailServer},
			Params: []protocol.Param{pAddress},
		},
		Do: m.lookup, After: m.lookedUp,
	}
}

// lookup reads the hash, quota and suspensions of a mailbox from the store. It may run in the account's
// worker, where the account could forge the result, so lookedUp validates the result.
func (m *Module) lookup(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	s := m.store(call.Account)
	hash, suspended, err := s.Hash(ctx, box)
	if err != nil {
		return nil, public(box, err, "It can't be looked up")
	}
	b, err := s.Mailbox(ctx, box)
	if err != nil {
		return nil, public(box, err, "It can't be looked up")
	}
	if suspended || b.Suspended.Has(store.NoLogin) {
		hash = ""
	}
	if err := b.QuotaProblem(); err != nil { // The mail server goes on with the limit in the mailbox's directory.
		call.Log(box.String() + ": " + err.Error())
	}
	return map[string]any{
		"hash": hash, "quota": b.Quota, "incoming": b.Suspended.Has(store.Incoming), "outgoing": b.Suspended.Has(store.Outgoing),
	}, nil
}

// lookedUp validates the result of lookup, which may come from the account's worker, before the host passes
// it to the mail server. lookedUp removes a hash of an unknown kind, and a hash that would take seconds to
// verify.
func (m *Module) lookedUp(_ context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	said, _ := call.Input.(map[string]any)
	hash, _ := said["hash"].(string)
	if hash != "" {
		accepted, err := m.verifier.Accept(hash)
		if err == nil {
			err = store.CheckHash(accepted)
		}
		if err != nil {
			call.Log(box.String() + ": the mail server does not get the password hash: " + err.Error())
			accepted = ""
		}
		hash = accepted
	}
	quota, _ := protocol.WholeNumber(said["quota"])
	incoming, _ := said["incoming"].(bool)
	outgoing, _ := said["outgoing"].(bool)
	return map[string]any{"address": box.String(), "hash": hash, "quota": max(0, quota), "incoming": incoming, "outgoing": outgoing}, nil
}
