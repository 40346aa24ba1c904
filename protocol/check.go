package protocol

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Check validates a call's arguments against f's parameters and returns the arguments for f: only its own
// parameters, numbers as text, secrets wrapped. Unknown arguments are dropped, as cPanel ignores them, unless
// f is open. The error names the parameter.
func (f Function) Check(args Args) (Args, *Error) {
	if f.API == API1 {
		return f.checkPositional(args)
	}
	if len(args.Positional) > 0 {
		return Args{}, NewError(KindInvalid, "The arguments of "+f.Name+" have names: send them as name and value.")
	}
	out := Args{Named: make(map[string]any, len(f.Params))}
	for _, p := range f.Params {
		value, err := p.check(args.Named[p.Name])
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

// Unquote removes double quotes around values, as the documentation prints them in URLs. Values that may be
// secret stay byte for byte: secrets, nested values, and undescribed arguments of an open function.
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

// takesBytes reports whether a parameter's value is taken byte for byte.
func (f Function) takesBytes(param string) bool {
	for _, p := range f.Params {
		if p.Name == param {
			return p.Type == TypeSecret || p.Type == TypeAny
		}
	}
	return f.Open
}

// names reports whether a parameter is described.
func (f Function) names(param string) bool {
	return slices.ContainsFunc(f.Params, func(p Param) bool { return p.Name == param })
}

// checkPositional gives API 1's arguments the names of the parameters in order.
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

// check returns the value for the function, or nil if the argument is absent.
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
		// The documentation only has 1 and 0, but PHP programs send booleans.
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
		switch text {
		case "", "0", "1":
			return text, nil
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
