package protocol

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Check validates the arguments of a call against the parameters of f, and returns the arguments that the
// function receives. The result contains only parameters of f, by name, also for API 1. Numbers become text,
// and the values of secret parameters become a Secret. Other arguments are dropped, as in cPanel, unless f is
// an open function of API 2 or UAPI: such a function receives them unchanged. An error names the invalid
// parameter. Unknown returns the arguments that are dropped.
func (f Function) Check(args Args) (Args, *Error) {
	if f.API == API1 {
		return f.checkPositional(args)
	}
	if len(args.Positional) > 0 {
		return Args{}, NewError(KindInvalid, "The arguments of "+f.Name+" must be sent as names and values, not as a list.")
	}
	out := Args{Named: make(map[string]any, len(f.Params))}
	for _, p := range f.Params {
		check := p.check
		given := args.Named[p.Name]
		if p.List {
			check, given = p.checkList, p.list(args.Named)
		}
		value, err := check(given)
		if err != nil {
			return Args{}, err
		}
		if value != nil {
			out.Named[p.Name] = value
		}
	}
	if f.Open {
		for name, value := range args.Named {
			if !f.names(name) {
				out.Named[name] = value
			}
		}
	}
	return out, nil
}

// Unquote removes double quotes around the values of arguments from a URL, because cPanel's documentation
// prints values in URLs in quotes. Values that may contain a secret are not changed: parameters of type
// TypeSecret and TypeAny, and arguments that an open function does not describe.
func (f Function) Unquote(named map[string]any) map[string]any {
	out := make(map[string]any, len(named))
	for name, value := range named {
		text, ok := value.(string)
		if ok && len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' && !f.takesBytes(name) {
			value = text[1 : len(text)-1]
		}
		out[name] = value
	}
	return out
}

// takesBytes reports whether the function takes the value of param byte for byte, because the value may
// contain a secret. Unquote must not change such a value.
func (f Function) takesBytes(param string) bool {
	for _, p := range f.Params {
		if p.Name == param {
			return p.Type == TypeSecret || p.Type == TypeAny
		}
	}
	return f.Open
}

// names reports whether f describes a parameter called param.
func (f Function) names(param string) bool {
	return slices.ContainsFunc(f.Params, func(p Param) bool {
		return p.Name == param || p.List && p.index(param) >= 0
	})
}

// maxIgnored is the maximum number of arguments that IgnoredWarnings names.
const maxIgnored = 10

// IgnoredWarnings returns a warning for each argument that f does not describe, such as a misspelt one. An open
// function has none, because it receives all arguments. Names that begin with cpanel_ or api. are options of
// the server, and are not named.
func (f Function) IgnoredWarnings(named map[string]any) []string {
	if f.Open {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if f.names(name) || strings.HasPrefix(name, "cpanel_") || strings.HasPrefix(name, "api.") || strings.HasPrefix(name, "api2_") || name == "cache_fix" {
			continue
		}
		if len(out) == maxIgnored {
			return append(out, "Further arguments were ignored, too.")
		}
		out = append(out, "The function has no ‘"+Clip(name, 64)+"’ argument; it was ignored.")
	}
	return out
}

// index returns the index in the name of an argument for a list parameter, such as 3 for command-3, or -1 if
// the name is not of this form.
func (p Param) index(name string) int {
	digits, ok := strings.CutPrefix(name, p.Name+"-")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != digits {
		return -1
	}
	return n
}

// list returns all values that named contains for a list parameter: first those without an index, then the
// others in the order of their indexes. It returns nil if there are none.
func (p Param) list(named map[string]any) any {
	type indexed struct {
		index int
		value any
	}
	var found []indexed
	var out []any
	switch v := named[p.Name].(type) {
	case nil:
	case []any:
		out = append(out, v...)
	default:
		out = append(out, v)
	}
	for name, value := range named {
		if n := p.index(name); n >= 0 {
			found = append(found, indexed{n, value})
		}
	}
	slices.SortFunc(found, func(a, b indexed) int { return a.index - b.index })
	for _, f := range found {
		if more, ok := f.value.([]any); ok && p.Type != TypeAny {
			out = append(out, more...)
			continue
		}
		out = append(out, f.value)
	}
	if out == nil {
		return nil
	}
	return out
}

// checkList validates each value of a list parameter and returns the list, or nil if it is empty.
func (p Param) checkList(given any) (any, *Error) {
	values, _ := given.([]any)
	one := p
	one.Required = false
	out := make([]any, 0, len(values))
	for _, value := range values {
		checked, err := one.check(value)
		if err != nil {
			return nil, err
		}
		if checked != nil && checked != "" {
			out = append(out, checked)
		}
	}
	switch {
	case len(out) == 0 && p.Required:
		return nil, Missing(p.Name)
	case len(out) == 0:
		return nil, nil
	}
	return out, nil
}

// checkPositional validates the positional arguments of API 1. The first argument belongs to the first
// parameter, and so on; the result contains the arguments by name.
func (f Function) checkPositional(args Args) (Args, *Error) {
	out := Args{Named: make(map[string]any, len(f.Params))}
	for i, p := range f.Params {
		var given any
		if i < len(args.Positional) {
			given = args.Positional[i]
		}
		value, err := p.check(given)
		if err != nil {
			return Args{}, err
		}
		if value != nil {
			out.Named[p.Name] = value
		}
	}
	return out, nil
}

// check validates the value of an argument and returns the value that the function receives, or nil if the
// argument is absent.
func (p Param) check(value any) (any, *Error) {
	if p.Type == TypeAny {
		if value == nil && p.Required {
			return nil, Missing(p.Name)
		}
		return value, nil
	}
	var text string
	switch v := value.(type) {
	case nil:
	case string:
		text = v
	case Number:
		text = string(v)
	case bool:
		if p.Type != TypeFlag {
			return nil, p.wrong("a boolean")
		}
		// The documentation allows only 1 and 0 for a flag, but PHP programs send booleans. A boolean is
		// therefore converted to 1 or 0.
		text = "0"
		if v {
			text = "1"
		}
	case []any:
		return nil, p.wrong("a list")
	case map[string]any:
		return nil, p.wrong("an object")
	default:
		return nil, p.wrong("something else")
	}
	if text == "" {
		if p.Required {
			return nil, Missing(p.Name)
		}
		if value == nil {
			return nil, nil
		}
	}
	switch p.Type {
	case TypeSecret:
		return NewSecret(text), nil
	case TypeInteger:
		if text == "" {
			return nil, nil
		}
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil || n == math.MinInt64 {
			return nil, NewError(KindInvalid, "The ‘"+p.Name+"’ argument must be a whole number.")
		}
		return Number(strconv.FormatInt(n, 10)), nil
	case TypeFlag:
		switch strings.ToLower(text) {
		case "", "0", "1":
			return text, nil
		// The documentation allows only 1 and 0, but clients send these words.
		case "true":
			return "1", nil
		case "false":
			return "0", nil
		}
		return nil, NewError(KindInvalid, "The ‘"+p.Name+"’ argument must be 1 or 0.")
	}
	return text, nil
}

func (p Param) wrong(got string) *Error {
	want := "text"
	switch p.Type {
	case TypeInteger:
		want = "a whole number"
	case TypeFlag:
		want = "1 or 0"
	}
	return NewError(KindInvalid, "The ‘"+p.Name+"’ argument must be "+want+", not "+got+".")
}
