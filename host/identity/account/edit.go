package account

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Edit changes the file of the account called name in the directory dir. Comments and all other lines stay as
// they are. It returns the contents of the changed file, or ErrNoFile if there is no such file.
func Edit(dir, name string, change Change) (File, error) {
	var f File
	path, err := fileOf(dir, name)
	if err != nil {
		return f, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	changed := edited(string(text), change)
	if err := strictoml.Decode([]byte(changed), &f); err != nil {
		return f, fmt.Errorf("can't change the file %s, so change it by hand: %w", path, err)
	}
	return f, atomicfile.Write(path, []byte(changed), 0o644)
}

// Remove deletes the file of the account called name in the directory dir. It returns ErrNoFile if there is no
// such file.
func Remove(dir, name string) error {
	path, err := fileOf(dir, name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

func fileOf(dir, name string) (string, error) {
	if dir == "" || !ValidName(name) {
		return "", fmt.Errorf("%w: %.60q", ErrNoFile, name)
	}
	path := filepath.Join(dir, name+".toml")
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %.60q", ErrNoFile, name)
	} else if err != nil {
		return "", err
	}
	return path, nil
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
