// Package cpvars expands variables in tags and in print ($user, $CPDATA{'PLAN'}) and evaluates the
// expressions of cpanelif. It runs no code: a text is split into words and operators first, and the value of
// a variable is never split again. It knows no account; a Lookup returns the values.
package cpvars

import (
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// Lookup returns a variable's value. key is the text in braces after the name, or "". An unknown variable is
// "".
type Lookup func(name, key string) string

// Print returns the output of print for text: variables are expanded, and a pair of quotes around the whole
// text is removed. The bare word DOMAIN is the main domain, as old themes print it.
func Print(text string, lookup Lookup) string {
	text = unquote(strings.TrimSpace(text))
	if text == "DOMAIN" {
		return lookup("domain", "")
	}
	return Expand(text, lookup)
}

// Expand replaces the variables in text. A '$' that begins no variable stays.
func Expand(text string, lookup Lookup) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		name, key, n := variable(text[i:])
		if n == 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(lookup(name, key))
		i += n
	}
	return b.String()
}

// ExpandArgs expands the variables in the arguments of a call that came as a tag.
func ExpandArgs(args protocol.Args, lookup Lookup) protocol.Args {
	out := protocol.Args{}
	if args.Named != nil {
		out.Named = make(map[string]any, len(args.Named))
	}
	for name, value := range args.Named {
		out.Named[name] = expandValue(value, lookup)
	}
	for _, value := range args.Positional {
		out.Positional = append(out.Positional, expandValue(value, lookup))
	}
	return out
}

func expandValue(value any, lookup Lookup) any {
	if text, ok := value.(string); ok {
		return Expand(text, lookup)
	}
	return value
}

// variable reads a variable at the beginning of text and returns its length in bytes, or 0 if there is none.
// The forms are $NAME, $NAME{'key'}, $NAME{"key"}, $NAME{key} and $NAME('key'), which a page of the
// documentation has.
func variable(text string) (name, key string, n int) {
	if len(text) < 2 || text[0] != '$' || !isWord(text[1]) || isDigit(text[1]) {
		return "", "", 0
	}
	n = 1
	for n < len(text) && isWord(text[n]) {
		n++
	}
	name = text[1:n]
	if n < len(text) && (text[n] == '{' || text[n] == '(') {
		closing := map[byte]byte{'{': '}', '(': ')'}[text[n]]
		// The search is limited: otherwise a long row of open braces would take quadratic time.
		if end := strings.IndexByte(text[n:min(n+maxKey, len(text))], closing); end > 0 {
			return name, unquote(strings.TrimSpace(text[n+1 : n+end])), n + end + 1
		}
	}
	return name, "", n
}

// maxKey limits a key with its braces and quotes, in bytes.
const maxKey = 256

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// unquote removes a pair of quotes around the whole text.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] || strings.IndexByte(s[1:len(s)-1], s[0]) >= 0 {
		return s
	}
	return s[1 : len(s)-1]
}
