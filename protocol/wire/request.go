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
	// RequestUnknown could be read but not understood; Err says why.
	RequestUnknown RequestKind = iota
	// RequestJSON, RequestXML and RequestMessagePack ask for answers in that form.
	RequestJSON
	RequestXML
	RequestMessagePack
	// RequestCall is a call of a module's function.
	RequestCall
	// RequestSpecial is print, langprint, if or feature, as an action or as a tag; Call runs it.
	RequestSpecial
	// RequestShutdown ends the session.
	RequestShutdown
)

// Request is a parsed payload.
type Request struct {
	Kind RequestKind
	// Call is the call of a RequestCall or a RequestSpecial. For RequestUnknown it holds the known parts of
	// API, Module and Func, so that the answer comes in the caller's own envelope.
	Call protocol.Call
	// Special is "print", "langprint", "if" or "feature"; "tag" for a tag that can't be read.
	Special string
	// Err says why the request can't be served, otherwise it is nil.
	Err *protocol.Error
}

// The tags without content. Quotes of attributes and the closing slash vary among clients.
var (
	jsonPattern     = regexp.MustCompile(`^<cpaneljson\s+enable\s*=\s*["']?1["']?\s*/?>$`)
	shutdownPattern = regexp.MustCompile(`^<cpanelxml\s+shutdown\s*=\s*["']?1["']?\s*/?>$`)
	xmlPattern      = regexp.MustCompile(`^<cpanelxml\s+enable\s*=\s*["']?1["']?\s*/?>$`)
	packPattern     = regexp.MustCompile(`^<cpanelmsgpack\s+enable\s*=\s*["']?1["']?\s*/?>$`)
	tagPattern      = regexp.MustCompile(`^<(?:cpanel(?:if|feature)?[\s>]|\?cp)`)
)

func isShutdown(payload []byte) bool { return shutdownPattern.Match(payload) }

// Parse parses a payload. It never fails: a payload that it does not understand is RequestUnknown with the
// reason.
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

// unknown returns a request that was not understood. The text before the colon is the text of cPanel's own
// published test server.
func unknown(call protocol.Call, why string) Request {
	return Request{
		Kind: RequestUnknown, Call: call,
		Err: protocol.NewError(protocol.KindBadRequest, "Unknown API request: "+why),
	}
}

// special returns a request that belongs to no module. The host serves it as a module with the same name.
func special(name, text string) Request {
	if len(text) > protocol.MaxTag { // The values of its variables may be many times as long.
		r := badTag("")
		r.Special, r.Err.Message = name, fmt.Sprintf("Unknown API request: args: the text has %d bytes, at most %d are accepted", len(text), protocol.MaxTag)
		return r
	}
	return Request{Kind: RequestSpecial, Special: name, Call: protocol.Call{
		API: protocol.API1, Module: name, Func: name, Args: protocol.Args{Positional: []any{text}},
	}}
}
