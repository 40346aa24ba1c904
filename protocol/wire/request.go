package wire

import (
	"bytes"
	"fmt"
	"regexp"

	"github.com/liveapid/liveapid/protocol"
)

// RequestKind is the kind of a payload.
type RequestKind int

const (
	// RequestUnknown is a payload that was received completely but is not a valid request. Request.Err
	// contains the reason.
	RequestUnknown RequestKind = iota
	// RequestJSON, RequestXML and RequestMessagePack switch the answers of the session to that format.
	RequestJSON
	RequestXML
	RequestMessagePack
	// RequestCall is a call of a module's function.
	RequestCall
	// RequestSpecial is a print, langprint, setvar, if or feature request, sent as an action or as a tag.
	// Request.Call is the call that runs it.
	RequestSpecial
	// RequestShutdown ends the session.
	RequestShutdown
)

// Request is a parsed payload. Which fields are set depends on Kind.
type Request struct {
	Kind RequestKind
	// Call is the call to run for a RequestCall or a RequestSpecial. For a RequestUnknown, Call contains what
	// is known of API, Module and Func, so that the host can send the error in the envelope of the right API.
	Call protocol.Call
	// Special is the name of a special request: "print", "langprint", "setvar", "if" or "feature". For an invalid tag
	// it is "tag".
	Special string
	// Err is the reason why the request can't be served, or nil.
	Err *protocol.Error
}

// Patterns of the tags in a payload. Clients differ in the quotes around attributes and in the closing slash,
// so the patterns accept all forms.
var (
	jsonPattern     = regexp.MustCompile(`^<cpaneljson\s+enable\s*=\s*["']?1["']?\s*/?>$`)
	shutdownPattern = regexp.MustCompile(`^<cpanelxml\s+shutdown\s*=\s*["']?1["']?\s*/?>$`)
	xmlPattern      = regexp.MustCompile(`^<cpanelxml\s+enable\s*=\s*["']?1["']?\s*/?>$`)
	packPattern     = regexp.MustCompile(`^<cpanelmsgpack\s+enable\s*=\s*["']?1["']?\s*/?>$`)
	tagPattern      = regexp.MustCompile(`^<(?:cpanel(?:if|feature)?[\s>]|\?cp)`)
)

func isShutdown(payload []byte) bool { return shutdownPattern.Match(payload) }

// Parse parses the payload of a frame. It returns no error: an invalid payload becomes a RequestUnknown, with
// the reason in Err.
func Parse(payload []byte) Request {
	text := bytes.TrimSpace(payload)
	switch {
	case bytes.HasPrefix(text, []byte(actionOpen)) && bytes.HasSuffix(text, []byte(actionClose)):
		return parseAction(text[len(actionOpen) : len(text)-len(actionClose)])
	case bytes.HasPrefix(text, []byte("<")) && len(text) > protocol.MaxTag:
		return ParseTag(text).Request
	case jsonPattern.Match(text):
		return Request{Kind: RequestJSON}
	case isShutdown(text):
		return Request{Kind: RequestShutdown}
	case xmlPattern.Match(text):
		return Request{Kind: RequestXML}
	case packPattern.Match(text):
		return Request{Kind: RequestMessagePack}
	case tagPattern.Match(text):
		return ParseTag(text).Request
	}
	return unknown(protocol.Call{}, "the frame contains neither <cpanelaction> nor a tag")
}

// unknown returns a RequestUnknown with the given reason. The words "Unknown API request" are those of the
// test server that cPanel published.
func unknown(call protocol.Call, why string) Request {
	return Request{
		Kind: RequestUnknown, Call: call,
		Err: protocol.NewError(protocol.KindBadRequest, "Unknown API request: "+why),
	}
}

// special returns a RequestSpecial. The host runs it like a call to a module and function that are both
// called name.
func special(name, text string) Request {
	if len(text) > protocol.MaxTag { // Limited, because expanding variables can make it longer.
		r := badTag("")
		r.Special, r.Err.Message = name, fmt.Sprintf("Unknown API request: args: the text has %d bytes, at most %d are accepted", len(text), protocol.MaxTag)
		return r
	}
	return Request{Kind: RequestSpecial, Special: name, Call: protocol.Call{
		API: protocol.API1, Module: name, Func: name, Args: protocol.Args{Positional: []any{text}},
	}}
}
