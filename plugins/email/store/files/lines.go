package files

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Each of the store's files contains a line for each mailbox. The first field of a line, up to a colon, is
// the local part.

// hasLine reports whether content contains a line for the mailbox called name.
func hasLine(content []byte, name string) bool { return indexLine(content, 0, name) >= 0 }

// lineEnd returns the offset after the newline of the line that begins at start. If the last line lacks a
// newline, lineEnd returns the length of content.
func lineEnd(content []byte, start int) int {
	if i := bytes.IndexByte(content[start:], '\n'); i >= 0 {
		return start + i + 1
	}
	return len(content)
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
	for at := indexLine(content, 0, name); at >= 0; at = indexLine(content, at, name) {
		content = slices.Concat(content[:at], content[lineEnd(content, at):])
	}
	return content
}

// setLine replaces the first line of the mailbox called name in content by the parameter line, removes its
// other lines, and returns the new content. If there is no such line, setLine adds line at the end.
func setLine(content []byte, name, line string) []byte {
	at := indexLine(content, 0, name)
	if at < 0 {
		return withLine(content, line)
	}
	return slices.Concat(content[:at], []byte(line+"\n"), withoutLine(content[lineEnd(content, at):], name))
}

// eachLine calls do with the first two fields of each line. It skips comments, and lines without a colon or a
// name.
func eachLine(content []byte, do func(name, value []byte)) {
	for len(content) > 0 {
		end := lineEnd(content, 0)
		name, rest, ok := bytes.Cut(bytes.TrimRight(content[:end], "\r\n"), []byte{':'})
		if ok && len(name) > 0 && name[0] != '#' {
			value, _, _ := bytes.Cut(rest, []byte{':'})
			do(name, value)
		}
		content = content[end:]
	}
}

// parseQuota parses the second field of a line of the quota file and returns bytes. It returns 0, which means
// no limit, if the field is not a valid number.
func parseQuota(field []byte) int64 {
	n, err := strconv.ParseInt(string(field), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// quotaOf returns the quota, from the first line, of the mailbox called name, in bytes, from the content of a quota file; 0 means
// no limit.
func quotaOf(content []byte, name string) int64 {
	at := indexLine(content, 0, name)
	if at < 0 {
		return 0
	}
	field, _, _ := bytes.Cut(content[at+len(name)+1:lineEnd(content, at)], []byte{':'})
	return parseQuota(bytes.TrimSpace(field))
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
			eachLine(content, func(name, _ []byte) { index[string(name)] = true })
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
	if len(gone) <= 2 { // For few names, searching is faster.
		for name := range gone {
			content = withoutLine(content, name)
		}
		return content
	}
	out := make([]byte, 0, len(content))
	for len(content) > 0 {
		end := lineEnd(content, 0)
		name, _, ok := bytes.Cut(content[:end], []byte{':'})
		if !ok || !gone[string(name)] {
			out = append(out, content[:end]...)
		}
		content = content[end:]
	}
	return out
}
