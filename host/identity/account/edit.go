package account

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/host/config/strictoml"
)

// ErrNoFile is returned if no file defines the account: it does not exist, or comes from another source.
var ErrNoFile = errors.New("account: no file defines the account")

// Change is a change of an account's file: keys at the top of the file, and keys of the table data. Values
// are TOML values, such as "true" or a quoted text. An empty value removes the key.
type Change struct{ Keys, Data map[string]string }

// Suspension returns the change that suspends an account, or that ends the suspension.
func Suspension(on bool, reason string, now time.Time) Change {
	if !on {
		return Change{Keys: map[string]string{"suspended": "", "suspend_reason": "", "suspend_time": ""}}
	}
	keys := map[string]string{"suspended": "true", "suspend_time": strconv.FormatInt(now.Unix(), 10), "suspend_reason": ""}
	if reason != "" {
		keys["suspend_reason"] = Quoted(reason)
	}
	return Change{Keys: keys}
}

// Quoted returns text as a TOML string.
func Quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Edit changes the file of the account called name in the directory dir. Comments, all other lines and the
// file's mode stay as they are. It returns the contents of the changed file, or ErrNoFile if there is no such
// file. Changes of the same directory wait for each other, also those of other processes.
func Edit(dir, name string, change Change) (File, error) {
	var f File
	err := locked(dir, name, func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		changed := []byte(edited(string(text), change))
		if err := errors.Join(strictoml.Decode(changed, &f), change.made(changed)); err != nil {
			return fmt.Errorf("can't change the file %s, so change it by hand: %w", path, err)
		}
		return atomicfile.Write(path, changed, info.Mode().Perm())
	})
	return f, err
}

// Remove deletes the file of the account called name in the directory dir. It returns ErrNoFile if there is no
// such file.
func Remove(dir, name string) error { return locked(dir, name, os.Remove) }

// locked calls change with the path of the account's file, while the directory of accounts is locked.
func locked(dir, name string, change func(path string) error) error {
	if dir == "" || !ValidName(name) {
		return fmt.Errorf("%w: %.60q", ErrNoFile, name)
	}
	path := filepath.Join(dir, name+".toml")
	lock, err := lockDir(dir)
	if err == nil {
		defer func() { _ = lock.Close() }()
		_, err = os.Lstat(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %.60q", ErrNoFile, name)
	}
	if err != nil {
		return err
	}
	return change(path)
}

// made returns an error unless text, the contents of a changed file, has the values of the change. The lines
// of an unusual file, such as one with a text of several lines, may not mean what they look like.
func (c Change) made(text []byte) error {
	var all map[string]any
	if err := toml.Unmarshal(text, &all); err != nil {
		return err
	}
	data, _ := all["data"].(map[string]any)
	for _, part := range []struct {
		wanted map[string]string
		has    map[string]any
	}{{c.Keys, all}, {c.Data, data}} {
		for key, value := range part.wanted {
			var want map[string]any
			if value != "" {
				if err := toml.Unmarshal([]byte("value = "+value), &want); err != nil {
					return err
				}
			}
			if !reflect.DeepEqual(want["value"], part.has[key]) {
				return fmt.Errorf("the key %s is not where it was looked for", key)
			}
		}
	}
	return nil
}

// edited returns text, the contents of an account's file, with the change made: the lines of the changed keys
// are removed, and new lines are added at the beginning of the file and of the table data.
func edited(text string, change Change) string {
	table := "" // The table to which the current line belongs; "" is the top.
	var kept []string
	dataAt := -1 // Index in kept after the header of the table data.
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") {
			table, _, _ = strings.Cut(trimmed, "#")
			table = strings.TrimSpace(table)
		}
		key, _, isPair := strings.Cut(trimmed, "=")
		key = strings.Trim(strings.TrimSpace(key), `"'`)
		_, top := change.Keys[key]
		_, data := change.Data[key]
		if isPair && (table == "" && top || table == "[data]" && data) {
			continue
		}
		kept = append(kept, line)
		if trimmed != "" && table == "[data]" && dataAt < 0 {
			dataAt = len(kept)
		}
	}
	var b strings.Builder
	b.WriteString(pairs(change.Keys))
	data := pairs(change.Data)
	for i, line := range kept {
		b.WriteString(line)
		if i+1 == dataAt {
			b.WriteString(strings.Repeat("\n", count(!strings.HasSuffix(line, "\n"))) + data)
		}
	}
	if dataAt < 0 && data != "" {
		if len(kept) > 0 && !strings.HasSuffix(kept[len(kept)-1], "\n") {
			b.WriteByte('\n')
		}
		b.WriteString("\n[data]\n" + data)
	}
	return b.String()
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pairs returns the lines of keys and values, without the keys that are to be removed.
func pairs(values map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if values[key] != "" {
			b.WriteString(key + " = " + values[key] + "\n")
		}
	}
	return b.String()
}
