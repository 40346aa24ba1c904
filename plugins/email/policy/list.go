package policy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // The list's format; it protects nothing.
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// ErrList is returned if the list of stolen passwords can't be read or has the wrong format.
var ErrList = errors.New("policy: read the list of breached passwords")

// hexLen is the number of hexadecimal digits of a SHA-1 hash.
const hexLen = 2 * sha1.Size

// List is a file of stolen passwords, in the format that Have I Been Pwned offers for download: sorted lines,
// each with the SHA-1 hash of a password in hexadecimal digits, optionally followed by a colon and a count.
// The file may be large, so it is searched on disk and not loaded.
type List struct{ path string }

// OpenList returns the list in the file at path. It checks that the file can be read and that its first line
// has the right format. The list does not keep the file open: Has opens it at each call.
func OpenList(path string) (*List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	defer func() { _ = f.Close() }()
	line, err := bufio.NewReaderSize(f, 256).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	if _, ok := digest([]byte(line)); !ok {
		return nil, fmt.Errorf("%w: %s: the first line does not begin with a SHA-1 hash in hexadecimal digits", ErrList, path)
	}
	return &List{path: path}, nil
}

// digest returns the hexadecimal digits of a line in upper case; ok is false if the line does not begin with
// a SHA-1 hash.
func digest(line []byte) (string, bool) {
	hash, _, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
	if len(hash) != hexLen {
		return "", false
	}
	if _, err := hex.DecodeString(hash); err != nil {
		return "", false
	}
	return strings.ToUpper(hash), true
}

// Has reports whether the list contains password. It uses a binary search over the byte offsets of the file.
func (l *List) Has(ctx context.Context, password protocol.Secret) (bool, error) {
	sum := sha1.Sum([]byte(password.Reveal())) //nolint:gosec // As above.
	want := strings.ToUpper(hex.EncodeToString(sum[:]))
	f, err := os.Open(l.path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	// Invariant of the binary search: if the list contains the wanted hash, its line begins at an offset that
	// is at least low and less than high.
	low, high := int64(0), info.Size()
	for low < high {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		middle := low + (high-low)/2
		start, line, err := lineFrom(f, middle)
		if err != nil {
			return false, err
		}
		if start >= high || line == nil {
			// No line begins at or after middle and before high, so the search continues before middle.
			high = middle
			continue
		}
		got, ok := digest(line)
		if !ok {
			return false, fmt.Errorf("%s: the line at byte %d does not begin with a SHA-1 hash", l.path, start)
		}
		switch {
		case got == want:
			return true, nil
		case got < want:
			low = start + int64(len(line))
		default:
			high = middle
		}
	}
	return false, nil
}

// lineFrom returns the offset of the first line that begins at or after the parameter offset, and that line.
// If there is no such line, the returned line is nil.
func lineFrom(f *os.File, offset int64) (int64, []byte, error) {
	const longest = 128
	from := max(offset-1, 0)
	buf := make([]byte, 2*longest)
	n, err := f.ReadAt(buf, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, nil, err
	}
	buf = buf[:n]
	start := 0
	if offset > 0 {
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			return offset, nil, nil // No line begins at or after offset.
		}
		start = end + 1
	}
	line := buf[start:]
	if len(line) == 0 {
		return offset, nil, nil
	}
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end+1]
	}
	return from + int64(start), line, nil
}
