// Package passwdfile verifies the passwords of accounts against a file of hashes: lines NAME:HASH with any
// further fields, so that it can read /etc/shadow and the output of htpasswd -B. It knows no account and no
// mailbox.
package passwdfile

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/protocol"
)

const (
	// maxFile limits the file, and maxPassword a password, in bytes.
	maxFile     = 16 << 20
	maxPassword = 512
	// maxCost limits yescrypt's memory: 2^maxCost blocks of 128*r bytes.
	maxCost = 16
)

// File is a file of hashes. Every call reads it again, so that a change takes effect at once.
type File struct {
	path    string
	decoder *crypt.Decoder
	slots   chan struct{} // Verifications at once.

	mu    sync.Mutex
	of    fileState                // The file state to which kinds and dummy belong.
	kinds map[string]time.Duration // How long a verification of each kind in the file takes.
	dummy string                   // A hash of the slowest kind.
}

// fileState identifies a content of the file.
type fileState struct {
	size  int
	sum   [sha256.Size]byte
	valid bool
}

// Open returns the file at path. If it does not exist, no name has a password.
func Open(path string) (*File, error) {
	decoder, err := crypt.NewDefaultDecoder()
	if err != nil {
		return nil, fmt.Errorf("password hashes: %w", err)
	}
	return &File{path: path, decoder: decoder, slots: make(chan struct{}, max(1, runtime.NumCPU()/2)), kinds: make(map[string]time.Duration)}, nil
}

func newHasher() (algorithm.Hash, error) {
	h, err := shacrypt.New(shacrypt.WithVariant(shacrypt.VariantSHA512), shacrypt.WithIterations(5000))
	if err != nil {
		return nil, fmt.Errorf("password hashes: %w", err)
	}
	return h, nil
}

// Verify reports whether a password belongs to a name. A name without a password takes as long as a name with
// one. Verify returns an error if the file can't be read.
func (f *File) Verify(ctx context.Context, name string, password protocol.Secret) (bool, error) {
	hash, err := f.hashOf(name, time.Now())
	if err != nil {
		return false, err
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("wait to verify a password: %w", ctx.Err())
	}
	dummy, err := f.measure()
	if err != nil {
		return false, err
	}
	if !f.verifiable(hash) {
		hash = "" // It is locked or of an unknown kind.
	}
	if password.Len() == 0 || password.Len() > maxPassword {
		hash = ""
	}
	// The slot is held for the time of the slowest kind: otherwise the wait of others would tell which kind
	// this hash was.
	start := time.Now()
	ok := false
	if hash == "" {
		_ = f.match(dummy, password)
	} else {
		ok = f.match(hash, password)
	}
	if !ok {
		rest := time.NewTimer(f.Longest() - time.Since(start))
		defer rest.Stop()
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
	}
	return ok, nil
}

// Longest implements the HTTPS API's Passwords. It returns how long the slowest kind in the file takes.
func (f *File) Longest() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	longest := time.Duration(0)
	for _, took := range f.kinds {
		longest = max(longest, took)
	}
	return longest
}

// match verifies a password against a hash.
func (f *File) match(hash string, password protocol.Secret) bool {
	if strings.HasPrefix(hash, "$y$") {
		return verifyYescrypt(hash, password)
	}
	digest, err := f.decoder.Decode(hash)
	return err == nil && digest.Match(password.Reveal())
}

// verifiable reports whether a hash is of a supported kind.
func (f *File) verifiable(hash string) bool {
	if strings.HasPrefix(hash, "$y$") {
		return yescryptSetting(hash)
	}
	if hash == "" || hash[0] == '!' || hash[0] == '*' {
		return false
	}
	_, err := f.decoder.Decode(hash)
	return err == nil
}

// Stamp returns a value that changes with a name's password, or "" if the name has none.
func (f *File) Stamp(name string) (string, error) {
	hash, err := f.hashOf(name, time.Now())
	if err != nil || hash == "" {
		return "", err
	}
	sum := sha256.Sum256([]byte(hash))
	return hex.EncodeToString(sum[:]), nil
}

// yescryptSetting reports whether a hash of Debian's default kind needs a sane amount of memory.
func yescryptSetting(hash string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 5 {
		return false
	}
	_, ln, r, err := yescrypt.DecodeSetting([]byte(parts[2]))
	return err == nil && ln <= maxCost && r <= 64
}

func verifyYescrypt(hash string, password protocol.Secret) bool {
	made, err := yescrypt.Hash([]byte(password.Reveal()), []byte(hash))
	// An error means an unknown setting. Its text may quote the hash.
	return err == nil && subtle.ConstantTimeCompare(made, []byte(hash)) == 1
}

// Names returns the names in the file.
func Names(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("passwords: %w", err)
	}
	var names []string
	for _, line := range strings.Split(string(text), "\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// own checks that Set may write a file.
func own(path string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("passwords: %w", err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.Count(line, ":") > 1 {
			return fmt.Errorf("%w: %s", ErrForeign, path)
		}
	}
	return nil
}

// hashOf returns a name's hash, or "" if the name has none, or if it is locked or expired.
func (f *File) hashOf(name string, now time.Time) (string, error) {
	text, err := f.read() // The file is read for an empty name, too, so that an error does not tell whether a name exists.
	if err != nil {
		return "", err
	}
	if name == "" || strings.ContainsAny(name, ":\n\r\x00") {
		return "", nil
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if fields[0] != name || len(fields) < 2 {
			continue
		}
		if len(fields) >= 8 && fields[7] != "" {
			// shadow(5): the day on which the account expires.
			if day, err := strconv.ParseInt(fields[7], 10, 64); err != nil || now.Unix()/86400 >= day {
				return "", nil
			}
		}
		return fields[1], nil
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("passwords %s: %w", f.path, err)
	}
	return "", nil
}

// Check reports whether the file at path can be trusted. A missing file is empty.
func Check(path string) error {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("passwords %s: %w", path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG, st.Mode&0o022 != 0, st.Size > maxFile, st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("passwords %s: it must be a file of at most %d bytes that only root or the host's user can write", path, maxFile)
	}
	return nil
}

func (f *File) read() ([]byte, error) {
	if err := Check(f.path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("passwords: %w", err)
	}
	return text, nil
}

// ErrForeign is returned for a file that another program writes.
var ErrForeign = errors.New("passwords: the file is another program's")

// Set sets the password of a name; an empty password deletes the line. It reports whether the name had a
// line. Files with more fields than a name and a hash, such as /etc/shadow, are rejected: the system has its
// own tools for them.
func Set(path, name string, password protocol.Secret) (was bool, err error) {
	line := ""
	if password.Len() > 0 {
		if password.Len() > maxPassword || strings.ContainsAny(password.Reveal(), "\x00\n\r") {
			return false, fmt.Errorf("a password has at most %d bytes, on one line", maxPassword)
		}
		hasher, err := newHasher()
		if err != nil {
			return false, err
		}
		digest, err := hasher.Hash(password.Reveal())
		if err != nil {
			return false, fmt.Errorf("password hashes: %w", err)
		}
		line = name + ":" + digest.Encode() + "\n"
	}
	if err := own(path); err != nil {
		return false, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return false, fmt.Errorf("passwords: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return false, fmt.Errorf("passwords: lock: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("passwords: %w", err)
	}
	var out strings.Builder
	for _, l := range strings.SplitAfter(string(text), "\n") {
		if strings.HasPrefix(l, name+":") {
			was = true
			continue
		}
		out.WriteString(l)
		if l != "" && !strings.HasSuffix(l, "\n") {
			out.WriteByte('\n')
		}
	}
	out.WriteString(line)
	return was, atomicfile.Write(path, []byte(out.String()), 0o600)
}
