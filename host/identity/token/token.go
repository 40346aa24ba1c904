// Package token keeps the tokens by which programs call over HTTPS: whose each is, what it may do
// and until when. Of a token itself it keeps the SHA-256 alone. The file is one JSON document,
// written whole or not at all; one that can't be read to its end is an error, and no token counts.
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

// Service is where a token may be used.
type Service string

// The services. A webmail user has no tokens.
const (
	CPanel Service = "cpanel"
	WHM    Service = "whm"
)

// Token is what is kept of one.
type Token struct {
	ID      string  `json:"id"` // Public; the token begins with it. "" of an access hash.
	User    string  `json:"user"`
	UID     int     `json:"uid"` // The user's, when it was made: with another one it is another user.
	Service Service `json:"service"`
	Name    string  `json:"name"` // The user's own word for it.
	SHA256  string  `json:"sha256"`
	Created int64   `json:"created"`           // Seconds since 1970.
	Expires int64   `json:"expires,omitempty"` // 0 never.
	// Features are those it may use; null is all that the account has.
	Features []string `json:"features"`
}

// Full tells whether a token may do all that its user may.
func (t Token) Full() bool { return t.Features == nil }

// Errors of a store.
var (
	ErrExists  = errors.New("token: the name is taken")
	ErrNone    = errors.New("token: no such token")
	ErrInvalid = errors.New("token: invalid")
	ErrFull    = errors.New("token: too many")
)

const (
	// MaxName bounds a name, and MaxEach a user's tokens.
	MaxName = 50
	MaxEach = 200

	idLength     = 12 // Of 32 letters and digits each: 60 bits, to find it by.
	secretLength = 52 // 260 bits.
)

// Store is the file of tokens.
type Store struct {
	path string

	mu     sync.Mutex
	loaded stamp
	tokens []Token
	byID   map[string]Token
}

// Open returns the store at path, which need not be there yet.
func Open(path string) *Store { return &Store{path: path} }

// Grant is what a new token is for.
type Grant struct {
	User     string
	UID      int
	Service  Service
	Name     string
	Expires  time.Time // Zero never.
	Features []string  // Nil is all.
}

// ValidName tells whether a token may have a name: cPanel's documentation allows letters, digits,
// - and _, at most 50.
func ValidName(name string) bool {
	return name != "" && len(name) <= MaxName && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// Create makes a token and returns it; it can't be had again.
func (s *Store) Create(g Grant) (string, Token, error) {
	text := randomText(idLength + secretLength)
	t := Token{ID: text[:idLength], SHA256: hashOf(text[idLength:])}
	t, err := s.add(t, g)
	return text, t, err
}

// AddAccessHash keeps a legacy access hash, which was made elsewhere, as a user's token.
func (s *Store) AddAccessHash(hash string, g Grant) (Token, error) {
	hash = normalHash(hash)
	if !IsAccessHash(hash) {
		return Token{}, fmt.Errorf("%w: an access hash has some hundred hexadecimal digits", ErrInvalid)
	}
	return s.add(Token{SHA256: hashOf(hash)}, g)
}

func (s *Store) add(t Token, g Grant) (Token, error) {
	if !ValidName(g.Name) {
		return t, fmt.Errorf("%w: a name has letters, digits, - and _, at most %d", ErrInvalid, MaxName)
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
			return nil, fmt.Errorf("%w: a user may have %d", ErrFull, MaxEach)
		}
		return append(all, t), nil
	})
	return t, err
}

// List returns the tokens of a user, or all where user is "".
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

// owned tells whether a token is a user's, as the user is now.
func owned(t Token, user string, uid int, service Service) bool {
	return t.User == user && t.UID == uid && t.Service == service
}

// Revoke ends a token of a user.
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

// RevokeUser ends the tokens of a user who is no more, or is another one now: whose uid is keep, or
// nobody where it is -1.
func (s *Store) RevokeUser(user string, keep int) error {
	err := s.change(func(all []Token) ([]Token, error) {
		before := len(all)
		all = slices.DeleteFunc(all, func(t Token) bool { return t.User == user && t.UID != keep })
		if len(all) == before {
			return nil, ErrNone // Nothing to write.
		}
		return all, nil
	})
	if errors.Is(err, ErrNone) {
		return nil
	}
	return err
}

// Rename gives a token of a user another name.
func (s *Store) Rename(user string, uid int, service Service, name, to string) error {
	if !ValidName(to) {
		return fmt.Errorf("%w: a name has letters, digits, - and _, at most %d", ErrInvalid, MaxName)
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

// Find returns the token that a text is, of a user of a service, or ErrNone; the error is another
// one where the store can't be read. Whether the user still is who had it is the caller's to tell.
func (s *Store) Find(text, user string, service Service) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return Token{}, err
	}
	t, secret := s.candidate(text, user, service)
	// Of one that is not there, too, so that the time tells nothing.
	same := subtle.ConstantTimeCompare([]byte(hashOf(secret)), []byte(t.SHA256)) == 1
	if !same || t.User != user || t.Service != service || t.Expires != 0 && time.Now().Unix() >= t.Expires {
		return Token{}, ErrNone
	}
	return t, nil
}

// candidate returns the token that text may be, and what is to be compared of it.
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

// normalHash takes the line feeds out of an access hash, which clients leave in or take out.
func normalHash(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' {
			return -1
		}
		return r
	}, text)
}

// IsAccessHash tells whether a text has the form of a legacy access hash: hexadecimal digits, of
// which cPanel's has 928.
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

// randomText returns so many random letters and digits of base 32.
func randomText(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}
