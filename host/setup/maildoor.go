package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/liveapid/liveapid/host/account"
	"github.com/liveapid/liveapid/host/maildoor"
	"github.com/liveapid/liveapid/host/session"
	"github.com/liveapid/liveapid/protocol"
)

// ServeMailDoor answers the mail server on l until ctx ends.
func (rt *Runtime) ServeMailDoor(ctx context.Context, l *net.UnixListener, mailUser int) error {
	door := &maildoor.Server{
		Log: rt.log, Lookup: rt.lookUpMailbox,
		Peer: func(uid int) bool { return uid == 0 || uid == mailUser },
	}
	return door.Serve(ctx, l, session.PeerUID)
}

// lookUpMailbox asks the account that has the address's domain. What the account can't decide
// (uid, gid, where the mail is) is the host's word.
func (rt *Runtime) lookUpMailbox(ctx context.Context, address string) (maildoor.Box, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return maildoor.Box{}, maildoor.ErrNone
	}
	a, err := rt.accounts.ByDomain(strings.ToLower(address[at+1:]))
	if errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrSuspended) {
		return maildoor.Box{}, maildoor.ErrNone
	}
	if err != nil {
		return maildoor.Box{}, err
	}
	result := rt.Host.Do(ctx, protocol.Caller{Account: a, Role: protocol.RoleMailServer, Door: "maildoor"}, protocol.Call{
		API: protocol.UAPI, Module: "Email", Func: "mail_server_lookup", Args: protocol.Args{Named: map[string]any{"email": address}},
	})
	switch {
	case result.Err == nil:
	case result.Err.Kind == protocol.KindNotFound, result.Err.Kind == protocol.KindInvalid:
		return maildoor.Box{}, maildoor.ErrNone
	default:
		return maildoor.Box{}, fmt.Errorf("account %s: %w", a.Name, result.Err)
	}
	said, _ := result.Data.(map[string]any)
	box := maildoor.Box{UID: a.UID, GID: a.GID}
	box.Address, _ = said["address"].(string)
	box.Hash, _ = said["hash"].(string)
	box.Incoming, _ = said["incoming"].(bool)
	box.Outgoing, _ = said["outgoing"].(bool)
	switch n := said["quota"].(type) {
	case int64:
		box.Quota = n
	case uint64:
		box.Quota = int64(min(n, 1<<62))
	}
	localpart, domain, ok := strings.Cut(box.Address, "@")
	if !ok {
		return maildoor.Box{}, errors.New("the plugin's answer has no address")
	}
	// Of a checked address, in a home that the account's file names.
	box.Home = filepath.Join(a.Home, "mail", domain, localpart)
	return box, nil
}
