package password

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/go-crypt/x/crypt"
)

const (
	shaPrefix = "$6$"
	// saltLength is the number of characters of a salt, the maximum of crypt(3). saltCharacters has 64 characters,
	// so that 6 random bits select one of them.
	saltLength     = 16
	saltCharacters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newShaCrypt hashes a password with SHA512-CRYPT and a new salt.
func newShaCrypt(password string) string {
	input := make([]byte, saltLength+len(password)) // The salt, and the password.
	salt := input[:saltLength]
	_, _ = rand.Read(salt) // It never returns an error.
	for i, b := range salt {
		salt[i] = saltCharacters[b&63]
	}
	copy(input[saltLength:], password)
	key := shaKey(sha512.New, input[saltLength:], salt, shaRounds)
	var out strings.Builder
	out.Grow(len(shaPrefix) + saltLength + 1 + len(key))
	out.WriteString(shaPrefix)
	out.Write(salt)
	out.WriteByte('$')
	out.Write(key)
	return out.String()
}

// matchShaCrypt reports whether a password has the given hash of SHA512-CRYPT or SHA256-CRYPT with the given number
// of rounds.
func matchShaCrypt(digest *shacrypt.Digest, stored, password string, rounds int) bool {
	function := sha512.New
	if !strings.HasPrefix(stored, shaPrefix) {
		function = sha256.New
	}
	return subtle.ConstantTimeCompare(digest.Key(), shaKey(function, []byte(password), digest.Salt(), rounds)) == 1
}

// shaKey computes the last field of a hash. The library asks for the sum of its hash function after each of the
// 5,000 rounds, and a sum is a new piece of memory each time. So shaKey gives it hash functions that reuse the
// memory.
func shaKey(function func() hash.Hash, password, salt []byte, rounds int) []byte {
	reused := make([]reusing, 0, 2) // The library uses two hash functions for one key.
	return crypt.KeySHACrypt(func() hash.Hash {
		if len(reused) == cap(reused) {
			return function()
		}
		reused = append(reused, reusing{Hash: function()})
		return &reused[len(reused)-1]
	}, password, salt, rounds)
}

// reusing is a hash function whose sums share their memory, but for the first ones: the library keeps the sums
// that it takes before the rounds, at most three of each function, and those of the rounds only until the next.
type reusing struct {
	hash.Hash
	sums [4][sha512.Size]byte
	next int
}

// Sum implements hash.Hash. If b is nil, the sum is valid until Sum is called again, but for the first three sums,
// which stay valid.
func (r *reusing) Sum(b []byte) []byte {
	if b == nil {
		b = r.sums[r.next][:0]
		r.next = min(r.next+1, len(r.sums)-1)
	}
	return r.Hash.Sum(b)
}
