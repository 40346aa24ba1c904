package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/dovecotdict"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// ServeDovecotDict answers the mail server on l until ctx ends.
func (rt *Runtime) ServeDovecotDict(ctx context.Context, l *net.UnixListener, mailUser int) error {
	door := &dovecotdict.Server{
		Log: rt.log, Lookup: rt.lookUpMailbox,
		Peer: func(uid int) bool { return uid == 0 || uid == mailUser },
	}
	return door.Serve(ctx, l)
}

// lookUpMailbox asks the account that has the address's domain. What the account can't decide
// (uid, gid, where the mail is) is the host's word.
func (rt *Runtime) lookUpMailbox(ctx context.Context, address string) (dovecotdict.Box, error) {
	ctx, scope := admission.WithScope(ctx, nil)
	defer scope.End()
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return dovecotdict.Box{}, dovecotdict.ErrNone
	}
	a, err := rt.accounts.ByDomain(account.ASCIIDomain(address[at+1:]))
	if errors.Is(err, account.ErrUnknown) {
		return dovecotdict.Box{}, dovecotdict.ErrNone
	}
	if err != nil {
		// Suspended, or its file is broken: its mail waits, and is not sent back.
		return dovecotdict.Box{}, err
	}
	leave, err := rt.lookups.enter(a.Name)
	if err != nil {
		return dovecotdict.Box{}, err
	}
	defer func() { leave(ctx.Err() != nil) }()
	result := rt.Host.Do(ctx, protocol.Caller{Account: a, Role: protocol.RoleMailServer, Door: "maildoor"}, protocol.Call{
		API: protocol.UAPI, Module: "Email", Func: "mail_server_lookup", Args: protocol.Args{Named: map[string]any{"email": address}},
	})
	switch {
	case result.Err == nil:
	case result.Err.Kind == protocol.KindNotFound, result.Err.Kind == protocol.KindInvalid:
		return dovecotdict.Box{}, dovecotdict.ErrNone
	default:
		return dovecotdict.Box{}, fmt.Errorf("account %s: %w", a.Name, result.Err)
	}
	said, _ := result.Data.(map[string]any)
	box := dovecotdict.Box{UID: a.UID, GID: a.GID}
	box.Address, _ = said["address"].(string)
	box.Hash, _ = said["hash"].(string)
	box.Incoming, _ = said["incoming"].(bool)
	box.Outgoing, _ = said["outgoing"].(bool)
	box.Quota, _ = protocol.WholeNumber(said["quota"])
	localpart, domain, ok := strings.Cut(box.Address, "@")
	if !ok || domain != account.ASCIIDomain(address[at+1:]) || localpart == "" || localpart[0] == '.' || strings.ContainsAny(localpart, "/\x00") {
		return dovecotdict.Box{}, errors.New("the plugin's answer is of another address")
	}
	// Of a checked address, in a home that the account's file names.
	box.Home = filepath.Join(a.Home, "mail", domain, localpart)
	return box, nil
}

const (
	// lookupsEach bounds the lookups of one account that are under way: Dovecot has some tens of
	// processes that ask, and an account that stops its worker must not hold them all.
	lookupsEach = 3
	// lookupRest is how long an account whose worker did not answer is not asked again.
	lookupRest = 15 * time.Second
)

// lookups counts the mail server's questions by account.
type lookups struct {
	mu       sync.Mutex
	accounts map[string]*lookupsOf
}

type lookupsOf struct {
	underWay int
	restTill time.Time
}

// enter counts a question in. The caller must call leave, and say whether no answer came in time.
func (l *lookups) enter(name string) (leave func(late bool), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts == nil {
		l.accounts = make(map[string]*lookupsOf)
	}
	a := l.accounts[name]
	if a == nil {
		a = &lookupsOf{}
		l.accounts[name] = a
	}
	switch {
	case time.Now().Before(a.restTill):
		return nil, fmt.Errorf("account %s: its worker did not answer a moment ago", name)
	case a.underWay >= lookupsEach:
		return nil, fmt.Errorf("account %s: %d questions about its mailboxes are under way", name, a.underWay)
	}
	a.underWay++
	return func(late bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.underWay--
		if late {
			a.restTill = time.Now().Add(lookupRest)
		} else if a.underWay == 0 && !time.Now().Before(a.restTill) {
			delete(l.accounts, name)
		}
	}, nil
}
