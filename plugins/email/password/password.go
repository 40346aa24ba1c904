// Package password hashes passwords for a mail store and verifies them. It creates hashes of the schemes
// SHA512-CRYPT, BLF-CRYPT and ARGON2ID, in the form that Dovecot reads. All cryptography comes from go-crypt.
// The package does not access mailboxes or files.
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

	"github.com/liveapid/liveapid/protocol"
)

// Scheme is Dovecot's name of a hashing method.
type Scheme string

// The schemes that are available for new hashes.
const (
	SHA512Crypt Scheme = "SHA512-CRYPT" // The scheme that cPanel uses.
	BlfCrypt    Scheme = "BLF-CRYPT"
	Argon2ID    Scheme = "ARGON2ID"
)

const (
	// MaxBytes is the maximum length of a password, in bytes. Dovecot verifies passwords with libxcrypt,
	// which rejects passwords of 512 bytes and more, so nobody could log in with such a password. MaxBytes is
	// well below that limit.
	MaxBytes = 256
	// maxBcrypt is the maximum length of a password for bcrypt, in bytes. bcrypt compares only the first 72
	// bytes, including the NUL at the end. With a longer password, every other password with the same first
	// 72 bytes could log in, too.
	maxBcrypt = 71

	shaRounds   = 5000 // The default of crypt(3) for a hash without rounds.
	bcryptCost  = 10
	argonMemory = 64 << 10 // In KiB.
	argonTime   = 3
	argonLanes  = 1
)

// Hasher hashes new passwords with a scheme. Its methods may be called concurrently.
type Hasher struct {
	scheme Scheme
	prefix string
	hash   func(password string) (string, error)
	slots  chan struct{} // A semaphore: its capacity limits concurrent hashing.
}

// NewHasher returns a hasher for the given scheme; "" means SHA512-CRYPT.
func NewHasher(scheme Scheme) (*Hasher, error) {
	h := &Hasher{scheme: scheme, slots: make(chan struct{}, runtime.NumCPU())}
	var library algorithm.Hash
	var err error
	switch scheme {
	case "", SHA512Crypt:
		// Hashes of this scheme are stored without a scheme prefix, as in cPanel's files, because every
		// program that reads those files supports crypt(3) hashes.
		h.scheme = SHA512Crypt
		h.hash = func(password string) (string, error) { return newShaCrypt(password), nil }
		return h, nil
	case BlfCrypt:
		h.prefix = "{BLF-CRYPT}"
		library, err = bcrypt.New(bcrypt.WithVariant(bcrypt.VariantStandard), bcrypt.WithIterations(bcryptCost))
	case Argon2ID:
		h.prefix, h.slots = "{ARGON2ID}", make(chan struct{}, 1)
		library, err = argon2.New(argon2.WithVariantID(), argon2.WithM(argonMemory), argon2.WithT(argonTime), argon2.WithP(argonLanes))
	default:
		return nil, fmt.Errorf("%q is not one of SHA512-CRYPT, BLF-CRYPT and ARGON2ID", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", scheme, err)
	}
	h.hash = func(password string) (string, error) {
		digest, err := library.Hash(password)
		if err != nil {
			return "", err
		}
		return digest.Encode(), nil
	}
	return h, nil
}

// Check rejects a password that the mail server would not accept at a login, or that bcrypt would truncate,
// so that other passwords would match its hash. The error's message is meant for the caller.
func (h *Hasher) Check(password protocol.Secret) *protocol.Error {
	text := password.Reveal()
	most := MaxBytes
	if h.scheme == BlfCrypt {
		most = maxBcrypt
	}
	if len(text) > most {
		return protocol.NewError(protocol.KindInvalid, fmt.Sprintf("The password is too long: at most %d bytes are allowed.", most))
	}
	valid := utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
	if !valid {
		return protocol.NewError(protocol.KindInvalid, "The password contains invalid characters.")
	}
	return nil
}

// Hash returns the hash of password in the form that a store keeps. The number of concurrent calculations is
// limited to the number of processors, and to 1 for ARGON2ID, which needs much memory. A further call waits
// for its turn, or returns an error when ctx ends.
func (h *Hasher) Hash(ctx context.Context, password protocol.Secret) (string, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return "", fmt.Errorf("wait for other password hashes: %w", ctx.Err())
	}
	hash, err := h.hash(password.Reveal())
	if err != nil {
		return "", fmt.Errorf("hash the password with %s: %w", h.scheme, err)
	}
	return h.prefix + hash, nil
}
