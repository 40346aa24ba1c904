package email

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// Short names of the suspensions, for the table of operations. The names of the API functions contain the
// same words, for example suspend_login.
const (
	login    = store.Login
	incoming = store.Incoming
	outgoing = store.Outgoing
	hold     = store.Hold
)

const (
	mib = 1 << 20
	// maxQuotaBytes and defaultQuotaBytes are cPanel's values according to the documentation of UAPI: 4 PiB
	// and 32 GiB.
	maxQuotaBytes     = 4 << 50
	defaultQuotaBytes = 32 << 30
	// defaultQuotaAPI2 is the default of API 2, which differs from UAPI's, according to the older
	// documentation of API 2.
	defaultQuotaAPI2 = 250 * mib
)

// maxQuota returns the highest quota, in bytes, that a mailbox of the account may have.
func maxQuota(account protocol.Account) int64 {
	// The value of MAX_EMAILACCT_QUOTA in cPanel's users file is in MiB.
	if n, err := strconv.ParseInt(account.Data["MAX_EMAILACCT_QUOTA"], 10, 64); err == nil && n > 0 && n < maxQuotaBytes/mib {
		return n * mib
	}
	return maxQuotaBytes
}

func defaultQuota(account protocol.Account) int64 { return min(defaultQuotaBytes, maxQuota(account)) }

// bytesOf returns a part that returns a quota in bytes, or, in API 2, in MiB.
func bytesOf(f func(protocol.Account) int64) func(context.Context, *sdk.Call) (any, error) {
	return func(_ context.Context, call *sdk.Call) (any, error) {
		if call.API == protocol.API2 {
			return f(call.Account) / mib, nil
		}
		return f(call.Account), nil
	}
}

func mibOf(f func(protocol.Account) int64) func(context.Context, *sdk.Call) (any, error) {
	return func(_ context.Context, call *sdk.Call) (any, error) { return f(call.Account) / mib, nil }
}

// quota returns the argument quota, which is in MiB, in bytes. It returns 0 for an unlimited mailbox, and
// absent if the argument is missing. If the account has a highest quota and the argument is higher or
// unlimited, quota returns an error, or the highest quota if clip is true.
func quota(call *sdk.Call, absent int64, clip bool) (int64, error) {
	highest, limited := maxQuota(call.Account), maxQuota(call.Account) < maxQuotaBytes
	tooHigh := func() error {
		return protocol.NewError(protocol.KindInvalid, "The ‘quota’ argument may be at most "+strconv.FormatInt(highest/mib, 10)+" MB.")
	}
	text := strings.TrimSpace(call.String("quota"))
	if text == "" {
		return absent, nil
	}
	n := int64(0)
	if text != "unlimited" {
		var err error
		if n, err = strconv.ParseInt(text, 10, 64); err != nil || n < 0 {
			if digits := strings.Trim(text, "0123456789") == ""; digits {
				n = math.MaxInt64 / mib // Digits only, but too large for an int64: use a huge number.
			} else {
				return 0, protocol.NewError(protocol.KindInvalid, "The ‘quota’ argument must be a whole number of megabytes, not negative, or “unlimited”.")
			}
		}
	}
	switch {
	case n == 0 && !limited:
		return 0, nil
	case n == 0 || n > highest/mib:
		if !clip {
			return 0, tooHigh()
		}
		return highest, nil
	}
	return n * mib, nil
}

// newBox returns the address of the mailbox that the call is to create. It rejects reserved names.
func newBox(call *sdk.Call) (store.Address, error) {
	if isSystemMailbox(call) {
		return store.Address{}, protocol.NewError(protocol.KindInvalid, "The email account “"+call.Account.Name+"@"+call.Account.MainDomain()+"” already exists!")
	}
	box, err := mailbox(call)
	if err != nil {
		return store.Address{}, err
	}
	if box.Localpart == "cpanel" {
		return store.Address{}, protocol.NewError(protocol.KindInvalid, "You cannot create an email account with the name “cpanel”.")
	}
	return box, nil
}

// hashNewPassword runs before addPop: it validates the arguments of a new mailbox and returns the hash to
// store.
func (m *Module) hashNewPassword(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := newBox(call)
	if err != nil {
		return nil, err
	}
	if _, err := newQuota(call); err != nil {
		return nil, err // Checked before the expensive hashing.
	}
	return m.hashOf(ctx, call, box)
}

// newQuota returns the quota of a new mailbox in bytes, with the default of the call's API.
func newQuota(call *sdk.Call) (int64, error) {
	absent := defaultQuota(call.Account)
	if call.API == protocol.API2 {
		absent = min(defaultQuotaAPI2, absent)
	}
	return quota(call, absent, false)
}

// addPop creates a mailbox with the hash from hashNewPassword.
func (m *Module) addPop(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := newBox(call)
	if err != nil {
		return nil, err
	}
	limit, err := newQuota(call)
	if err != nil {
		return nil, err
	}
	if most, limited := maxPop(call.Account); limited {
		// The lock is held until the mailbox is created. Otherwise two concurrent calls could get the same
		// count, both create a mailbox, and exceed the limit.
		m.counting.Lock()
		defer m.counting.Unlock()
		if err := m.roomForOne(ctx, call, most); err != nil {
			return nil, err
		}
	}
	hash, _ := call.Input.(string)
	if err := m.store(call.Account).Create(ctx, store.Mailbox{Address: box, Quota: limit}, hash); errors.Is(err, store.ErrAside) {
		call.Log(err.Error())
		call.Warn("There was mail of an earlier mailbox in the directory of “" + box.String() + "”. The new mailbox does not contain it; it was moved to " + strings.TrimPrefix(err.Error(), store.ErrAside.Error()+": ") + ".")
	} else if err != nil {
		return nil, public(box, err, "Nothing was changed")
	}
	return nil, nil
}

// hashOf returns the argument password_hash after validating it, or the hash of the argument password.
// Exactly one of the two arguments must be given.
func (m *Module) hashOf(ctx context.Context, call *sdk.Call, box store.Address) (string, error) {
	hash := call.Secret("password_hash").Reveal()
	password := call.Secret("password").Reveal()
	switch {
	case hash != "" && password != "":
		return "", protocol.NewError(protocol.KindInvalid, "Provide either the ‘password’ or the ‘password_hash’ argument, not both.")
	case hash == "" && password == "":
		return "", protocol.Missing("password")
	case hash == "":
		return m.newHash(ctx, call, box)
	}
	hash, err := m.verifier.Accept(hash)
	if err != nil {
		return "", protocol.NewError(protocol.KindInvalid, "The ‘password_hash’ argument must be a crypt hash, such as $6$….")
	}
	return hash, nil
}

// maxPop returns the maximum number of mailboxes of the account; limited is false if there is no maximum.
func maxPop(account protocol.Account) (most int, limited bool) {
	most, err := strconv.Atoi(account.Data["MAXPOP"]) // The value may also be "unlimited".
	return most, err == nil && most >= 0
}

// roomForOne returns an error if the account already contains most or more mailboxes; most is the maximum
// that maxPop returned.
func (m *Module) roomForOne(ctx context.Context, call *sdk.Call, most int) error {
	n, err := m.count(ctx, call.Account)
	if err != nil {
		return err
	}
	if n >= most {
		return protocol.NewError(protocol.KindFailed, "You have reached the maximum number of email accounts ("+strconv.Itoa(most)+").")
	}
	return nil
}

// plusForm converts the address of a new mailbox to the form that UAPI returns: user+example.com.
func plusForm(v any) any {
	address, _ := v.(string)
	at := strings.LastIndexByte(address, '@')
	return address[:at] + "+" + address[at+1:]
}

// deletePop deletes a mailbox.
func (m *Module) deletePop(ctx context.Context, call *sdk.Call) (any, error) {
	if isSystemMailbox(call) {
		return nil, protocol.NewError(protocol.KindInvalid, "You cannot delete the email account of the system account.")
	}
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	keep := store.Keep{Mail: call.String("flags") == "passwd", Quota: call.Flag("skip_quota")}
	if err := m.store(call.Account).Delete(ctx, box, keep); errors.Is(err, store.ErrPartly) {
		call.Log(err.Error())
		call.Warn("The mailbox was deleted, but its mail could not be removed. Check the permissions of the account's mail directory.")
	} else if err != nil {
		return nil, public(box, err, "Nothing was changed")
	}
	if s, ok := m.store(call.Account).(interface{ LeavesMail() bool }); ok && s.LeavesMail() && !keep.Mail {
		call.Warn("The mailbox was deleted. Its mail stays on the mail server.")
	}
	return nil, nil
}

// editQuota changes a mailbox's quota. A quota above the account's highest quota is reduced to the highest
// quota.
func (m *Module) editQuota(ctx context.Context, call *sdk.Call) (any, error) {
	if isSystemMailbox(call) {
		return nil, protocol.NewError(protocol.KindInvalid, "The email account of the system account has no quota of its own.")
	}
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	limit, err := quota(call, defaultQuota(call.Account), true)
	if err != nil {
		return nil, err
	}
	if err := m.store(call.Account).SetQuota(ctx, box, limit); errors.Is(err, store.ErrPartly) {
		call.Log(err.Error())
		call.Warn("The quota was saved, but the mail server does not use it yet, because the mailbox's directory could not be written. Check the permissions of the account's mail directory.")
	} else if err != nil {
		return nil, public(box, err, "Nothing was changed")
	}
	return nil, nil
}

// getQuota returns a mailbox's quota.
func (m *Module) getQuota(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	b, err := m.store(call.Account).Mailbox(ctx, box)
	if err != nil {
		return nil, public(box, err, "The quota could not be read")
	}
	switch {
	case b.BadQuota != "":
		return nil, &protocol.Error{Kind: protocol.KindFailed, Err: b.QuotaProblem(), Message: "The store has no valid quota for “" + box.String() +
			"”: “" + protocol.Clip(b.BadQuota, maxEchoed) + "” is not a number of bytes. Set the quota with edit_pop_quota."}
	case call.Flag("as_bytes"):
		return b.Quota, nil
	case b.Quota == 0:
		return "unlimited", nil
	case call.API == protocol.API1:
		return strconv.FormatInt(b.Quota/mib, 10), nil
	}
	return b.Quota / mib, nil
}

// unlockFunction returns the function that the host calls when the suspension of an account ends.
func (m *Module) unlockFunction() sdk.Function {
	return sdk.Function{
		Function: protocol.Function{
			API: protocol.UAPI, Name: "unlock_mailboxes", Help: "Remove the mark of a suspended account from the account's mailboxes.",
			Returns: "The number of mailboxes.", Changes: true, Roles: []protocol.Role{protocol.RoleAdmin},
		},
		Do: func(ctx context.Context, call *sdk.Call) (any, error) {
			all := 0
			var failed error
			for _, domain := range call.Account.Domains {
				n, err := m.store(call.Account).Unlock(ctx, domain)
				all += n
				if err != nil && failed == nil {
					failed = public(store.Address{Localpart: "*", Domain: domain}, err, "Some mailboxes are still locked")
				}
			}
			return all, failed
		},
		After: func(ctx context.Context, call *sdk.Call) (any, error) {
			if set := m.current(); set.notifier != nil {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mailTime(ctx, set.settings.MailTimeout))
				defer cancel()
				if err := set.notifier.forget(ctx); err != nil {
					call.Log("notify the mail server of the mailboxes that were unlocked: " + err.Error())
				}
			}
			return call.Input, nil
		},
	}
}

// release returns the operation that ends hold_outgoing and sends the held messages.
func (m *Module) release() operation {
	op := m.suspension("release_outgoing", "Stop holding a mailbox's outgoing mail, and send the held messages.", hold, false, returnNull)
	op.after = m.released
	return op
}

// suspension returns the operation that sets (on is true) or clears (on is false) the suspension what of a
// mailbox. name, help and answer describe the operation's UAPI function.
func (m *Module) suspension(name, help string, what store.Suspension, on bool, answer func(any) any) operation {
	kind := limits
	if what == login {
		kind = logins
	}
	return operation{
		help: help, changes: true, after: m.notifyMailServer(kind), uapi: &form{name: name, answer: answer, params: []protocol.Param{pAddress}},
		do: func(ctx context.Context, call *sdk.Call) (any, error) {
			if isSystemMailbox(call) {
				return nil, protocol.NewError(protocol.KindInvalid, "You cannot suspend the email account of the system account.")
			}
			box, err := mailbox(call)
			if err != nil {
				return nil, err
			}
			if err := m.store(call.Account).Suspend(ctx, box, what, on); err != nil {
				return nil, public(box, err, "Nothing was changed")
			}
			if what == login && !on {
				if hash, _, err := m.store(call.Account).Hash(ctx, box); err == nil && hash == "" {
					call.Warn("The mailbox has no password, so nobody can log in yet. Set a password, for example with passwd_pop.")
				}
			}
			return nil, nil
		},
	}
}
