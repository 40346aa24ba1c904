// Package password hashes passwords for a mail store and verifies them: the schemes SHA512-CRYPT, BLF-CRYPT
// and ARGON2ID, as Dovecot reads them. All cryptography comes from go-crypt. The package knows no mailbox and
// no file.
package password

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"github.com/liveapid/liveapid/protocol"
)

// Scheme is a way of hashing, with Dovecot's name.
type Scheme string

// The schemes of new hashes.
const (
	SHA512Crypt Scheme = "SHA512-CRYPT" // cPanel's own.
	BlfCrypt    Scheme = "BLF-CRYPT"
	Argon2ID    Scheme = "ARGON2ID"
)

const (
	// MaxBytes limits a password. libxcrypt, with which Dovecot verifies, rejects 512 bytes and more, so such
	// a mailbox could never log in.
	MaxBytes = 256
	// maxBcrypt is the number of bytes that bcrypt compares, without the NUL at the end. With longer
	// passwords, every password with the same first 72 bytes could log in.
	maxBcrypt = 71

	shaRounds   = 5000 // The default of crypt(3) if a hash names no rounds.
	bcryptCost  = 10
	argonMemory = 64 << 10 // KiB.
	argonTime   = 3
	argonLanes  = 1
)

// Hasher hashes with a scheme.
type Hasher struct {
	scheme Scheme
	prefix string
	hash   algorithm.Hash
	slots  chan struct{} // Hashes at once.
}

// NewHasher returns a hasher; "" means SHA512-CRYPT.
func NewHasher(scheme Scheme) (*Hasher, error) {
	h := &Hasher{scheme: scheme, slots: make(chan struct{}, runtime.NumCPU())}
	var err error
	switch scheme {
	case "", SHA512Crypt:
		// Without a prefix, as in cPanel's files: every program that reads them knows crypt(3).
		h.scheme = SHA512Crypt
		h.hash, err = shacrypt.New(shacrypt.WithVariant(shacrypt.VariantSHA512), shacrypt.WithIterations(shaRounds))
	case BlfCrypt:
		h.prefix = "{BLF-CRYPT}"
		h.hash, err = bcrypt.New(bcrypt.WithVariant(bcrypt.VariantStandard), bcrypt.WithIterations(bcryptCost))
	case Argon2ID:
		h.prefix, h.slots = "{ARGON2ID}", make(chan struct{}, 1)
		h.hash, err = argon2.New(argon2.WithVariantID(), argon2.WithM(argonMemory), argon2.WithT(argonTime), argon2.WithP(argonLanes))
	default:
		return nil, fmt.Errorf("%q is not one of SHA512-CRYPT, BLF-CRYPT and ARGON2ID", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", scheme, err)
	}
	return h, nil
}

// Check returns an error for the caller if password can't be stored so that exactly this password logs in.
func (h *Hasher) Check(password protocol.Secret) *protocol.Error {
	text := password.Reveal()
	most := MaxBytes
	if h.scheme == BlfCrypt {
		most = maxBcrypt
	}
	if len(text) > most {
		return protocol.NewError(protocol.KindInvalid, fmt.Sprintf("The password is too long: at most %d bytes are possible.", most))
	}
	valid := utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
	if !valid {
		return protocol.NewError(protocol.KindInvalid, "The password contains invalid characters.")
	}
	return nil
}

// Hash returns the stored form of password. As many run at once as there are processors; ARGON2ID, which
// needs much memory, runs alone. Others wait, until ctx ends.
func (h *Hasher) Hash(ctx context.Context, password protocol.Secret) (string, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return "", fmt.Errorf("wait to hash: %w", ctx.Err())
	}
	digest, err := h.hash.Hash(password.Reveal())
	if err != nil {
		return "", fmt.Errorf("hash by %s: %w", h.scheme, err)
	}
	return h.prefix + digest.Encode(), nil
}
