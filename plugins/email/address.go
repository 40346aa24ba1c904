package email

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// mailbox returns the address of the mailbox that the call's arguments email and domain specify. It returns
// an error if the account does not own the domain, or if a mailbox user specifies a mailbox other than the
// user's own.
func mailbox(call *sdk.Call) (store.Address, error) {
	name, domain := call.String("email"), call.String("domain")
	if call.API == protocol.API2 && domain == "" && call.Role == protocol.RoleAccount && !strings.Contains(name, "@") {
		// API 2 has no default domain, unlike UAPI.
		return store.Address{}, protocol.Missing("domain")
	}
	return mailboxOf(call, name, domain, "email")
}

// mailboxOf does the same as mailbox, but the caller passes the values of the arguments. param is the name of
// the argument that localpart comes from, for error messages. localpart may be a whole address.
func mailboxOf(call *sdk.Call, localpart, domain, param string) (store.Address, error) {
	if at := strings.LastIndexByte(localpart, '@'); at >= 0 {
		own := localpart[at+1:]
		localpart = localpart[:at]
		if own == "" {
			return store.Address{}, protocol.NewError(protocol.KindInvalid, "The ‘"+param+"’ argument has no domain after the @.")
		}
		if domain != "" && ascii(domain) != ascii(own) {
			return store.Address{}, protocol.NewError(protocol.KindInvalid,
				"The ‘"+param+"’ and ‘domain’ arguments name different domains: “"+protocol.Clip(own, maxEchoed)+"” and “"+protocol.Clip(domain, maxEchoed)+"”.")
		}
		domain = own
	}
	if domain == "" && call.Role == protocol.RoleMailbox {
		_, domain, _ = strings.Cut(call.Mailbox, "@") // The mailbox user's own domain, not the account's main domain.
	}
	if domain == "" {
		if domain = call.Account.MainDomain(); domain == "" {
			return store.Address{}, protocol.Missing("domain")
		}
	}
	if localpart == "" {
		return store.Address{}, protocol.Missing(param)
	}
	domain, perr := ownDomain(call, domain)
	if perr != nil {
		return store.Address{}, perr
	}
	box, err := store.NewAddress(localpart, domain)
	if err != nil {
		return store.Address{}, protocol.NewError(protocol.KindInvalid, "The ‘"+param+"’ argument is not a valid mailbox name: "+err.Error()+".")
	}
	if call.Role == protocol.RoleMailbox && !isOwn(call, box) {
		return store.Address{}, protocol.NewError(protocol.KindDenied, "You may do this for your own mailbox only.")
	}
	return box, nil
}

// isOwn reports whether box is the mailbox of the calling mailbox user.
func isOwn(call *sdk.Call, box store.Address) bool {
	at := strings.LastIndexByte(call.Mailbox, '@')
	if at < 0 {
		return false
	}
	own, err := store.NewAddress(call.Mailbox[:at], ascii(call.Mailbox[at+1:]))
	return err == nil && own == box
}

// ownDomain returns domain in the form that the store uses: lower case and ASCII. It returns an error if the
// account does not own the domain.
func ownDomain(call *sdk.Call, domain string) (string, error) {
	own := ascii(domain)
	if !slices.Contains(call.Account.Domains, own) {
		return "", protocol.NewError(protocol.KindInvalid, "You do not have access to the domain “"+protocol.Clip(domain, maxEchoed)+"”.")
	}
	return own, nil
}

// ascii returns domain in lower case, with international labels converted to their ASCII form (Punycode).
// People write bücher.example; stores and mail servers use xn--bcher-kva.example.
func ascii(domain string) string {
	for i := 0; i < len(domain); i++ {
		if domain[i] >= 0x80 {
			if out, err := idna.Lookup.ToASCII(domain); err == nil {
				return out
			}
			break
		}
	}
	return store.Lower(domain)
}

// isSystemMailbox reports whether the call's arguments email and domain specify the account's own mailbox.
// That mailbox is not in the store: its password is the password of the system user.
func isSystemMailbox(call *sdk.Call) bool {
	name, domain := call.String("email"), call.String("domain")
	if localpart, own, ok := strings.Cut(name, "@"); ok {
		name, domain = localpart, own
	}
	main := domain == "" || ascii(domain) == call.Account.MainDomain()
	return name == "Main Account" || main && store.Lower(name) == store.Lower(call.Account.Name)
}

// public converts an error of the store to an error with a message for the caller; the original error is
// written only to the log. outcome is the part of the message that says what happened to the operation, such
// as "Nothing was changed".
func public(box store.Address, err error, outcome string) error {
	e := &protocol.Error{Kind: protocol.KindFailed, Err: err}
	switch {
	case errors.Is(err, store.ErrUnknown): // Must be first: the text of outcome may be wrong here.
		e.Kind, e.Message = protocol.KindUnavailable, "Whether “"+box.String()+"” was changed is not known. Check it, or make the change again."
	case errors.Is(err, store.ErrNoMailbox):
		// This error is not logged, because callers often mistype an address.
		return protocol.NewError(protocol.KindNotFound, "The email account “"+box.String()+"” does not exist.")
	case errors.Is(err, store.ErrExists):
		return protocol.NewError(protocol.KindInvalid, "The email account “"+box.String()+"” already exists!")
	case errors.Is(err, store.ErrSuspended):
		return protocol.NewError(protocol.KindDenied, "This account is suspended.")
	case errors.Is(err, store.ErrAway):
		e.Kind, e.Message = protocol.KindUnavailable, "The mail database can't be reached at the moment. "+outcome+"; try again later."
	case errors.Is(err, store.ErrBusy):
		e.Kind, e.Message = protocol.KindUnavailable, "The mail store is in use by another program. "+outcome+"; try again."
	case errors.Is(err, store.ErrFull):
		e.Message = "The disk, or the account's quota, is full. " + outcome + "; free some space and try again."
	case errors.Is(err, store.ErrReadOnly):
		e.Message = "The mail store of “" + box.Domain + "” is not accessible. " + outcome + "; check the permissions of the account's etc and mail directories."
	case errors.Is(err, store.ErrUnsafe):
		e.Message = "The mail store of “" + box.Domain + "” is not as it should be. " + outcome + "; the log has the details."
	default:
		return err
	}
	return e
}

// publicAt does the same as public for an error of several mailboxes or domains: the message names the one that the
// error belongs to, or at if that is not known.
func publicAt(at store.Address, err error, outcome string) error {
	if where := (*store.AtError)(nil); errors.As(err, &where) {
		at = where.At
	}
	return public(at, err, outcome)
}

// maxEchoed is the maximum number of bytes of a client's text that an error message repeats.
const maxEchoed = 100
