package passwdfile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// The time of a verification must not tell whether a name has a password. A file may hold several kinds of
// hashes, and some kinds take five times as long as others. So a name without a password is verified against
// a hash of the slowest kind in the file, and Longest returns how long that takes.

// measure measures the kinds of hashes in the file if it has changed. It returns a hash of the slowest kind
// that matches no password.
func (f *File) measure() (dummy string, err error) {
	text, err := f.read()
	if err != nil {
		return "", err
	}
	now := fileState{size: len(text), sum: sha256.Sum256(text), valid: true}
	f.mu.Lock()
	defer f.mu.Unlock() // Other verifications wait meanwhile, because they must not be answered sooner.
	if f.of == now {
		return f.dummy, nil
	}
	samples, err := f.samples(text)
	if err != nil {
		return "", err
	}
	kinds, longest := make(map[string]time.Duration), time.Duration(-1)
	for kind, sample := range samples {
		took, known := f.kinds[kind]
		if !known {
			start := time.Now()
			_ = f.match(sample, protocol.NewSecret("nobody's"))
			took = time.Since(start)
		}
		if kinds[kind] = took; took > longest {
			longest, f.dummy = took, sample
		}
	}
	f.kinds, f.of = kinds, now
	return f.dummy, nil
}

// samples returns a hash of each kind in the file, with a new salt if possible. The result of comparing with
// them is ignored. For an empty file it returns the kind that this program writes.
func (f *File) samples(text []byte) (map[string]string, error) {
	out := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 2 || !f.verifiable(fields[1]) {
			continue
		}
		if kind := kindOf(fields[1]); out[kind] == "" {
			out[kind] = fields[1]
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("passwords %s: %w", f.path, err)
	}
	if len(out) > 0 {
		return out, nil
	}
	hasher, err := newHasher()
	if err != nil {
		return nil, err
	}
	digest, err := hasher.Hash("nobody's")
	if err != nil {
		return nil, fmt.Errorf("password hashes: %w", err)
	}
	hash := digest.Encode()
	return map[string]string{kindOf(hash): hash}, nil
}

// kindOf returns a hash's scheme and cost: the part before its salt.
func kindOf(hash string) string {
	parts := strings.Split(hash, "$")
	switch {
	case len(parts) < 4:
		return hash[:min(len(hash), 2)]
	case strings.HasPrefix(parts[1], "2"): // The salt and the hash of bcrypt are a single word.
		return strings.Join(parts[:3], "$")
	}
	return strings.Join(parts[:len(parts)-2], "$")
}
