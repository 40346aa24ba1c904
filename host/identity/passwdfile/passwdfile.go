// Package passwdfile verifies passwords against a file of hashes. The file consists of lines NAME:HASH, which
// may have further fields, so the file may be /etc/shadow or the output of htpasswd -B. The package does not
// depend on accounts or mailboxes.
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
	// maxFile is the maximum size of the file, and maxPassword the maximum length of a password, both in
	// bytes.
	maxFile     = 16 << 20
	maxPassword = 512
	// maxCost is the maximum cost of a yescrypt hash. A cost of n requires 2^n memory blocks of 128*r bytes.
	maxCost = 16
)

// File is a file of password hashes. Nothing is cached: each call reads the file again, so a change takes
// effect at once. File is safe for concurrent use.
type File struct {
	path    string
	decoder *crypt.Decoder
	slots   chan struct{} // Semaphore for verifications that run at once.

	mu    sync.Mutex
	of    fileState                // State of the file for which kinds and dummy are valid.
	kinds map[string]time.Duration // Duration of a verification, by kind of hash.
	dummy string                   // A hash of the slowest kind, for names without a hash.
}

// fileState identifies a version of the file by its size and checksum.
type fileState struct {
	size  int
	sum   [sha256.Size]byte
	valid bool
}

// Open returns a File for path. The file need not exist; then no name has a password.
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

// Verify reports whether password is the password of name. A failed verification takes as long as the slowest
// kind of hash in the file, whether or not name has a password; it takes less time only if ctx ends. Verify
// returns an error if the file can't be read, or if ctx ends while Verify waits for a slot.
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
		hash = "" // The account is locked, or the kind is not supported.
	}
	if password.Len() == 0 || password.Len() > maxPassword {
		hash = ""
	}
	// A failed verification keeps its slot for the duration of the slowest kind. Otherwise the time that
	// other verifications wait for a slot would reveal the kind of this hash.
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

// Longest returns the duration of a verification with the slowest kind of hash in the file. It implements
// https.Passwords.
func (f *File) Longest() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	longest := time.Duration(0)
	for _, took := range f.kinds {
		longest = max(longest, took)
	}
	return longest
}

// match reports whether hash is a hash of password.
func (f *File) match(hash string, password protocol.Secret) bool {
	if strings.HasPrefix(hash, "$y$") {
		return verifyYescrypt(hash, password)
	}
	digest, err := f.decoder.Decode(hash)
	return err == nil && digest.Match(password.Reveal())
}

// verifiable reports whether hash is of a supported kind and not locked.
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

// Stamp returns a value that changes when the password of name changes, or "" if name has no password. The
// value does not reveal the hash.
func (f *File) Stamp(name string) (string, error) {
	hash, err := f.hashOf(name, time.Now())
	if err != nil || hash == "" {
		return "", err
	}
	sum := sha256.Sum256([]byte(hash))
	return hex.EncodeToString(sum[:]), nil
}

// yescryptSetting reports whether hash is a valid yescrypt hash, Debian's default kind, that does not require
// too much memory.
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
	// An error means that the setting in the hash is not supported. The error is dropped, because its text
	// may contain the hash.
	return err == nil && subtle.ConstantTimeCompare(made, []byte(hash)) == 1
}

// Names returns the names in the file at path, or none if the file does not exist.
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

// own returns ErrForeign if Set must not write the file at path, because a line has more fields than a name
// and a hash.
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

// hashOf returns the hash of name. It returns "" if the file contains no line for name, or if the line says
// that the account has expired. The hash of a locked account is returned unchanged; verifiable rejects it.
func (f *File) hashOf(name string, now time.Time) (string, error) {
	text, err := f.read() // Also for an empty name: read errors must not depend on it.
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
			// Field 8 of shadow(5) is the day on which the account expires, in days since 1970.
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

// Check returns an error if the file at path can't be trusted: it must be a regular file of at most maxFile
// bytes that belongs to root or the host's user and that only its owner can write. A missing file is allowed.
func Check(path string) error {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("passwords %s: %w", path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG, st.Mode&0o022 != 0, st.Size > maxFile, st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("passwords %s: must be a regular file of at most %d bytes that belongs to root or the host's user and that no other user can write", path, maxFile)
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

// ErrForeign is returned by Set for a file that is managed by another program, such as /etc/shadow.
var ErrForeign = errors.New("passwords: the file is managed by another program")

// ErrPassword is the error of Set for a password that can't be stored.
var ErrPassword = fmt.Errorf("the password has more than %d bytes, or contains a line break or NUL byte", maxPassword)

// Set sets the password of name in the file at path. If password is empty, Set deletes the line of name. was
// reports whether the file contained a line of name. Set returns ErrForeign if a line has more fields than a
// name and a hash, as in /etc/shadow: such files must be changed with the system's own tools.
func Set(path, name string, password protocol.Secret) (was bool, err error) {
	line := ""
	if password.Len() > 0 {
		if password.Len() > maxPassword || strings.ContainsAny(password.Reveal(), "\x00\n\r") {
			return false, ErrPassword
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
