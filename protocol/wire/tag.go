package wire

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// The deprecated tags, which are older than actions:
//
//	<cpanel print="$user">   <cpanel langprint="KEY">   <cpanel setvar="name=value">
//	<cpanel Module="function(arg,arg)">          a call of API 1
//	<cpanelif EXPRESSION>    <cpanelfeature NAME>
//	<?cp Module::function( template, return, return ) name="value" ... ?>   a call of API 2
//
// In the last form, the template is used only if the tag is in a page, and each "return" is the name of a field. If
// the tag is sent by itself, the answer is the envelope of API 2, in which the records contain only these fields.
var (
	attributeTag = regexp.MustCompile(`(?s)^<cpanel\s+([A-Za-z][A-Za-z0-9_]*)\s*=\s*(.*?)\s*/?>$`)
	wordTag      = regexp.MustCompile(`(?s)^<cpanel(if|feature)\s+(.*?)\s*>$`)
	phpStart     = regexp.MustCompile(`^<\?cp\s`)
	phpTag       = regexp.MustCompile(`(?s)^<\?cp\s+([A-Za-z][A-Za-z0-9_]*)::([A-Za-z][A-Za-z0-9_]*)\s*\((.*)$`)
	callPattern  = regexp.MustCompile(`(?s)^(?:([A-Za-z][A-Za-z0-9_]*)::)?([A-Za-z][A-Za-z0-9_]*)\s*\((.*)\)\s*$`)
)

// Tag is a parsed tag: the request to run and, for a <?cp ?> tag, how to show the result in a page.
type Tag struct {
	Request Request
	// Template, Returns and Message are set only for a <?cp ?> tag.
	Template string
	Returns  []string // Names of fields as written, with marks such as '^'.
	Message  string   // The text to show if the function fails or has no data.
}

// ParseTag parses a tag. It returns no error: an invalid tag becomes a RequestUnknown, with the reason in
// Err.
func ParseTag(text []byte) Tag {
	text = bytes.TrimSpace(text)
	if len(text) > protocol.MaxTag { // Bounds the time that the patterns below can take.
		return Tag{Request: badTag(fmt.Sprintf("it has %d bytes, at most %d are accepted", len(text), protocol.MaxTag))}
	}
	if m := wordTag.FindSubmatch(text); m != nil {
		return Tag{Request: special(string(m[1]), string(m[2]))}
	}
	if m := attributeTag.FindSubmatch(text); m != nil {
		return Tag{Request: attributeRequest(string(m[1]), string(m[2]))}
	}
	if phpStart.Match(text) {
		return phpRequest(text)
	}
	return Tag{Request: badTag("this host does not support this tag")}
}

// attributeRequest parses a tag of the form <cpanel NAME="VALUE">.
func attributeRequest(name, value string) Request {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		value = value[1 : len(value)-1]
	}
	switch name {
	case "print", "langprint", "setvar":
		return special(name, value)
	case "include":
		return badTag("include needs a theme, which this host does not have")
	}
	m := callPattern.FindStringSubmatch(value)
	if m == nil {
		return badTag(name + " must be function(argument, ...)")
	}
	call := protocol.Call{API: protocol.API1, Module: name, Func: m[2], Expand: true}
	if m[1] != "" {
		call.Module = m[1]
	}
	for _, arg := range splitList(m[3]) {
		call.Args.Positional = append(call.Args.Positional, unquoted(arg))
	}
	return Request{Kind: RequestCall, Call: call}
}

// phpRequest parses a tag of the form <?cp Module::function(template, returns) parameters ?>.
func phpRequest(text []byte) Tag {
	m := phpTag.FindSubmatch(text)
	body, ok := bytes.CutSuffix(text, []byte("?>"))
	if m == nil || !ok {
		return Tag{Request: badTag("it must read <?cp Module::function( template, returns ) name=\"value\" ?>")}
	}
	_, rest, _ := bytes.Cut(body, []byte("("))
	end := closing(string(rest), true)
	if end < 0 { // Not found: a quote may be an apostrophe, so ignore quotes.
		end = closing(string(rest), false)
	}
	if end < 0 {
		return Tag{Request: badTag("a closing parenthesis is missing")}
	}
	list, after := splitList(string(rest[:end])), string(rest[end+1:])
	t := Tag{}
	if len(list) > maxReturns {
		return Tag{Request: badTag("it lists too many returns")}
	}
	if len(list) > 0 {
		t.Template = strings.TrimSpace(list[0])
		for _, name := range list[1:] {
			t.Returns = append(t.Returns, strings.TrimSpace(name))
		}
	}
	named, message, err := parameters(after)
	if err != nil {
		t.Request = badTag(err.Error())
		return t
	}
	t.Message = message
	for i, name := range t.Columns() {
		named["api2_columns"] = "1"
		named["api2_columns_"+strconv.Itoa(i)] = name
	}
	t.Request = Request{Kind: RequestCall, Call: protocol.Call{
		API: protocol.API2, Module: string(m[1]), Func: string(m[2]), Args: protocol.Args{Named: named}, Expand: true,
	}}
	return t
}

// Columns returns the names of the fields in Returns, without their marks. The host selects these columns of
// the records.
func (t Tag) Columns() []string {
	var out []string
	for _, name := range t.Returns {
		name, _, _ = strings.Cut(name, "::")
		name = strings.TrimLeft(name, "^+")
		if name != "" && !strings.HasPrefix(name, "*") {
			out = append(out, name)
		}
	}
	return out
}

// maxReturns is the maximum number of items in the parentheses of a <?cp ?> tag: the template and the
// returns.
const maxReturns = 64

// closing returns the offset of the ')' that closes a parenthesis opened directly before s, or -1 if there is
// none. If quotes is true, parentheses inside quoted text are ignored.
func closing(s string, quotes bool) int {
	depth, quote := 1, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case quotes && (c == '"' || c == '\''):
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// splitList splits s at commas. It does not split at a comma that is inside quotes, parentheses or braces, or
// that follows a backslash. For an empty text it returns an empty list.
func splitList(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	var out []string
	depth, from, quote := 0, 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		// A quote is an opening quote only at the start of an item; elsewhere it is an apostrophe.
		case (c == '"' || c == '\'') && strings.TrimSpace(s[from:i]) == "":
			quote = c
		case c == '(' || c == '{':
			depth++
		case c == ')' || c == '}':
			depth--
		case c == ',' && depth <= 0:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// unquoted removes the spaces around an argument, and then a pair of quotes around it.
func unquoted(arg string) string {
	arg = strings.TrimSpace(arg)
	if len(arg) >= 2 && (arg[0] == '"' || arg[0] == '\'') && arg[len(arg)-1] == arg[0] {
		return arg[1 : len(arg)-1]
	}
	return arg
}

var parameterPattern = regexp.MustCompile(`^[\s,]*([A-Za-z0-9_.-]+)\s*=\s*("[^"]*"|'[^']*'|[^\s,"']+)`)

// parameters parses the name="value" pairs after the parenthesis of a <?cp ?> tag, and the optional ||
// 'message' at their end.
func parameters(s string) (named map[string]any, message string, err error) {
	named = make(map[string]any)
	for {
		m := parameterPattern.FindStringSubmatch(s)
		if m == nil {
			break
		}
		named[m[1]] = unquoted(m[2])
		s = s[len(m[0]):]
	}
	s = strings.Trim(s, " \t\r\n,")
	if rest, ok := strings.CutPrefix(s, "||"); ok {
		return named, unquoted(rest), nil
	}
	if s != "" {
		return nil, "", errors.New("only name=\"value\" pairs may follow the closing parenthesis")
	}
	return named, "", nil
}

func badTag(why string) Request {
	return Request{
		Kind: RequestUnknown, Special: "tag", Call: protocol.Call{API: protocol.API1},
		Err: protocol.NewError(protocol.KindBadRequest, "The tag can't be read: "+why+"."),
	}
}
