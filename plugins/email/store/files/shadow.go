package files

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// entry describes a mailbox's line in a shadow file: its location and its hash field. If a file has several
// lines for a mailbox, the first one counts, as for Dovecot, and an edit removes the others. Otherwise a
// suspended login could work again after the first line has been removed.
type entry struct {
	start, end int    // Offsets of the line, without its newline.
	marker     string // Suspends the login, for example "!"; "" if there is none.
	hash       string
	others     []span // Further lines of the same mailbox.
}

// mark returns the marker to keep in front of a new hash.
func (e entry) mark() string {
	if e.hash == "" && e.marker == store.NoPassword {
		return ""
	}
	return e.marker
}

// span is the location of a line, with its newline.
type span struct{ start, end int }

// shadowFields is the number of fields of a line in the format of shadow, in which the third field is the day
// of the last change. In lines of other formats, only the hash is changed.
const shadowFields = 9

// find returns the first line of localpart, or store.ErrNoMailbox.
func find(content []byte, localpart string) (entry, error) {
	at := indexLine(content, 0, localpart)
	if at < 0 {
		return entry{}, store.ErrNoMailbox
	}
	e := entryAt(content, at, localpart)
	for at = indexLine(content, at+1, localpart); at >= 0; at = indexLine(content, at+1, localpart) {
		e.others = append(e.others, span{at, lineEnd(content, at)})
	}
	return e, nil
}

// findAll does the same as find for all mailboxes in hashes, in a single pass over the file. The result
// contains no entry for a mailbox without a line.
func findAll(content []byte, hashes map[string]string) map[string]entry {
	out := make(map[string]entry, len(hashes))
	if len(hashes) == 1 { // For one name, searching is faster.
		for localpart := range hashes {
			if e, err := find(content, localpart); err == nil {
				out[localpart] = e
			}
		}
		return out
	}
	for at := 0; at < len(content); {
		next := lineEnd(content, at)
		if i := bytes.IndexByte(content[at:next], ':'); i >= 0 {
			if _, wanted := hashes[string(content[at:at+i])]; wanted {
				localpart := string(content[at : at+i])
				e, twice := out[localpart]
				if twice {
					e.others = append(e.others, span{at, next})
				} else {
					e = entryAt(content, at, localpart)
				}
				out[localpart] = e
			}
		}
		at = next
	}
	return out
}

// edit is a replacement of a part of a file.
type edit struct {
	span
	text []byte
}

// edits returns the edits that replace e's line by line, and remove its other lines.
func (e entry) edits(line []byte) []edit {
	out := []edit{{span{e.start, e.end}, line}}
	for _, other := range e.others {
		out = append(out, edit{other, nil})
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

// entryAt parses the line of localpart, which begins at the offset at.
func entryAt(content []byte, at int, localpart string) entry {
	end := len(content)
	if i := bytes.IndexByte(content[at:], '\n'); i >= 0 {
		end = at + i
	}
	field := string(content[at+len(localpart)+1 : end])
	if i := strings.IndexByte(field, ':'); i >= 0 {
		field = field[:i]
	}
	marker, hash := splitMarker(strings.TrimSuffix(field, "\r"))
	return entry{start: at, end: end, marker: marker, hash: hash}
}

// indexLine returns the offset of the first line whose first field is name, or -1. It searches at and after
// the offset from.
func indexLine(content []byte, from int, name string) int {
	key := []byte("\n" + name + ":")
	if from == 0 && bytes.HasPrefix(content, key[1:]) {
		return 0
	}
	if i := bytes.Index(content[max(from-1, 0):], key); i >= 0 {
		return max(from-1, 0) + i + 1
	}
	return -1
}

// lockedMark is the mark that cPanel writes in front of every hash of a suspended account.
const lockedMark = "*LOCKED*"

// splitMarker splits a hash field into the marker that suspends the login, and the hash. The marker is
// *LOCKED* if cPanel suspended the account, '!' if this project suspended the mailbox, and often '*' from
// other programs. The prefix of a known scheme, such as {CRYPT}, may precede the marker and stays part of the
// hash. After any other prefix, '!' or '*' may be the beginning of the password, so splitMarker returns no
// marker.
func splitMarker(field string) (marker, hash string) {
	scheme, rest := "", field
	if i := strings.IndexByte(field, '}'); strings.HasPrefix(field, "{") && i > 0 {
		switch strings.ToUpper(field[1:i]) {
		case "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "BLF-CRYPT", "ARGON2ID":
			scheme, rest = field[:i+1], field[i+1:]
		default:
			return "", field
		}
	}
	n := 0
	for n < len(rest) {
		switch {
		case strings.HasPrefix(rest[n:], lockedMark):
			n += len(lockedMark)
		case rest[n] == '!' || rest[n] == '*':
			n++
		default:
			return rest[:n], scheme + rest[n:]
		}
	}
	return rest[:n], scheme + rest[n:]
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
			if strings.Contains(e.marker, lockedMark) {
				failed[localpart] = store.ErrSuspended
				continue
			}
			edits = append(edits, e.edits(changeLine(content[e.start:e.end], e.mark()+hash, day))...)
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
	out := applyEdits(content, edits, len(added)*256)
	for _, line := range added {
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(out, line...)
		out = append(out, '\n')
	}
	return out, failed
}

// changeLine returns line with the second field replaced by hash. If line has the format of shadow and its
// third field is a day, that field is replaced by day. Lines in Dovecot's own format may have the same number
// of fields, but their third field is a uid, and a later field is a directory.
func changeLine(line []byte, hash, day string) []byte {
	fields := bytes.Split(changeHash(line, hash), []byte(":"))
	if len(fields) == shadowFields && len(fields[2]) > 0 && allDigits(fields[2:]) {
		fields[2] = []byte(day)
	}
	return bytes.Join(fields, []byte(":"))
}

// changeHash returns line with the second field replaced by hash. It keeps a CR at the end of the line.
func changeHash(line []byte, hash string) []byte {
	fields := bytes.Split(line, []byte(":"))
	cr := len(fields) == 2 && bytes.HasSuffix(fields[1], []byte("\r"))
	fields[1] = []byte(hash)
	if cr {
		fields[1] = append(fields[1], '\r')
	}
	return bytes.Join(fields, []byte(":"))
}

// allDigits reports whether each field is empty or consists of digits.
func allDigits(fields [][]byte) bool {
	for _, c := range bytes.TrimRight(bytes.Join(fields, nil), "\r") {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
