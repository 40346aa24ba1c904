package login

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// Limits of sessions: idleTime is the maximum time between two requests, longestTime the maximum time from
// the sign-in, and the others are maximum numbers of sessions.
const (
	idleTime    = 30 * time.Minute
	longestTime = 12 * time.Hour
	maxSessions = 10_000
	maxEach     = 32  // Per user; above it, the least recently used session ends.
	maxAccount  = 512 // Of one account, including its mailbox users.
)

// Session is the session of a signed-in browser. Each request of the session must contain two values: the
// secret, which is in the cookie, and the token, which is in the path.
type Session struct {
	Service string
	User    string // An account, root, or a mailbox's address.
	Account string // The name of the user's account; "" for root.
	UID     int    // The account's uid at sign-in.
	Stamp   string // The password's stamp at sign-in; a change ends the session.
	Token   string // cpsess and ten digits; part of the path of each call.
	// From is the client that signed in; the session is valid only for this client. Reason: a browser sends
	// its cookie to every port of a host name, so a program on another port of the same host can obtain the
	// cookie. But requests of such a program come from another client.
	From string

	wrong   int // Number of calls with the right cookie but a wrong token.
	id      [sha256.Size]byte
	created time.Time
	used    time.Time
}

// Sessions stores the sessions of all signed-in browsers, in memory only. Its methods may be called
// concurrently.
type Sessions struct {
	now func() time.Time

	mu      sync.Mutex
	byID    map[[sha256.Size]byte]*Session
	invited map[[sha256.Size]byte]invitation // By the hash of the invitation's key.
}

// invitation is a session that begins when a browser opens its link, which it may do once.
type invitation struct {
	Session
	by    string // The user who created it.
	until time.Time
}

// Limits of invitations.
const (
	// InvitationTime is how long the link of an invitation works.
	InvitationTime = 5 * time.Minute
	maxInvited     = 200 // Of those that one user created.
)

// NewSessions returns an empty Sessions.
func NewSessions() *Sessions {
	return &Sessions{now: time.Now, byID: make(map[[sha256.Size]byte]*Session), invited: make(map[[sha256.Size]byte]invitation)}
}

// Begin starts a session for a user that has signed in. It returns the secret for the browser's cookie, and
// the session with its new token. Only the secret's hash is stored.
func (s *Sessions) Begin(session Session) (secret string, _ Session) {
	secret = rand.Text() + rand.Text() // 260 bits.
	session.id = sha256.Sum256([]byte(secret))
	if session.Token == "" {
		session.Token = newToken()
	}
	session.created = s.now()
	session.used = session.created
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom(session)
	s.byID[session.id] = &session
	return secret, session
}

// Invite prepares a session for a user who need not sign in, for example because a billing system signs its
// customers in. It returns the secret key of the invitation, and the session with its token. Only the key's
// hash is stored. If by, the user who creates the invitation, has too many that were not used, Invite returns
// false.
func (s *Sessions) Invite(session Session, by string) (key string, _ Session, ok bool) {
	key = rand.Text() + rand.Text()
	session.Token = newToken()
	s.mu.Lock()
	defer s.mu.Unlock()
	created := 0
	for hash, i := range s.invited {
		switch {
		case s.now().After(i.until):
			delete(s.invited, hash)
		case i.by == by:
			created++
		}
	}
	if created >= maxInvited {
		return "", Session{}, false
	}
	s.invited[sha256.Sum256([]byte(key))] = invitation{session, by, s.now().Add(InvitationTime)}
	return key, session, true
}

// Accept uses up the invitation with the given key, and returns its session, which the caller must begin. ok
// is false if there is no such invitation for the service and the token, or if it is too old.
func (s *Sessions) Accept(key, service, token string) (_ Session, ok bool) {
	hash := sha256.Sum256([]byte(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.invited[hash]
	delete(s.invited, hash)
	if !found || s.now().After(i.until) || i.Service != service || !i.Has(token) {
		return Session{}, false
	}
	return i.Session, true
}

// newToken returns a session token: cpsess and ten random digits.
func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error.
	return fmt.Sprintf("cpsess%010d", binary.BigEndian.Uint64(b[:])%10_000_000_000)
}

// makeRoom removes expired sessions. If the user, the account or the whole set still has its maximum number
// of sessions, makeRoom also removes the least recently used session of that user, account or set. The caller
// holds mu.
func (s *Sessions) makeRoom(next Session) {
	var oldest [3]*Session
	var count [3]int
	for id, session := range s.byID {
		if s.over(session) {
			delete(s.byID, id)
			continue
		}
		for i, counts := range []bool{
			session.Service == next.Service && session.User == next.User, session.Account == next.Account, true,
		} {
			if !counts {
				continue
			}
			if count[i]++; oldest[i] == nil || session.used.Before(oldest[i].used) {
				oldest[i] = session
			}
		}
	}
	for i, most := range []int{maxEach, maxAccount, maxSessions} {
		if count[i] >= most {
			delete(s.byID, oldest[i].id)
			return
		}
	}
}

func (s *Sessions) over(session *Session) bool {
	now := s.now()
	return now.Sub(session.used) > idleTime || now.Sub(session.created) > longestTime
}

// maxWrong is the number of calls with a valid cookie but a wrong token that end the session. Somebody may
// have stolen the cookie and be guessing the token.
const maxWrong = 20

// Wrong records a call with the session's cookie but a wrong token. When maxWrong such calls have been
// recorded, it ends the session.
func (s *Sessions) Wrong(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.byID[session.id]; kept != nil {
		if kept.wrong++; kept.wrong >= maxWrong {
			delete(s.byID, session.id)
		}
	}
}

// Find returns the session that has the given secret, if it is valid for service and from. If the request
// comes from another client than the sign-in, the secret may have been stolen, so Find ends the session.
func (s *Sessions) Find(secret, service, from string) (Session, bool) {
	id := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.byID[id]
	if session == nil || session.Service != service {
		return Session{}, false
	}
	if s.over(session) || session.From != from {
		delete(s.byID, id)
		return Session{}, false
	}
	session.used = s.now()
	return *session, true
}

// Has reports whether token is the session's token. The comparison takes constant time.
func (s Session) Has(token string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Token), []byte(token)) == 1
}

// End ends the given session.
func (s *Sessions) End(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, session.id)
}

// EndAccount ends the sessions of all users of the account called name, including its mailbox users.
func (s *Sessions) EndAccount(name string) {
	s.endIf(func(session *Session) bool { return session.Account == name })
}

// EndUser ends all sessions of the given user of a service, except the session but.
func (s *Sessions) EndUser(service, user string, but Session) {
	s.endIf(func(session *Session) bool {
		return session.Service == service && session.User == user && session.id != but.id
	})
}

func (s *Sessions) endIf(ends func(*Session) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, session := range s.byID {
		if ends(session) {
			delete(s.byID, id)
		}
	}
	for hash, i := range s.invited {
		if ends(&i.Session) {
			delete(s.invited, hash)
		}
	}
}

// Count returns the number of stored sessions, including expired sessions that were not removed yet.
func (s *Sessions) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
