package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// checkedHost runs the calls of all front doors. Before each call it checks that the caller's account still
// exists, is not suspended and belongs to the same user as at the beginning of the session, and applies the
// limits of calls.
type checkedHost struct{ rt *Runtime }

func (rt *Runtime) checked() session.Doer { return checkedHost{rt} }

// Do implements session.Doer. It returns an error result if the account may not act any more or a limit of
// calls is reached.
func (h checkedHost) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	a, err := h.rt.mode.acting(caller.Account)
	if err != nil {
		return protocol.Failed(refusal(err))
	}
	caller.Account = a
	h.rt.refresh()
	leave, limit := h.rt.state.Load().calls.Enter(a.Name)
	if limit != nil {
		// A client can cause this log line as often as it likes, so the level is debug.
		h.rt.log.Debug("call rejected", "account", a.Name, "why", limit.Message)
		return protocol.Failed(limit)
	}
	// The call counts against the limits until its answer has been written. Otherwise a client that does not
	// read its answers could start more and more calls.
	defer admission.HoldCall(ctx, leave)
	return h.rt.Host.Do(ctx, caller, call)
}

// enterHeavy counts work that is not a call, such as describing all modules, against the limits of the given
// account. For the account's rate, the work counts as weight calls. enterHeavy returns an error if a limit is
// reached. The caller must call leave when the work is done.
func (rt *Runtime) enterHeavy(account string, weight int) (leave func(), err *protocol.Error) {
	return rt.state.Load().calls.EnterHeavy(account, weight)
}

// charge counts weight calls for the account's rate, as parts of a call that was counted already.
func (rt *Runtime) charge(account string, weight int) *protocol.Error {
	return rt.state.Load().calls.Charge(account, weight)
}

// refusal converts err, the error of a look-up of the client's account, into the error that the client
// receives. Its message says whether the account does not exist, is suspended, has the same user as another
// account, or can't be read.
func refusal(err error) *protocol.Error {
	message := "Your account can't be read; tell the operator of this host."
	switch {
	case errors.Is(err, account.ErrShared):
		message = "Another account has the same user as yours; tell the operator of this host."
	case errors.Is(err, account.ErrUnknown):
		message = "Your user has no account on this host."
	case errors.Is(err, account.ErrSuspended):
		message = "Your account is suspended."
	}
	return &protocol.Error{Kind: protocol.KindDenied, Message: message, Err: err}
}

func denied(uid int, message string) *protocol.Error {
	return &protocol.Error{Kind: protocol.KindDenied, Err: fmt.Errorf("peer uid %d", uid), Message: message}
}

// identify returns the caller for a client that connects to the socket as the user with the given uid. It
// returns an error if this user may not connect.
func (rt *Runtime) identify(uid int) (protocol.Caller, error) {
	a, err := rt.mode.byPeer(uid, rt.state.Load().refused)
	if err != nil {
		return protocol.Caller{}, err
	}
	return protocol.Caller{Account: a, Role: protocol.RoleAccount, Door: "socket"}, nil
}

// DomainOwner returns the name of the account to which domain belongs, or "".
func (rt *Runtime) DomainOwner(domain string) string { return rt.mode.owner(domain) }
