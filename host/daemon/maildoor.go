package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/maildoor"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// lookupOptions limit the mail server's look-ups of the mailboxes of one account. Dovecot looks up mailboxes
// from several dozen processes; an account that makes its worker hang must not block all of these processes.
var lookupOptions = admission.QuestionOptions{Each: 3, Rest: answerRest}

// answerRest is the time during which an account's worker is not asked again after it did not answer in time.
const answerRest = 15 * time.Second

// mailDoor returns the server of Dovecot's look-ups of mailboxes. Only root and the user mailUser may connect.
func (rt *Runtime) mailDoor(mailUser int) *maildoor.Server {
	return &maildoor.Server{
		Log: rt.log, Lookup: rt.lookUpMailbox,
		Peer: func(uid int) bool { return uid == 0 || uid == mailUser },
	}
}

// lookUpMailbox asks the worker of the account to which the domain of address belongs. The host itself
// determines the uid, the gid and the directory of the mail. It never uses such values from the worker's
// answer: a malicious account could otherwise return the uid or the directory of another account.
func (rt *Runtime) lookUpMailbox(ctx context.Context, address string) (maildoor.Box, error) {
	ctx, scope := admission.WithScope(ctx, nil)
	defer scope.End()
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return maildoor.Box{}, maildoor.ErrNone
	}
	domain := account.ASCIIDomain(address[at+1:])
	a, err := rt.mode.byDomain(domain)
	if errors.Is(err, account.ErrUnknown) {
		return maildoor.Box{}, maildoor.ErrNone
	}
	if err != nil {
		// The account is suspended or its file can't be read. Dovecot treats the error as temporary, so new
		// mail waits and is not bounced.
		return maildoor.Box{}, err
	}
	leave, err := rt.limits.lookups.Enter(ctx, a.Name)
	if err != nil {
		return maildoor.Box{}, fmt.Errorf("account %s: %w", a.Name, err)
	}
	defer func() { leave(ctx.Err() != nil) }()
	result := rt.Host.Do(ctx, protocol.Caller{Account: a, Role: protocol.RoleMailServer, Door: "dovecot"}, protocol.Call{
		API: protocol.UAPI, Module: "Email", Func: "mail_server_lookup", Args: protocol.Args{Named: map[string]any{"email": address}},
	})
	switch {
	case result.Err == nil:
	case result.Err.Kind == protocol.KindNotFound, result.Err.Kind == protocol.KindInvalid:
		return maildoor.Box{}, maildoor.ErrNone
	default:
		return maildoor.Box{}, fmt.Errorf("account %s: %w", a.Name, result.Err)
	}
	return checkBox(a, domain, result.Data)
}

// checkBox converts a worker's answer into a mailbox of the account a. It rejects an answer whose address
// does not belong to the given domain.
func checkBox(a protocol.Account, domain string, answer any) (maildoor.Box, error) {
	said, _ := answer.(map[string]any)
	box := maildoor.Box{UID: a.UID, GID: a.GID}
	box.Address, _ = said["address"].(string)
	box.Hash, _ = said["hash"].(string)
	box.Incoming, _ = said["incoming"].(bool)
	box.Outgoing, _ = said["outgoing"].(bool)
	box.Quota, _ = protocol.WholeNumber(said["quota"])
	localpart, of, ok := strings.Cut(box.Address, "@")
	if !ok || of != domain || localpart == "" || localpart[0] == '.' || strings.ContainsAny(localpart, "/\x00") {
		return maildoor.Box{}, errors.New("the plugin's answer does not contain a valid address of the requested domain")
	}
	box.Home = filepath.Join(a.Home, "mail", domain, localpart)
	return box, nil
}
