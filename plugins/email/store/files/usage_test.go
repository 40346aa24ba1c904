package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// The usages of many mailboxes are those that are read one by one, whatever their directories and files are like.
func TestUsagesAreThoseOfEach(t *testing.T) {
	home := t.TempDir()
	s := New(home)
	mail := filepath.Join(home, "mail/example.com")
	var boxes []store.Address
	add := func(name string, make func(dir string)) {
		dir := filepath.Join(mail, name)
		if make != nil {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "cur"), 0o700))
			make(dir)
		}
		boxes = append(boxes, store.Address{Localpart: name, Domain: "example.com"})
	}
	size := func(dir, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, sizeName), []byte(text), 0o600))
	}
	message := func(dir string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cur", "1,S=483:2,"), []byte("x"), 0o600))
	}
	add("none", nil)
	add("empty", func(string) {})
	add("valid", func(dir string) { size(dir, "1000S\n430 2\n-30 -1\n") })
	add("broken", func(dir string) { size(dir, "what\n"); message(dir) })
	add("long", func(dir string) { size(dir, "0S\n"+strings.Repeat("1 1\n", maxSizeFile/4)); message(dir) })
	add("old", func(dir string) {
		size(dir, "0S\n1 1\n")
		message(dir)
		past := time.Now().Add(-time.Hour)
		require.NoError(t, os.Chtimes(filepath.Join(dir, sizeName), past, past))
	})
	add("linked", func(dir string) {
		message(dir)
		size(dir, "0S\n5 5\n")
		require.NoError(t, os.Link(filepath.Join(dir, sizeName), filepath.Join(dir, "other")))
	})
	add("fifo", func(dir string) { message(dir); require.NoError(t, unix.Mkfifo(filepath.Join(dir, sizeName), 0o600)) })
	add("again", func(dir string) { size(dir, "0S\n7 7\n") })
	boxes = append(boxes, store.Address{Localpart: "valid", Domain: "absent.example"}, boxes[2])
	usages, err := s.Usages(t.Context(), boxes)
	require.NoError(t, err)
	for i, box := range boxes {
		want, err := s.Usage(t.Context(), box)
		require.NoError(t, err)
		require.Equal(t, want, usages[i], box)
	}
	require.Equal(t, int64(400), usages[len(usages)-1].Bytes)

	require.NoError(t, os.Symlink("/etc", filepath.Join(mail, "link")))
	_, err = s.Usages(t.Context(), append(boxes, store.Address{Localpart: "link", Domain: "example.com"}))
	require.ErrorIs(t, err, store.ErrUnsafe)
	var at *store.AtError
	require.ErrorAs(t, err, &at)
	require.Equal(t, "link@example.com", at.At.String())
}
