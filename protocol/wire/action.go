package wire

import (
	"errors"
	"regexp"
	"strings"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// parseAction parses the JSON in a <cpanelaction>. If the JSON is invalid, it returns a RequestUnknown.
func parseAction(raw []byte) Request {
	value, err := strictjson.Decode(raw)
	if errors.Is(err, strictjson.ErrNotUTF8) {
		return unknown(sniff(raw), "the text is not valid UTF-8; send every name and value as UTF-8")
	}
	if err != nil {
		return unknown(sniff(raw), "the action can't be read: "+err.Error())
	}
	object, ok := value.(map[string]any)
	if !ok {
		return unknown(protocol.Call{}, "the action's JSON must be an object")
	}
	var a action
	for _, field := range []struct {
		name string
		to   *string
	}{{"reqtype", &a.reqtype}, {"module", &a.module}, {"func", &a.function}, {"apiversion", &a.version}} {
		if *field.to, ok = optionalText(object[field.name]); !ok {
			return unknown(a.call(), field.name+": must be text")
		}
	}
	return a.request(object["args"])
}

// action contains the fields of a <cpanelaction> that are texts.
type action struct{ reqtype, module, function, version string }

// call returns a call with the fields that are known so far. If the request is invalid, the call selects the
// envelope of the error.
func (a action) call() protocol.Call {
	api, _ := protocol.ParseAPI(a.version)
	return protocol.Call{API: api, Module: a.module, Func: a.function}
}

func (a action) request(rawArgs any) Request {
	switch reqtype := strings.ToLower(a.reqtype); reqtype {
	case "if", "feature":
		// The version is not checked, because a Python client sends an empty apiversion with if and feature.
		return a.special(reqtype, rawArgs)
	case "exec", "":
	default:
		return unknown(a.call(), "reqtype: must be exec, if or feature")
	}
	if a.module == "print" || a.module == "langprint" || a.module == "setvar" {
		return a.special(a.module, rawArgs)
	}
	api, err := protocol.ParseAPI(a.version)
	if err != nil {
		return unknown(a.call(), err.Error())
	}
	call := a.call()
	if a.module == "" || a.function == "" {
		return unknown(call, "module and func: both must be named")
	}
	if call.Args, err = parseArgs(api, rawArgs); err != nil {
		return unknown(call, err.Error())
	}
	return Request{Kind: RequestCall, Call: call}
}

// special returns the special request called name. raw is the argument of the request: a text, or, from some
// clients, a list with the text as its only item.
func (a action) special(name string, raw any) Request {
	if list, ok := raw.([]any); ok && len(list) <= 1 {
		raw = nil
		if len(list) == 1 {
			raw = list[0]
		}
	}
	text, ok := optionalText(raw)
	if !ok {
		r := badTag("")
		r.Special, r.Err.Message = name, "Unknown API request: args: must be a single text"
		return r
	}
	return special(name, text)
}

// parseArgs converts the field args of an action to the arguments of a call. The field is an object for API 2
// and UAPI, a list or a text for API 1, or missing. An empty list is valid for every API, because PHP encodes
// an empty array as a list.
func parseArgs(api protocol.API, raw any) (protocol.Args, error) {
	switch args := raw.(type) {
	case nil:
		return protocol.Args{}, nil
	case map[string]any:
		if api == protocol.API1 && len(args) > 0 {
			return protocol.Args{}, errors.New("args: API 1 needs a list of values, not an object")
		}
		return protocol.Args{Named: args}, nil
	case []any:
		if api != protocol.API1 && len(args) > 0 {
			return protocol.Args{}, errors.New("args: " + api.String() + " needs an object of names and values, not a list")
		}
		return protocol.Args{Positional: args}, nil
	case string:
		if api == protocol.API1 {
			return protocol.Args{Positional: []any{args}}, nil
		}
	}
	return protocol.Args{}, errors.New("args: must be an object of names and values, or, for API 1, a list of values")
}

// optionalText returns a field that must be text. Some clients send a number instead, which becomes text. A
// missing field or null is "". For any other type it returns false.
func optionalText(value any) (string, bool) {
	switch value.(type) {
	case nil:
		return "", true
	case bool:
		return "", false
	}
	return protocol.ScalarText(value)
}

// sniffPattern finds the API, module and function in JSON that can't be decoded. They are used only to choose
// the envelope of the error; such a call never runs.
var sniffPattern = regexp.MustCompile(`"(apiversion|module|func)"\s*:\s*"?([A-Za-z0-9_]{1,64})`)

func sniff(raw []byte) protocol.Call {
	var a action
	for _, m := range sniffPattern.FindAllSubmatch(raw, 16) {
		to := map[string]*string{"apiversion": &a.version, "module": &a.module, "func": &a.function}[string(m[1])]
		if *to == "" {
			*to = string(m[2])
		}
	}
	return a.call()
}
