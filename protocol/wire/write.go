package wire

import (
	"strconv"

	"github.com/liveapid/liveapid/protocol"
)

// EnableJSON is the payload that switches a session to JSON. A client sends it first.
const EnableJSON = `<cpaneljson enable="1">`

// Shutdown is the payload that ends a session. A client sends it last.
const Shutdown = `<cpanelxml shutdown="1" />`

// AppendAction appends the payload for call, a <cpanelaction>, to dst. Text is written byte for byte, even if
// it is not UTF-8. The host rejects a call with such text, and answers with the envelope of the call's API.
func AppendAction(dst []byte, call protocol.Call) []byte {
	dst = append(dst, actionOpen...)
	dst = append(dst, "\n{\"reqtype\":\"exec\",\"module\":"...)
	dst = appendString(dst, call.Module)
	dst = append(dst, `,"func":`...)
	dst = appendString(dst, call.Func)
	dst = append(dst, `,"apiversion":"`...)
	dst = strconv.AppendInt(dst, int64(call.API), 10)
	dst = append(dst, `","args":`...)
	if call.API == protocol.API1 {
		dst = appendValue(dst, call.Args.Positional)
	} else {
		dst = appendValue(dst, call.Args.Named)
	}
	dst = append(dst, "}\n"...)
	return append(dst, actionClose...)
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(dst, v)
	case protocol.Secret:
		return appendString(dst, v.Reveal())
	case protocol.Number:
		return append(dst, v...)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	case []string:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return appendValue(dst, list)
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, item)
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, name := range (protocol.Args{Named: v}).Names() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, name), ':')
			dst = appendValue(dst, v[name])
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// appendString appends s as a JSON string. It escapes only the characters that JSON forbids, and also '<' and
// '>', so that the text can't contain the closing tag of the action.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c == '<' || c == '>':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
