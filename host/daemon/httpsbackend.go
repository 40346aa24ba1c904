package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// verifyTime is the maximum time for verifying a mailbox's password.
const verifyTime = 10 * time.Second

// signInOptions limit the passwords that are verified at the same time for the mailboxes of one account.
var signInOptions = admission.QuestionOptions{Each: 4, Wait: verifyTime, Rest: answerRest}

// backend implements https.Backend: the functions of the host that the HTTPS API calls.
type backend struct{ rt *Runtime }

var _ https.Backend = backend{}

// Do implements https.Backend.
func (b backend) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	return b.rt.checked().Do(ctx, caller, call)
}

// Account implements https.Backend.
func (b backend) Account(name string) (protocol.Account, error) {
	a, err := b.rt.mode.byName(name)
	if err == nil && b.rt.state.Load().refused[a.UID] {
		err = fmt.Errorf("%w: the configuration key refuse contains the account's user", account.ErrUnknown)
	}
	return a, err
}

// Accounts implements https.Backend.
func (b backend) Accounts() []protocol.Account { return b.rt.mode.all() }

// Modules implements https.Backend.
func (b backend) Modules(ctx context.Context, a protocol.Account) (all []protocol.Module, missing []string) {
	all, broken := b.rt.describe(ctx, a)
	for _, m := range broken {
		b.rt.log.Error("can't get the description of a plugin's modules", "modules", m.Modules, "account", a.Name, "error", m.Err.Error())
		missing = append(missing, cmp.Or(strings.Join(m.Modules, ", "), "a module whose name is not known"))
	}
	return all, missing
}

// VerifyMailbox implements https.Backend. The limiter signIns limits these calls, not the account's own
// limits of calls: strangers that try passwords must not use up the limits of the account.
func (b backend) VerifyMailbox(ctx context.Context, address string, password protocol.Secret) (protocol.Account, https.Verdict, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return protocol.Account{}, https.NoSuchMailbox, nil
	}
	a, err := b.rt.mode.byDomain(account.ASCIIDomain(address[at+1:]))
	if errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrSuspended) {
		return a, https.NoSuchMailbox, nil
	}
	if err != nil {
		return a, https.NoSuchMailbox, err
	}
	leave, err := b.rt.limits.signIns.Enter(ctx, a.Name)
	if err != nil {
		return a, https.NoSuchMailbox, fmt.Errorf("account %s: %w", a.Name, err)
	}
	// The verification continues if the client closes its connection. Otherwise the canceled context would be
	// counted as a worker that did not answer in time, and nobody could sign in for a while.
	ctx, scope := admission.WithScope(context.WithoutCancel(ctx), nil)
	defer scope.End()
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	defer func() { leave(ctx.Err() != nil) }()
	result := b.rt.Host.Do(ctx, protocol.Caller{Account: a, Role: protocol.RoleMailServer, Door: "webmail"}, protocol.Call{
		API: protocol.UAPI, Module: "Email", Func: "verify_password",
		Args: protocol.Args{Named: map[string]any{"email": address, "password": password.Reveal()}},
	})
	switch {
	case result.Err == nil:
		if n, ok := protocol.WholeNumber(result.Data); ok && n == 1 {
			return a, https.RightPassword, nil
		}
		return a, https.WrongPassword, nil
	case result.Err.Kind == protocol.KindUnavailable, result.Err.Kind == protocol.KindInternal:
		return a, https.NoSuchMailbox, result.Err
	case result.Err.Kind == protocol.KindFailed: // The mailbox exists; its hash has an unsupported form.
		return a, https.WrongPassword, nil
	}
	return a, https.NoSuchMailbox, nil
}

// Owned implements https.Backend.
func (b backend) Owned(domain string) bool { return b.rt.mode.owner(domain) != "" }

// Tenant implements https.Backend.
func (b backend) Tenant(uid int) bool { return b.rt.mode.tenant(uid) }
