package files

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// entry is a mailbox's line in a shadow file, with its hash field and its other lines, which an edit removes.
// Otherwise a suspended login could work again after the first line has been removed.
type entry struct {
	line
	marks  string // Suspend the login, for example "!"; "" if there are none.
	hash   string
	others []line
}

// entryOf returns the entry of a line.
func entryOf(l line, others []line) entry {
	e := entry{line: l, others: others}
	e.marks, e.hash = store.SplitMarks(string(l.field))
	if !l.exact {
		e.marks = " " + e.marks // Nobody can log in: Dovecot does not find the line.
	}
	return e
}

// entryFor returns the entry of localpart, or store.ErrNoMailbox.
func entryFor(content []byte, localpart string) (entry, error) {
	l, others, found := find(content, localpart)
	if !found {
		return entry{}, store.ErrNoMailbox
	}
	return entryOf(l, others), nil
}

// flags returns the flags that the marks mean.
func (e entry) flags() store.Suspension {
	flags, _ := store.Marked(e.marks, e.hash)
	return flags
}

// mark returns the marks to keep in front of a new hash: all but blanks, and none for a mailbox that only waits
// for a password.
func (e entry) mark() string { return store.KeptMarks(e.marks, e.hash) }

// span is the location of a line, with its newline.
type span struct{ start, end int }

// shadowFields is the number of fields of a line in the format of shadow, in which the third field is the day
// of the last change. In lines of other formats, only the hash is changed.
const shadowFields = 9

// findAll returns the entries of all mailboxes in hashes, in a single pass over the file. The result contains no
// entry for a mailbox without a line.
func findAll(content []byte, hashes map[string]string) map[string]entry {
	out := make(map[string]entry, len(hashes))
	if len(hashes) == 1 { // For one name, searching is faster.
		for localpart := range hashes {
			if e, err := entryFor(content, localpart); err == nil {
				out[localpart] = e
			}
		}
		return out
	}
	lines := make(map[string][]line, len(hashes))
	for l := range each(content) {
		if _, wanted := hashes[string(l.name)]; wanted {
			lines[string(l.name)] = append(lines[string(l.name)], l)
		}
	}
	for localpart, all := range lines {
		slices.SortStableFunc(all, func(a, b line) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		out[localpart] = entryOf(all[0], all[1:])
	}
	return out
}

// edit is a replacement of a part of a file.
type edit struct {
	span
	text []byte
}

// edits returns the edits that replace the hash field of e's line by field, and remove its other lines. If day is
// not "", it becomes the day of the last change, if the line has one.
func (e entry) edits(content []byte, field, day string) []edit {
	out := []edit{{span{e.start, e.end}, changeLine(content[e.start:e.end], string(e.name), field, day)}}
	for _, other := range e.others {
		out = append(out, edit{span{other.start, other.end}, nil})
	}
	return out
}

// applyEdits returns content with the edits made, which must not overlap, and room for extra more bytes.
func applyEdits(content []byte, edits []edit, extra int) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	out := make([]byte, 0, len(content)+len(edits)*128+extra)
	from := 0
	for _, e := range edits {
		out = append(out, content[from:e.start]...)
		out = append(out, e.text...)
		from = e.end
	}
	return append(out, content[from:]...)
}

// setHashes returns content with the hashes of the given mailboxes replaced, and an error for each mailbox
// that can't be changed; both maps have local parts as keys. Everything else except the day of the last
// change is kept byte for byte. If content has no line for a mailbox, setHashes calls known, and adds a line
// if known reports that the mailbox exists.
func setHashes(content []byte, hashes map[string]string, now time.Time, known func(localpart string) (bool, error)) ([]byte, map[string]error) {
	day := strconv.FormatInt(now.Unix()/86400, 10)
	var edits []edit
	var added []string
	failed := make(map[string]error)
	entries := findAll(content, hashes)
	for localpart, hash := range hashes {
		e, found := entries[localpart]
		if found {
			if e.flags().Has(store.Locked) {
				failed[localpart] = store.ErrSuspended
				continue
			}
			edits = append(edits, e.edits(content, e.mark()+hash, day)...)
			continue
		}
		switch exists, err := known(localpart); {
		case err != nil:
			failed[localpart] = err
		case exists:
			added = append(added, localpart+":"+hash+":"+day+"::::::")
		default:
			failed[localpart] = store.ErrNoMailbox
		}
	}
	slices.Sort(added)
	return appendLines(applyEdits(content, edits, len(added)*256), added), failed
}

// unlockAll returns content without the mark of a suspended account, and the number of mailboxes that had it.
func unlockAll(content []byte) ([]byte, int) {
	var edits []edit
	for l := range each(content) {
		if field, was := store.Unlocked(string(l.field)); was {
			// The name keeps its blanks: without them, the line might count rather than another one.
			edits = append(edits, edit{span{l.start, l.end}, changeLine(content[l.start:l.end], "", field, "")})
		}
	}
	if len(edits) == 0 {
		return content, 0
	}
	return applyEdits(content, edits, 0), len(edits)
}

// changeLine returns text, a line with its newline, with the first field replaced by name, unless name is "",
// and the second field replaced by hash. If the line has the format of shadow and its third field is a day, that field is replaced by
// day, unless day is "". Lines in Dovecot's own format may have the same number of fields, but their third field
// is a uid, and a later field is a directory.
func changeLine(text []byte, name, hash, day string) []byte {
	content := textOf(text)
	ending := text[len(content):]
	if i := bytes.IndexByte(ending, 0); i >= 0 { // The text after a NUL byte was never a part of the line.
		ending = ending[len(bytes.TrimRight(ending, "\r\n")):]
	}
	fields := bytes.Split(content, []byte{':'})
	if len(fields) == 1 {
		fields = append(fields, nil)
	}
	fields[1] = []byte(hash)
	if name != "" {
		fields[0] = []byte(name)
	}
	if day != "" && len(fields) == shadowFields && len(fields[2]) > 0 && allDigits(fields[2:]) {
		fields[2] = []byte(day)
	}
	return append(bytes.Join(fields, []byte{':'}), ending...)
}

// allDigits reports whether each field is empty or consists of digits.
func allDigits(fields [][]byte) bool {
	for _, c := range bytes.Join(fields, nil) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
