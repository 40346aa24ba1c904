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

// The bounds of sessions.
const (
	idleTime    = 30 * time.Minute
	longestTime = 12 * time.Hour
	maxSessions = 10_000
	maxEach     = 32  // Of one user; the one used longest ago ends.
	maxAccount  = 512 // Of one account, its mailboxes' users too.
)

// Session is one that signed in with a browser.
type Session struct {
	Service string
	User    string // An account, root, or a mailbox's address.
	Account string // Whose account it is; "" is root's.
	UID     int    // The account's, when it signed in.
	Stamp   string // Of the password that it signed in with; with another one it ends.
	Token   string // cpsess and ten digits, which a call must name.
	// From is the client that signed in. A browser sends its cookie to every port of a host name, so that a
	// program on another port can come with it, and comes from elsewhere.
	From string

	wrong   int // Wrong tokens that came with the cookie.
	id      [sha256.Size]byte
	created time.Time
	used    time.Time
}

// Sessions are those that are signed in. They are kept in memory alone.
type Sessions struct {
	now func() time.Time

	mu   sync.Mutex
	byID map[[sha256.Size]byte]*Session
}

// NewSessions returns none.
func NewSessions() *Sessions {
	return &Sessions{now: time.Now, byID: make(map[[sha256.Size]byte]*Session)}
}

// Begin signs somebody in and returns the secret that the browser keeps, and the session with its
// token.
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

// makeRoom ends the sessions that are over, and those used longest ago where there are too many: of
// the user, of the account, of all. It needs mu.
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

// maxWrong is how many wrong tokens may come with a session's cookie before it ends: they are guesses.
const maxWrong = 20

// Wrong notes that a wrong token came with a session's cookie.
func (s *Sessions) Wrong(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.byID[session.id]; kept != nil {
		if kept.wrong++; kept.wrong >= maxWrong {
			delete(s.byID, session.id)
		}
	}
}

// Find returns the session of a secret, for a service and the client that signed in. If another client
// comes with the secret, it was stolen, and the session ends.
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

// Has tells whether a token is the session's.
func (s Session) Has(token string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Token), []byte(token)) == 1
}

// End signs a session out.
func (s *Sessions) End(session Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, session.id)
}

// EndAccount signs out everybody of an account, its mailboxes' users too.
func (s *Sessions) EndAccount(name string) {
	s.endIf(func(session *Session) bool { return session.Account == name })
}

// EndUser signs out one user of a service, but for a session that stays.
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

// Count returns how many are signed in.
func (s *Sessions) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
