// Package token stores the API tokens with which programs authenticate over HTTPS: the user, the permissions
// and the expiry of each token. It stores only the SHA-256 of a token's secret. The file is a JSON document
// that is always replaced as a whole. If any part of the file is invalid, no token is accepted.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Service is a service of the HTTPS API that accepts tokens.
type Service string

// The services that accept tokens. Webmail users have no tokens.
const (
	CPanel Service = "cpanel"
	WHM    Service = "whm"
)

// Token is the stored data of a token. It does not contain the token's secret.
type Token struct {
	ID      string  `json:"id"` // First part of the token, not secret; "" for an access hash.
	User    string  `json:"user"`
	UID     int     `json:"uid"` // The uid at creation; another uid means another user.
	Service Service `json:"service"`
	Name    string  `json:"name"` // A name that the user chose for the token.
	SHA256  string  `json:"sha256"`
	Created int64   `json:"created"`           // Time of creation, in seconds since 1970.
	Expires int64   `json:"expires,omitempty"` // Time of expiry, in seconds since 1970; 0 means never.
	// Features lists the features that the token may use; null means all features of the account.
	Features []string `json:"features"`
}

// Full reports whether the token has all permissions of its user.
func (t Token) Full() bool { return t.Features == nil }

// Errors that the methods of Store return.
var (
	ErrExists  = errors.New("token: a token with this name exists already")
	ErrNone    = errors.New("token: no such token")
	ErrInvalid = errors.New("token: invalid name or value")
	ErrFull    = errors.New("token: too many tokens")
)

const (
	// MaxName is the maximum length of a token's name, in bytes. MaxEach is the maximum number of unexpired
	// tokens per user and service.
	MaxName = 50
	MaxEach = 200

	idLength     = 12 // 60 bits in base 32; identifies the token.
	secretLength = 52 // 260 bits in base 32; the secret part of the token.
)

// Store is the file of tokens. It is safe for concurrent use, also by several processes.
type Store struct {
	path string

	mu     sync.Mutex
	loaded stamp
	tokens []Token
	byID   map[string]Token
}

// Open returns the store for the file at path. The file need not exist; then there are no tokens.
func Open(path string) *Store { return &Store{path: path} }

// Grant describes a token to be created.
type Grant struct {
	User     string
	UID      int
	Service  Service
	Name     string
	Expires  time.Time // Zero means that the token never expires.
	Features []string  // Nil means all features of the account.
}

// ValidName reports whether name is a valid name for a token. As in cPanel's documentation, a name consists
// of at most 50 letters, digits, hyphens and underscores.
func ValidName(name string) bool {
	return name != "" && len(name) <= MaxName && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// Create creates a token and stores it. It returns the text of the token, which can't be retrieved later, and
// the stored data.
func (s *Store) Create(g Grant) (string, Token, error) {
	text := randomText(idLength + secretLength)
	t := Token{ID: text[:idLength], SHA256: hashOf(text[idLength:])}
	t, err := s.add(t, g)
	return text, t, err
}

// AddAccessHash stores hash as a token. hash is a legacy access hash of cPanel, which was created elsewhere.
func (s *Store) AddAccessHash(hash string, g Grant) (Token, error) {
	hash = normalHash(hash)
	if !IsAccessHash(hash) {
		return Token{}, fmt.Errorf("%w: the value is not an access hash, which consists of several hundred hexadecimal digits", ErrInvalid)
	}
	return s.add(Token{SHA256: hashOf(hash)}, g)
}

func (s *Store) add(t Token, g Grant) (Token, error) {
	if !ValidName(g.Name) {
		return t, fmt.Errorf("%w: the token's name must consist of letters, digits, - and _, and have at most %d characters", ErrInvalid, MaxName)
	}
	t.User, t.UID, t.Service, t.Name, t.Features = g.User, g.UID, g.Service, g.Name, g.Features
	t.Created = time.Now().Unix()
	if !g.Expires.IsZero() {
		t.Expires = g.Expires.Unix()
	}
	err := s.change(func(all []Token) ([]Token, error) {
		own := 0
		for _, other := range all {
			if !owned(other, g.User, g.UID, g.Service) {
				continue
			}
			if other.Name == g.Name {
				return nil, ErrExists
			}
			if other.Expires == 0 || other.Expires > time.Now().Unix() {
				own++
			}
		}
		if own >= MaxEach {
			return nil, fmt.Errorf("%w: a user can have at most %d", ErrFull, MaxEach)
		}
		return append(all, t), nil
	})
	return t, err
}

// List returns the tokens of user, or the tokens of all users if user is "".
func (s *Store) List(user string) ([]Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return nil, err
	}
	var own []Token
	for _, t := range s.tokens {
		if user == "" || t.User == user {
			own = append(own, t)
		}
	}
	return own, nil
}

// owned reports whether t is a token for the given service that belongs to the user called user with the
// given uid.
func owned(t Token, user string, uid int, service Service) bool {
	return t.User == user && t.UID == uid && t.Service == service
}

// Revoke deletes the token called name of the given user and service. It returns ErrNone if there is no such
// token.
func (s *Store) Revoke(user string, uid int, service Service, name string) error {
	return s.change(func(all []Token) ([]Token, error) {
		before := len(all)
		all = slices.DeleteFunc(all, func(t Token) bool { return owned(t, user, uid, service) && t.Name == name })
		if len(all) == before {
			return nil, ErrNone
		}
		return all, nil
	})
}

// RevokeUser deletes the tokens of the user called user, after the account was removed or was given to
// another user. Tokens that were created for the uid in keep are not deleted. If keep is -1, all tokens of
// the user are deleted.
func (s *Store) RevokeUser(user string, keep int) error {
	err := s.change(func(all []Token) ([]Token, error) {
		before := len(all)
		all = slices.DeleteFunc(all, func(t Token) bool { return t.User == user && t.UID != keep })
		if len(all) == before {
			return nil, ErrNone // No token was deleted, so the file need not be written.
		}
		return all, nil
	})
	if errors.Is(err, ErrNone) {
		return nil
	}
	return err
}

// Rename changes the name of a token; name is the old name, to is the new name. It returns ErrNone if there
// is no token with the old name, and ErrExists if the user already has a token with the new name.
func (s *Store) Rename(user string, uid int, service Service, name, to string) error {
	if !ValidName(to) {
		return fmt.Errorf("%w: the token's name must consist of letters, digits, - and _, and have at most %d characters", ErrInvalid, MaxName)
	}
	return s.change(func(all []Token) ([]Token, error) {
		at := -1
		for i, t := range all {
			switch {
			case !owned(t, user, uid, service):
			case t.Name == name:
				at = i
			case t.Name == to:
				return nil, ErrExists
			}
		}
		if at < 0 {
			return nil, ErrNone
		}
		all[at].Name = to
		return all, nil
	})
}

// Find returns the token for the text that a client sent, if it is valid for the given user and service, and ErrNone
// otherwise. Any other error means that the store can't be read. The caller must check that the user still
// has the uid that is stored in the token.
func (s *Store) Find(text, user string, service Service) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return Token{}, err
	}
	t, secret := s.candidate(text, user, service)
	// The hashes are compared even if no token was found, so that the duration does not reveal whether the
	// token's ID exists.
	same := subtle.ConstantTimeCompare([]byte(hashOf(secret)), []byte(t.SHA256)) == 1
	if !same || t.User != user || t.Service != service || t.Expires != 0 && time.Now().Unix() >= t.Expires {
		return Token{}, ErrNone
	}
	return t, nil
}

// candidate finds the token that text may belong to, by its ID or its access hash. It also returns the secret
// part of text, which the caller must still compare with the token's SHA-256. If no token is found, it
// returns a token that belongs to no user.
func (s *Store) candidate(text, user string, service Service) (Token, string) {
	none := Token{SHA256: hashOf("")}
	if len(text) == idLength+secretLength {
		if t, ok := s.byID[text[:idLength]]; ok {
			return t, text[idLength:]
		}
		return none, text[idLength:]
	}
	hash := normalHash(text)
	if !IsAccessHash(hash) {
		return none, hash
	}
	sum := hashOf(hash)
	for _, t := range s.tokens {
		if t.ID == "" && t.User == user && t.Service == service && subtle.ConstantTimeCompare([]byte(t.SHA256), []byte(sum)) == 1 {
			return t, hash
		}
	}
	return none, hash
}

// normalHash removes line breaks and spaces from an access hash, because some clients send them and some do
// not.
func normalHash(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' {
			return -1
		}
		return r
	}, text)
}

// IsAccessHash reports whether text looks like a legacy access hash: an even number of hexadecimal digits,
// from 128 to 4096. The access hashes of cPanel have 928.
func IsAccessHash(text string) bool {
	if len(text) < 128 || len(text) > 4096 || len(text)%2 != 0 {
		return false
	}
	_, err := hex.DecodeString(text)
	return err == nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// randomText returns n random characters of the base 32 alphabet, from a cryptographically secure source.
func randomText(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}
