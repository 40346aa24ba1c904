// Package cpvars expands the variables that tags and print carry ($user,
// $CPDATA{'PLAN'}) and evaluates the expressions of cpanelif. It runs no code: a text is
// split into words and operators first, and what variables expand to is never split
// again. It knows no account; a Lookup says what a variable is.
package cpvars

import (
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// Lookup returns a variable's value: key is what stands in braces behind the name, "" for
// a plain one. An unknown variable is "".
type Lookup func(name, key string) string

// Print returns what print shows of text: variables expanded, one pair of quotes around
// the whole taken off. The bare word DOMAIN is the main domain, as old themes print it.
func Print(text string, lookup Lookup) string {
	text = unquote(strings.TrimSpace(text))
	if text == "DOMAIN" {
		return lookup("domain", "")
	}
	return Expand(text, lookup)
}

// Expand replaces the variables in text. A '$' that begins none stays.
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

// variable reads a variable at the beginning of text and returns how many bytes it takes;
// 0 where there is none. $NAME, $NAME{'key'}, $NAME{"key"}, $NAME{key} and, as one page of
// the documentation prints it, $NAME('key').
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
		// The search is bounded: a long row of open braces would be searched again for each.
		if end := strings.IndexByte(text[n:min(n+maxKey, len(text))], closing); end > 0 {
			return name, unquote(strings.TrimSpace(text[n+1 : n+end])), n + end + 1
		}
	}
	return name, "", n
}

// maxKey bounds a key with its braces and quotes, in bytes.
const maxKey = 256

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// unquote takes one pair of quotes off that stands around the whole.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] || strings.IndexByte(s[1:len(s)-1], s[0]) >= 0 {
		return s
	}
	return s[1 : len(s)-1]
}
