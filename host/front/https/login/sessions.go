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

// Limits of sessions.
const (
	idleTime    = 30 * time.Minute
	longestTime = 12 * time.Hour
	maxSessions = 10_000
	maxEach     = 32  // Of one user. The session that was used longest ago ends.
	maxAccount  = 512 // Of one account, including its mailbox users.
)

// Session is a browser that is signed in.
type Session struct {
	Service string
	User    string // An account, root, or a mailbox's address.
	Account string // The name of the user's account; "" for root.
	UID     int    // The account's uid at sign-in.
	Stamp   string // The stamp of the password at sign-in. If the password changes, the session ends.
	Token   string // cpsess and ten digits, which every call must name.
	// From is the client that signed in. A browser sends its cookie to every port of a host name, so a
	// program on another port can obtain the cookie; but that program connects from elsewhere.
	From string

	wrong   int // Calls with the cookie and a wrong token.
	id      [sha256.Size]byte
	created time.Time
	used    time.Time
}

// Sessions are the browsers that are signed in. They are kept in memory only.
type Sessions struct {
	now func() time.Time

	mu   sync.Mutex
	byID map[[sha256.Size]byte]*Session
}

// NewSessions returns an empty set.
func NewSessions() *Sessions {
	return &Sessions{now: time.Now, byID: make(map[[sha256.Size]byte]*Session)}
}

// Begin signs a user in. It returns the secret for the browser's cookie, and the session with its token.
func (s *Sessions) Begin(session Session) (secret string, _ Session) {
	secret = rand.Text() + rand.Text() // 260 bits.
	session.id = sha256.Sum256([]byte(secret))
	session.Token = newToken()
	session.created = s.now()
	session.used = session.created
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom(session)
	s.byID[session.id] = &session
	return secret, session
}

// newToken returns cpsess and ten random digits.
func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // It never fails.
	return fmt.Sprintf("cpsess%010d", binary.BigEndian.Uint64(b[:])%10_000_000_000)
}

// makeRoom removes expired sessions. If the user, the account or the whole set still has too many, it also
// removes the sessions that were used longest ago. The caller holds mu.
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

// maxWrong is the number of wrong tokens with a valid cookie after which the session ends: somebody is
// guessing.
const maxWrong = 20

// Wrong records a call with a session's cookie and a wrong token.
func (s *Sessions) Wrong(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.byID[session.id]; kept != nil {
		if kept.wrong++; kept.wrong >= maxWrong {
			delete(s.byID, session.id)
		}
	}
}

// Find returns the session of a secret for a service, if it comes from the client that signed in. If another
// client sends the secret, it was stolen, and the session ends.
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

// Has reports whether a token is the session's.
func (s Session) Has(token string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Token), []byte(token)) == 1
}

// End signs a session out.
func (s *Sessions) End(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, session.id)
}

// EndAccount signs out all users of an account, including its mailbox users.
func (s *Sessions) EndAccount(name string) {
	s.endIf(func(session *Session) bool { return session.Account == name })
}

// EndUser signs a user of a service out everywhere except in one session.
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
}

// Count returns the number of sessions.
func (s *Sessions) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
