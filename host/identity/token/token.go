// Package token keeps the tokens with which programs call over HTTPS: the user, the permissions and the
// expiry of each. Of the token itself it keeps only the SHA-256. The file is a JSON document that is replaced
// as a whole. If it can't be read completely, no token is valid.
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

// Service is a service that accepts a token.
type Service string

// The services. Webmail users have no tokens.
const (
	CPanel Service = "cpanel"
	WHM    Service = "whm"
)

// Token is the record of a token.
type Token struct {
	ID      string  `json:"id"` // Public; the token begins with it. "" for an access hash.
	User    string  `json:"user"`
	UID     int     `json:"uid"` // The user's uid when the token was created. If the uid changes, it is another user.
	Service Service `json:"service"`
	Name    string  `json:"name"` // The user's name for the token.
	SHA256  string  `json:"sha256"`
	Created int64   `json:"created"`           // Seconds since 1970.
	Expires int64   `json:"expires,omitempty"` // 0 means never.
	// Features are the features that the token may use; null means all features of the account.
	Features []string `json:"features"`
}

// Full reports whether a token may do everything that its user may do.
func (t Token) Full() bool { return t.Features == nil }

// Errors of a store.
var (
	ErrExists  = errors.New("token: the name is taken")
	ErrNone    = errors.New("token: no such token")
	ErrInvalid = errors.New("token: invalid")
	ErrFull    = errors.New("token: too many")
)

const (
	// MaxName limits the length of a name, and MaxEach the number of a user's tokens.
	MaxName = 50
	MaxEach = 200

	idLength     = 12 // From an alphabet of 32 letters and digits: 60 bits, to find the token.
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

// Open returns the store at path, which need not exist.
func Open(path string) *Store { return &Store{path: path} }

// Grant describes a new token.
type Grant struct {
	User     string
	UID      int
	Service  Service
	Name     string
	Expires  time.Time // Zero means never.
	Features []string  // Nil means all.
}

// ValidName reports whether a token may have a name: cPanel's documentation allows letters, digits, - and _,
// at most 50.
func ValidName(name string) bool {
	return name != "" && len(name) <= MaxName && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// Create creates a token and returns it. It can't be shown again.
func (s *Store) Create(g Grant) (string, Token, error) {
	text := randomText(idLength + secretLength)
	t := Token{ID: text[:idLength], SHA256: hashOf(text[idLength:])}
	t, err := s.add(t, g)
	return text, t, err
}

// AddAccessHash adds a legacy access hash, which was created elsewhere, as a user's token.
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

// List returns the tokens of a user, or all tokens if user is "".
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

// owned reports whether a token belongs to a user with this uid.
func owned(t Token, user string, uid int, service Service) bool {
	return t.User == user && t.UID == uid && t.Service == service
}

// Revoke revokes a token of a user.
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

// RevokeUser revokes the tokens of a user that was removed or is another user now. It keeps tokens with the
// uid keep; -1 keeps none.
func (s *Store) RevokeUser(user string, keep int) error {
	err := s.change(func(all []Token) ([]Token, error) {
		before := len(all)
		all = slices.DeleteFunc(all, func(t Token) bool { return t.User == user && t.UID != keep })
		if len(all) == before {
			return nil, ErrNone // There is nothing to write.
		}
		return all, nil
	})
	if errors.Is(err, ErrNone) {
		return nil
	}
	return err
}

// Rename renames a token of a user.
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

// Find returns the token with a text for a user of a service, or ErrNone. It returns another error if the
// store can't be read. The caller checks that the user still has the uid for which the token was created.
func (s *Store) Find(text, user string, service Service) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return Token{}, err
	}
	t, secret := s.candidate(text, user, service)
	// A missing token is compared, too, so that the time does not tell the difference.
	same := subtle.ConstantTimeCompare([]byte(hashOf(secret)), []byte(t.SHA256)) == 1
	if !same || t.User != user || t.Service != service || t.Expires != 0 && time.Now().Unix() >= t.Expires {
		return Token{}, ErrNone
	}
	return t, nil
}

// candidate returns the token that text may be, and the part of text to compare.
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

// normalHash removes line feeds from an access hash, because some clients send them and some do not.
func normalHash(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' {
			return -1
		}
		return r
	}, text)
}

// IsAccessHash reports whether a text has the form of a legacy access hash: hexadecimal digits, of which
// cPanel's has 928.
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

// randomText returns n random letters and digits of base 32.
func randomText(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}
