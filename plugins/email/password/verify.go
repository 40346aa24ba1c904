package password

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"github.com/liveapid/liveapid/protocol"
)

// The owner of a store can write any hash into it, and the parameters in a hash determine how much time and
// memory its verification needs. So Verify rejects hashes whose parameters exceed these limits. Without the
// limits, a bcrypt hash with cost 31 would take more than an hour.
const (
	maxStored      = 512     // Maximum length of a stored hash, in bytes.
	maxShaRounds   = 100_000 //
	maxBcryptCost  = 12
	maxArgonMemory = 64 << 10 // In KiB.
	maxArgonTime   = 3
	maxArgonLanes  = 4
)

// Errors of Verify and Accept.
var (
	ErrScheme = errors.New("password: the scheme of the hash is not supported")
	ErrCost   = errors.New("password: the cost of the hash is over the limit")
)

// kind describes a kind of hash: a pattern that matches its hashes and captures their cost parameters, the
// limits of these parameters, and the decoder.
type kind struct {
	pattern *regexp.Regexp // Each group captures a cost parameter.
	limits  []int          // The limit for each group; an empty group counts as 0.
	decode  func(string) (algorithm.Digest, error)
}

func kinds() []kind {
	const text = `[./A-Za-z0-9]`
	return []kind{
		{regexp.MustCompile(`^\$[56]\$(?:rounds=([1-9][0-9]{3,8})\$)?` + text + `{1,16}\$` + text + `{43,86}$`), []int{maxShaRounds}, shacrypt.Decode},
		{regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$` + text + `{53}$`), []int{maxBcryptCost}, bcrypt.Decode},
		{regexp.MustCompile(`^\$1\$` + text + `{1,8}\$` + text + `{22}$`), nil, md5crypt.Decode},
		{regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})\$[+/A-Za-z0-9]{11,86}\$[+/A-Za-z0-9]{16,86}$`),
			[]int{maxArgonMemory, maxArgonTime, maxArgonLanes}, argon2.Decode},
	}
}

// Verifier verifies passwords against stored hashes: SHA-512 and SHA-256 crypt, bcrypt, MD5 crypt and
// Argon2id, with or without Dovecot's scheme prefix.
type Verifier struct{ kinds []kind }

// NewVerifier returns a verifier.
func NewVerifier() *Verifier { return &Verifier{kinds: kinds()} }

// Verify reports whether password matches the hash in the parameter stored. It returns ErrScheme if the kind
// of the hash is not supported, and ErrCost if the hash exceeds a limit of its kind.
func (v *Verifier) Verify(stored string, password protocol.Secret) (bool, error) {
	hash, err := unwrap(stored)
	if err != nil {
		return false, err
	}
	if len(hash) > maxStored || password.Len() > MaxBytes {
		return false, nil
	}
	digest, costs, err := v.digest(hash)
	if err != nil {
		return false, err
	}
	if sha, ok := digest.(*shacrypt.Digest); ok {
		rounds := costs[0]
		if rounds == 0 {
			rounds = shaRounds
		}
		return matchShaCrypt(sha, hash, password.Reveal(), rounds), nil
	}
	return digest.MatchAdvanced(password.Reveal())
}

// Accept validates a hash that was created elsewhere and returns the form to store, or an error if Verify
// would reject the hash.
func (v *Verifier) Accept(stored string) (string, error) {
	hash, err := unwrap(stored)
	if err != nil {
		return "", err
	}
	if len(hash) > maxStored {
		return "", ErrScheme
	}
	if _, _, err := v.digest(hash); err != nil {
		return "", err
	}
	if strings.HasPrefix(stored, "$argon2") {
		return "{" + string(Argon2ID) + "}" + stored, nil // Dovecot reads Argon2 hashes only with this prefix.
	}
	return stored, nil
}

// digest decodes a hash and returns its cost parameters. It returns an error if the kind of the hash is unknown or
// its cost is over the limit.
func (v *Verifier) digest(hash string) (_ algorithm.Digest, costs []int, _ error) {
	for _, k := range v.kinds {
		groups := k.pattern.FindStringSubmatch(hash)
		if groups == nil {
			continue
		}
		for i, limit := range k.limits {
			n, _ := strconv.Atoi(groups[i+1])
			if n > limit {
				return nil, nil, ErrCost
			}
			costs = append(costs, n)
		}
		digest, err := k.decode(hash)
		if err != nil {
			return nil, nil, ErrScheme // The decoder's error may quote the hash and would be logged.
		}
		return digest, costs, nil
	}
	return nil, nil, ErrScheme
}

// unwrap removes the scheme prefix from a stored hash. Like Dovecot, it accepts the prefix {ARGON2ID} only
// before an Argon2 hash, and every other prefix only before other hashes.
func unwrap(stored string) (string, error) {
	rest, ok := strings.CutPrefix(stored, "{")
	if !ok {
		return stored, nil
	}
	scheme, hash, ok := strings.Cut(rest, "}")
	argon := strings.HasPrefix(hash, "$argon2")
	switch strings.ToUpper(scheme) {
	case "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "BLF-CRYPT":
		ok = ok && !argon
	case "ARGON2ID":
		ok = ok && argon
	default:
		ok = false
	}
	if !ok {
		return "", ErrScheme
	}
	return hash, nil
}
