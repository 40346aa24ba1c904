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

// ErrList is returned if the list of stolen passwords can't be read.
var ErrList = errors.New("policy: the list of breached passwords")

// hexLen is the length of a SHA-1 in hexadecimal digits.
const hexLen = 2 * sha1.Size

// List is a file of stolen passwords as Have I Been Pwned offers it for download: a line for each password
// with its SHA-1 in hexadecimal digits, optionally followed by a colon and a count, in order. It is searched
// on disk, because it may be large.
type List struct{ path string }

// OpenList opens the list at path. It checks the form of the list once.
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
		return nil, fmt.Errorf("%w: %s: its first line is not a SHA-1 in hexadecimal digits", ErrList, path)
	}
	return &List{path: path}, nil
}

// digest returns the digits of a line, in capitals.
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

// Has reports whether a password is in the list.
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
	// The line, if it exists, begins at or after low and before high.
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
			// No line begins between the two, so the search continues before middle.
			high = middle
			continue
		}
		got, ok := digest(line)
		if !ok {
			return false, fmt.Errorf("%s: byte %d: no line of the list", l.path, start)
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

// lineFrom returns the first line that begins at or after an offset, and the offset of its beginning.
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
			return offset, nil, nil // The last line begins earlier.
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
