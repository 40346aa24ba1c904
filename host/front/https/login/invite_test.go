package login

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// T53: an invitation works once, for its service and token, for a short time. A user who creates many of them
// does not keep others from creating theirs.
func TestT53_Invitations(t *testing.T) {
	s := NewSessions()
	now := time.Now()
	s.now = func() time.Time { return now }
	invite := func(by string) (string, Session) {
		key, session, ok := s.Invite(Session{Service: "cpanel", User: "alice", Account: "alice"}, by)
		require.True(t, ok)
		return key, session
	}
	key, session := invite("root")
	_, ok := s.Accept(key, "whm", session.Token)
	require.False(t, ok, "another service")
	_, ok = s.Accept(key, "cpanel", session.Token)
	require.False(t, ok, "it was used up")
	key, _ = invite("root")
	_, ok = s.Accept(key, "cpanel", "cpsess0000000000")
	require.False(t, ok, "another token")
	key, session = invite("root")
	got, ok := s.Accept(key, "cpanel", session.Token)
	require.True(t, ok)
	require.Equal(t, "alice", got.User)
	key, session = invite("root")
	now = now.Add(InvitationTime + time.Second)
	_, ok = s.Accept(key, "cpanel", session.Token)
	require.False(t, ok, "too old")
	key, session = invite("root")
	s.EndAccount("alice")
	_, ok = s.Accept(key, "cpanel", session.Token)
	require.False(t, ok, "the account was suspended or changed")

	for range maxInvited {
		invite("reseller")
	}
	_, _, ok = s.Invite(Session{Service: "cpanel", User: "alice"}, "reseller")
	require.False(t, ok)
	invite("root")
	now = now.Add(InvitationTime + time.Second)
	invite("reseller")
}
