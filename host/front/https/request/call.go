package request

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// Call is a call that was parsed from a request.
type Call struct {
	User string // The account that the call names, or "".
	protocol.Call
}

// Names of the parameters that select the API, the module, the function and the account at /json-api/cpanel
// and /xml-api/cpanel. Each parameter has several names, and real clients use all of them on both paths.
var (
	userNames    = []string{"cpanel_jsonapi_user", "cpanel_xmlapi_user"}
	versionNames = []string{"cpanel_jsonapi_apiversion", "cpanel_jsonapi_version", "cpanel_jsonapi_funcversion", "cpanel_xmlapi_apiversion", "cpanel_xmlapi_version"}
	moduleNames  = []string{"cpanel_jsonapi_module", "cpanel_xmlapi_module"}
	funcNames    = []string{"cpanel_jsonapi_func", "cpanel_xmlapi_func"}
)

// maxPositional is the maximum number of positional arguments of an API 1 call.
const maxPositional = 64

// Take removes the parameters with the given names, which are aliases of each other. It returns their value
// without surrounding quotes, or "" if none is present. If they have different values, Take returns an error.
func (v Values) Take(names ...string) (value string, err *Error) {
	found := false
	for _, name := range names {
		for _, given := range v[name] {
			text, ok := given.(string)
			if number, isNumber := given.(protocol.Number); isNumber {
				text, ok = string(number), true
			}
			if !ok {
				return "", bad("The ‘%s’ argument must be text.", name)
			}
			if text = unquote(text); found && text != value {
				return "", bad("The ‘%s’ argument is repeated with different values.", name)
			}
			value, found = text, true
		}
		delete(v, name)
	}
	return value, nil
}

func unquote(text string) string {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		return text[1 : len(text)-1]
	}
	return text
}

// Named returns the parameters as named arguments of a function. A repeated parameter becomes a list.
func (v Values) Named() map[string]any {
	named := make(map[string]any, len(v))
	for name, values := range v {
		if len(values) == 1 {
			named[name] = values[0]
		} else {
			named[name] = values
		}
	}
	return named
}

// Of converts the path p, which must be of kind Execute or CPanel, and the parameters v to a call. If Of
// fails, it returns the parts of the call that could be parsed, because the answer with the error needs them.
// bareUser is for requests of kind CPanel from WHM's clients: if bareUser is set and no other parameter names
// the account, the parameter "user" names the account. In all other cases, "user" is an argument of the
// function.
func Of(p Path, v Values, bareUser bool) (Call, *Error) {
	if p.Kind == Execute {
		return Call{Call: protocol.Call{
			API: protocol.UAPI, Module: p.Module, Func: p.Func, Quoted: true, Args: protocol.Args{Named: v.Named()},
		}}, nil
	}
	return ofCPanel(p, v, bareUser)
}

// ofCPanel is Of for the paths /json-api/cpanel and /xml-api/cpanel.
func ofCPanel(p Path, v Values, bareUser bool) (Call, *Error) {
	c := Call{Call: protocol.Call{API: protocol.API2, Quoted: true}}
	if p.XML {
		c.API = protocol.API1
	}
	var problem *Error
	take := func(names ...string) string {
		text, err := v.Take(names...)
		if err != nil && problem == nil {
			problem = err
		}
		return text
	}
	c.Module, c.Func = take(moduleNames...), take(funcNames...)
	version := take(versionNames...)
	if c.User = take(userNames...); c.User == "" && bareUser {
		c.User = take("user")
	}
	_ = take("api.version") // Accepted and ignored: see docs/https.md, Missing.
	if version != "" {
		api, err := protocol.ParseAPI(version)
		if err != nil {
			return c, first(problem, bad("The ‘cpanel_jsonapi_apiversion’ argument must be 1, 2 or 3."))
		}
		c.API = api
	}
	switch {
	case problem != nil:
	case c.Module == "":
		problem = &Error{http.StatusOK, "Provide the ‘cpanel_jsonapi_module’ argument."}
	case c.Func == "":
		problem = &Error{http.StatusOK, "Provide the ‘cpanel_jsonapi_func’ argument."}
	case len(c.Module) > 64 || len(c.Func) > 64:
		problem = bad("The names of modules and functions have at most 64 letters.")
	}
	if problem != nil {
		return c, problem
	}
	if c.API == protocol.API1 {
		c.Args.Positional, problem = v.positional()
		return c, problem
	}
	c.Args.Named = v.Named()
	return c, nil
}

func first(a, b *Error) *Error {
	if a != nil {
		return a
	}
	return b
}

// positional returns the arguments of an API 1 call, which are called arg-0, arg-1 and so on, in the order of
// their numbers. Missing numbers become nil.
func (v Values) positional() ([]any, *Error) {
	var list []any
	for name, values := range v {
		digits, ok := strings.CutPrefix(name, "arg-")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n >= maxPositional || strconv.Itoa(n) != digits {
			return nil, bad("The ‘%s’ argument's number must be from 0 to %d.", protocol.Clip(name, maxShownName), maxPositional-1)
		}
		if len(values) != 1 {
			return nil, bad("The ‘%s’ argument is repeated.", protocol.Clip(name, maxShownName))
		}
		for len(list) <= n {
			list = append(list, nil)
		}
		list[n] = values[0]
	}
	return list, nil
}

// Method reports whether the server accepts the HTTP method for any path.
func Method(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodPost
}
