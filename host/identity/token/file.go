package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// document is the JSON content of the file of tokens.
type document struct {
	Version int     `json:"version"`
	Tokens  []Token `json:"tokens"`
}

const maxFile = 64 << 20

// stamp identifies a version of the file, so that load reads the file again only after a change.
type stamp struct {
	ino, size    uint64
	mtime, ctime unix.Timespec
	there        bool
}

func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, fmt.Errorf("tokens %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() && st.Uid != 0 || st.Size > maxFile {
		return stamp{}, fmt.Errorf("tokens %s: must be a regular file with mode 600 that belongs to the host's user or root and is not too large", path)
	}
	return stamp{ino: st.Ino, size: uint64(st.Size), mtime: st.Mtim, ctime: st.Ctim, there: true}, nil
}

// load reads the file of tokens if it has changed since the last call. The caller must hold mu.
func (s *Store) load() error {
	now, err := stampOf(s.path)
	if err != nil {
		return err
	}
	if now == s.loaded && s.byID != nil {
		return nil
	}
	var tokens []Token
	if now.there {
		if tokens, err = read(s.path); err != nil {
			return err
		}
	}
	s.loaded, s.tokens, s.byID = now, tokens, make(map[string]Token, len(tokens))
	for _, t := range tokens {
		if t.ID != "" {
			s.byID[t.ID] = t
		}
	}
	return nil
}

// read reads and validates the file at path. A single invalid token makes it return an error instead of any
// tokens.
func read(path string) ([]Token, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	if _, err := strictjson.DecodeNodes(text, maxFile); err != nil { // Stricter than encoding/json: rejects repeated keys.
		return nil, fmt.Errorf("tokens %s: the file is damaged (move the file away to start without tokens): %w", path, err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var d document
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("tokens %s: the file is damaged (move the file away to start without tokens): %w", path, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || d.Version != 1 {
		return nil, fmt.Errorf("tokens %s: the file is damaged, or a newer version of the host wrote it", path)
	}
	seen := make(map[string]bool)
	for _, t := range d.Tokens {
		twice := t.ID != "" && seen[t.ID]
		if seen[t.ID] = true; twice || len(t.SHA256) != 64 || t.User == "" || !ValidName(t.Name) || t.ID != "" && len(t.ID) != idLength ||
			t.Service != CPanel && t.Service != WHM {
			return nil, fmt.Errorf("tokens %s: the file contains an invalid token", path)
		}
	}
	return d.Tokens, nil
}

// change calls edit with a copy of the tokens and writes the result to the file. A file lock serializes the
// changes of several processes.
func (s *Store) change(edit func([]Token) ([]Token, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lock, err := os.OpenFile(s.path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("tokens: lock: %w", err)
	}
	if err := s.load(); err != nil {
		return err
	}
	tokens, err := edit(append([]Token(nil), s.tokens...))
	if err != nil {
		return err
	}
	// cPanel keeps expired tokens until they are revoked. Here, an expired token is deleted after 90 days,
	// because nobody needs to see it in a list any more.
	tokens = slices.DeleteFunc(tokens, func(t Token) bool { return t.Expires != 0 && time.Now().Unix() > t.Expires+90*86400 })
	text, err := json.MarshalIndent(document{Version: 1, Tokens: tokens}, "", " ")
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	if len(text) >= maxFile {
		return fmt.Errorf("%w: with this change, the file of tokens would have %d bytes", ErrFull, len(text))
	}
	return atomicfile.Write(s.path, append(text, '\n'), 0o600)
}
