// Package cpvars expands variables, such as $user and $CPDATA{'PLAN'}, in tags and in the argument of print,
// and evaluates the expressions of cpanelif. It never runs code: an expression is split into words and
// operators before variables are expanded, and the value of a variable is not parsed again. The package does
// not depend on accounts: a function of type Lookup returns the values.
package cpvars

import (
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// Lookup returns the value of the variable called name. key is the text in braces or parentheses after the
// name, or "" if there is none. For an unknown variable, Lookup returns "".
type Lookup func(name, key string) string

// Print returns the output of a print request: text without a pair of quotes around the whole text, and with
// its variables expanded. If text is only the word DOMAIN, Print returns the main domain, because old themes
// expect that.
func Print(text string, lookup Lookup) string {
	text = unquote(strings.TrimSpace(text))
	if text == "DOMAIN" {
		return lookup("domain", "")
	}
	return Expand(text, lookup)
}

// Expand replaces each variable in text by its value. A '$' that does not start a variable stays unchanged.
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

// ExpandArgs returns a copy of args in which the variables in the string values are expanded. It is for calls
// that came as a tag.
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

// variable parses the variable at the start of text. n is the length of the variable in bytes, or 0 if text
// does not start with a variable. The forms are $NAME, $NAME{'key'}, $NAME{"key"}, $NAME{key} and
// $NAME('key'), which appears on a page of cPanel's documentation.
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
		// The search stops after maxKey bytes. Without this limit, a long text of "$a{$a{$a{..." would take
		// quadratic time.
		if end := strings.IndexByte(text[n:min(n+maxKey, len(text))], closing); end > 0 {
			return name, unquote(strings.TrimSpace(text[n+1 : n+end])), n + end + 1
		}
	}
	return name, "", n
}

// maxKey is the maximum length, in bytes, of a key with the braces or parentheses around it.
const maxKey = 256

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// unquote removes a pair of single or double quotes around s, if the quote does not also occur inside.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] || strings.IndexByte(s[1:len(s)-1], s[0]) >= 0 {
		return s
	}
	return s[1 : len(s)-1]
}
