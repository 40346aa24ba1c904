package files

import (
	"bytes"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Each of the store's files contains a line for each mailbox. The first field of a line, up to a colon, is
// the local part. All readers and all changes use the types and functions of this file, so the same rules apply
// to all of them:
//
//   - Empty lines, lines without a name, and comments, which begin with '#', do not belong to a mailbox.
//   - A line ends before a NUL byte, and before a CR at its end, as for Dovecot.
//   - Blanks around a field do not belong to it. Dovecot does not find a mailbox by a name with blanks.
//   - Of several lines for a mailbox the first counts, as for Dovecot; lines with blanks around the name come
//     after the others. A change leaves a single line.

// line is a line for a mailbox.
type line struct {
	start, end int    // Its location; end is the offset after its newline.
	name       []byte // The first field without blanks.
	exact      bool   // There are no blanks around the name.
	field      []byte // The second field as it is in the file; nil if there is none.
}

// lineEnd returns the offset after the newline of the line that begins at start. If the last line lacks a
// newline, lineEnd returns the length of content.
func lineEnd(content []byte, start int) int {
	if i := bytes.IndexByte(content[start:], '\n'); i >= 0 {
		return start + i + 1
	}
	return len(content)
}

// isBlank reports whether c is a blank, which does not belong to a field that it surrounds.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' }

// textOf returns a line without its end: a newline, a CR, and everything after a NUL byte.
func textOf(line []byte) []byte {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	return line
}

// lineAt parses the line that begins at start. ok is false if it is not the line of a mailbox.
func lineAt(content []byte, start int) (l line, ok bool) {
	l = line{start: start, end: lineEnd(content, start)}
	name, rest, hasField := bytes.Cut(textOf(content[start:l.end]), []byte{':'})
	for len(name) > 0 && isBlank(name[0]) {
		name = name[1:]
	}
	l.exact = len(name) > 0 && content[start] == name[0] && !isBlank(name[len(name)-1])
	for len(name) > 0 && isBlank(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	if hasField {
		l.field = rest
		if i := bytes.IndexByte(rest, ':'); i >= 0 {
			l.field = rest[:i]
		}
	}
	l.name = name
	return l, len(name) > 0 && name[0] != '#'
}

// each returns the lines for mailboxes in content.
func each(content []byte) iter.Seq[line] {
	return func(yield func(line) bool) {
		for at := 0; at < len(content); {
			l, ok := lineAt(content, at)
			if ok && !yield(l) {
				return
			}
			at = l.end
		}
	}
}

// linesOf returns the lines for the mailbox called name.
func linesOf(content []byte, name string) iter.Seq[line] {
	return func(yield func(line) bool) {
		for at := 0; ; {
			i := bytes.Index(content[at:], []byte(name))
			if i < 0 {
				return
			}
			at += i
			start := at
			for start > 0 && isBlank(content[start-1]) {
				start--
			}
			if start > 0 && content[start-1] != '\n' {
				at++
				continue
			}
			l, ok := lineAt(content, start)
			if ok && string(l.name) == name && !yield(l) {
				return
			}
			at = l.end
		}
	}
}

// before reports whether l counts rather than other, if both are lines for the same mailbox.
func (l line) before(other line) bool {
	if l.exact != other.exact {
		return l.exact
	}
	return l.start < other.start
}

// find returns the line that counts for the mailbox called name, and the other lines for it.
func find(content []byte, name string) (l line, others []line, found bool) {
	for next := range linesOf(content, name) {
		switch {
		case !found:
			l, found = next, true
		case next.before(l):
			l, others = next, append(others, l)
		default:
			others = append(others, next)
		}
	}
	return l, others, found
}

// hasLine reports whether content contains a line for the mailbox called name.
func hasLine(content []byte, name string) bool {
	for range linesOf(content, name) {
		return true
	}
	return false
}

// withLine returns content with a line added at its end.
func withLine(content []byte, line string) []byte {
	out := slices.Grow(slices.Clip(content), len(line)+2)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(append(out, line...), '\n')
}

// withoutLine returns content without any line for the mailbox called name.
func withoutLine(content []byte, name string) []byte {
	return withoutLines(content, map[string]bool{name: true})
}

// setLine replaces the line that counts for the mailbox called name in content by the parameter text, removes its
// other lines, and returns the new content. If there is no such line, setLine adds text at the end.
func setLine(content []byte, name, text string) []byte {
	l, others, found := find(content, name)
	if !found {
		return withLine(content, text)
	}
	edits := []edit{{span{l.start, l.end}, []byte(text + "\n")}}
	for _, other := range others {
		edits = append(edits, edit{span{other.start, other.end}, nil})
	}
	return applyEdits(content, edits, len(text))
}

// parseQuota parses the second field of a line of the quota file and returns bytes; 0 means no limit. If the field
// is not a number, bad is its text.
func parseQuota(field []byte) (bytes int64, bad string) {
	text := store.TrimBlanks(string(field))
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		if text == "" {
			text = "(empty)"
		}
		return 0, text
	}
	return int64(n), ""
}

// quotaOf returns the quota of the mailbox called name from the content of a quota file. A mailbox without a line
// has no limit.
func quotaOf(content []byte, name string) (bytes int64, bad string) {
	l, _, found := find(content, name)
	if !found {
		return 0, ""
	}
	return parseQuota(l.field)
}

// nameSet reports which mailboxes exist: its method has returns true if any of its files contains a line for
// the name, or if add has added the name. The first lookups search the files; from lookup number indexFrom
// on, has uses an index.
type nameSet struct {
	files [][]byte
	asked int
	index map[string]bool
}

func newNames(files ...[]byte) *nameSet { return &nameSet{files: files, index: nil} }

// indexFrom is the number of the lookup at which a nameSet builds an index of all names in its files. For
// fewer lookups, searching the files is faster.
const indexFrom = 8

func (n *nameSet) has(name string) bool {
	if n.asked++; n.asked == indexFrom {
		index := make(map[string]bool)
		for added := range n.index {
			index[added] = true
		}
		for _, content := range n.files {
			for l := range each(content) {
				index[string(l.name)] = true
			}
		}
		n.files, n.index = nil, index
	}
	if n.index[name] {
		return true
	}
	for _, content := range n.files {
		if hasLine(content, name) {
			return true
		}
	}
	return false
}

func (n *nameSet) add(name string) {
	if n.index == nil {
		n.index = make(map[string]bool)
	}
	n.index[name] = true
}

// any returns the local part of the first entry with a name that is already taken, either by a line in the files or
// by an earlier entry.
func (n *nameSet) any(entries []store.Entry) (string, bool) {
	own := make(map[string]bool, len(entries))
	for _, e := range entries {
		if own[e.Localpart] || n.has(e.Localpart) {
			return e.Localpart, true
		}
		own[e.Localpart] = true
	}
	return "", false
}

// appendLines returns content with lines added at its end.
func appendLines(content []byte, lines []string) []byte {
	if len(lines) == 0 {
		return content
	}
	return withLine(content, strings.Join(lines, "\n"))
}

// withoutLines returns content without any line for the mailboxes in gone.
func withoutLines(content []byte, gone map[string]bool) []byte {
	var edits []edit
	if len(gone) <= 2 { // For few names, searching is faster.
		for name := range gone {
			for l := range linesOf(content, name) {
				edits = append(edits, edit{span{l.start, l.end}, nil})
			}
		}
	} else {
		for l := range each(content) {
			if gone[string(l.name)] {
				edits = append(edits, edit{span{l.start, l.end}, nil})
			}
		}
	}
	if len(edits) == 0 {
		return content
	}
	return applyEdits(content, edits, 0)
}
