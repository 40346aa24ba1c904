package files

import (
	"bytes"
	"slices"
	"strconv"
)

// A file of the store has one line a mailbox; its first field, up to a colon, is the local
// part.

// hasLine tells whether a file has a line of a mailbox.
func hasLine(content []byte, name string) bool { return indexLine(content, 0, name) >= 0 }

// lineAt returns the place of the line that begins at start, with its newline.
func lineEnd(content []byte, start int) int {
	if i := bytes.IndexByte(content[start:], '\n'); i >= 0 {
		return start + i + 1
	}
	return len(content)
}

// withLine returns content with a line more at its end.
func withLine(content []byte, line string) []byte {
	out := slices.Grow(slices.Clip(content), len(line)+2)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(append(out, line...), '\n')
}

// withoutLine returns content without the lines of a mailbox.
func withoutLine(content []byte, name string) []byte {
	for at := indexLine(content, 0, name); at >= 0; at = indexLine(content, at, name) {
		content = slices.Concat(content[:at], content[lineEnd(content, at):])
	}
	return content
}

// setLine returns content with a mailbox's line replaced, or added where it has none.
func setLine(content []byte, name, line string) []byte {
	at := indexLine(content, 0, name)
	if at < 0 {
		return withLine(content, line)
	}
	return slices.Concat(content[:at], []byte(line+"\n"), content[lineEnd(content, at):])
}

// eachLine calls do with the first two fields of each line that has a colon.
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

// parseQuota reads the second field of a quota line: bytes. What is no number is no limit.
func parseQuota(field []byte) int64 {
	n, err := strconv.ParseInt(string(field), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// quotaOf returns a mailbox's quota in bytes from a quota file; 0 is no limit.
func quotaOf(content []byte, name string) int64 {
	at := indexLine(content, 0, name)
	if at < 0 {
		return 0
	}
	field, _, _ := bytes.Cut(content[at+len(name)+1:lineEnd(content, at)], []byte{':'})
	return parseQuota(bytes.TrimSpace(field))
}
