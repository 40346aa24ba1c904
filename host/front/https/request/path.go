package request

import "strings"

// Kind is the kind of a request's path.
type Kind int

// The kinds.
const (
	Unknown  Kind = iota
	Execute       // /execute/Module/function: UAPI.
	CPanel        // At /json-api/cpanel or /xml-api/cpanel; see call.go.
	Function      // /json-api/NAME or /xml-api/NAME: WHM's own API.
	Login         // /login, for browsers and programs.
	Logout        // /logout
	Page          // Any other valid path: pages and their files.
)

// Path is the result of parsing a request's path.
type Path struct {
	Kind    Kind
	Session string // The session's token (cpsess, ten digits), or "".
	XML     bool   // The client expects XML.
	Module  string // The module; only for Execute.
	Func    string // The function; only for Execute and Function.
	Page    string // Login, Logout, Page: the path without the token.
}

// maxPath is the maximum length of a path in bytes.
const maxPath = 512

// ParsePath parses the path of a request exactly as the client sent it, without the query. If two programs
// could interpret the path differently, because it contains an escape, a doubled slash or a part that begins
// with a dot, the kind of the result is Unknown. No valid path contains these.
func ParsePath(raw string) Path {
	if !isPlain(raw) {
		return Path{}
	}
	var p Path
	rest := raw
	if token, after, ok := strings.Cut(raw[1:], "/"); isSession(token) {
		p.Session = token
		rest = "/" + after
		if !ok {
			rest = "/"
		}
	}
	parts := strings.Split(strings.TrimSuffix(rest[1:], "/"), "/") // Some clients add a slash.
	switch {
	case parts[0] == "execute":
		if len(parts) != 3 || !isName(parts[1]) || !isName(parts[2]) {
			return Path{}
		}
		p.Kind, p.Module, p.Func = Execute, parts[1], parts[2]
	case parts[0] == "json-api", parts[0] == "xml-api":
		if len(parts) != 2 || !isName(parts[1]) {
			return Path{}
		}
		p.XML = parts[0] == "xml-api"
		if parts[1] == "cpanel" {
			p.Kind = CPanel
		} else {
			p.Kind, p.Func = Function, parts[1]
		}
	case rest == "/login", rest == "/login/":
		p.Kind, p.Page = Login, "/login"
	case rest == "/logout", rest == "/logout/":
		p.Kind, p.Page = Logout, "/logout"
	default:
		p.Kind, p.Page = Page, rest
	}
	return p
}

// isPlain reports whether path can be interpreted in only one way.
func isPlain(path string) bool {
	if len(path) == 0 || len(path) > maxPath || path[0] != '/' || strings.Contains(path, "//") || strings.Contains(path, "/.") {
		return false
	}
	for _, c := range []byte(path) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("/_-.", rune(c)) {
			return false
		}
	}
	return true
}

func isSession(part string) bool {
	digits, ok := strings.CutPrefix(part, "cpsess")
	if !ok || len(digits) != 10 {
		return false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// isName reports whether s can be the name of a module or a function.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
