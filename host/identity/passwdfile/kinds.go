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

// The duration of a verification must not reveal whether a name has a password. A file may contain several
// kinds of hashes, and verifying some kinds takes five times as long as others. So the password for a name
// without a hash is compared with a hash of the slowest kind in the file. Longest returns the duration of the
// slowest kind; no verification fails in a shorter time.

// measure returns a hash of the slowest kind in the file. If the file has changed, measure first measures the
// duration of each new kind. The hash may belong to a user of the file, so the caller must ignore whether a
// password matches the hash.
func (f *File) measure() (dummy string, err error) {
	text, err := f.read()
	if err != nil {
		return "", err
	}
	now := fileState{size: len(text), sum: sha256.Sum256(text), valid: true}
	f.mu.Lock()
	defer f.mu.Unlock() // Others wait: without durations, they would fail too early.
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

// samples returns a hash of each kind in the file, keyed by kind. text is the content of the file. If the
// file contains no supported hash, samples returns a new hash of the kind that Set writes.
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

// kindOf returns the kind of a hash, which determines the duration of a verification: the scheme and the
// cost, without the salt and the digest.
func kindOf(hash string) string {
	parts := strings.Split(hash, "$")
	switch {
	case len(parts) < 4:
		return hash[:min(len(hash), 2)]
	case strings.HasPrefix(parts[1], "2"): // In bcrypt, no $ separates the salt from the digest.
		return strings.Join(parts[:3], "$")
	}
	return strings.Join(parts[:len(parts)-2], "$")
}
