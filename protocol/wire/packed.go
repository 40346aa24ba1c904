package wire

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
)

// MessagePack sessions are this project's own extension of the protocol. A client asks for MessagePack by sending
// EnableMessagePack; the answer to that request is still in text. After that, each frame contains a MessagePack map,
// in both directions:
//
//	client: {"id": 7, "api": 2, "module": "Email", "func": "passwdpop", "args": {...}}
//	        {"id": 8, "tag": "<cpanel print=...>"}
//	host:   {"id": 7, "result": ENVELOPE}
//
// The envelope is the same as in JSON, but strings keep their bytes, even if they are not UTF-8. A client may send
// requests without waiting for answers, and the answers may come in any order; the id shows to which request an
// answer belongs. The shutdown is the same text as in every session, sent as a frame, and ends the session.

// EnableMessagePack is the payload that switches a session to MessagePack.
const EnableMessagePack = `<cpanelmsgpack enable="1">`

// AnswerMessagePackEnabled is the answer to EnableMessagePack, in the form of the session before the switch.
var AnswerMessagePackEnabled = []byte(`{"data":{"result":"msgpack"}}`)

// Packed is a request in a MessagePack session, with the id that its answer must contain.
type Packed struct {
	ID      uint64
	Request Request
}

// ParsePacked parses the payload of a frame in a MessagePack session. Like Parse it returns no error: an
// invalid payload becomes a RequestUnknown. If the id can't be read, ID is 0.
func ParsePacked(frame []byte) Packed {
	if isShutdown(frame) {
		return Packed{Request: Request{Kind: RequestShutdown}}
	}
	value, err := payload.Decode(frame)
	object, ok := value.(map[string]any)
	if err != nil || !ok {
		return Packed{Request: unknown(protocol.Call{}, "the frame is not a MessagePack map within the limits")}
	}
	p := Packed{}
	if p.ID, ok = id(object["id"]); !ok {
		p.Request = unknown(protocol.Call{}, "id: must be a whole number, not negative")
		return p
	}
	if tag, ok := object["tag"].(string); ok {
		p.Request = ParseTag([]byte(tag)).Request
		return p
	}
	p.Request = packedCall(object)
	return p
}

func packedCall(object map[string]any) Request {
	var a action
	nodes := 0
	for _, field := range []struct {
		name string
		to   *string
	}{{"api", &a.version}, {"module", &a.module}, {"func", &a.function}} {
		value, err := plain(object[field.name], &nodes)
		if err != nil {
			return unknown(a.call(), err.Error())
		}
		var ok bool
		if *field.to, ok = optionalText(value); !ok {
			return unknown(a.call(), field.name+": must be text or a number")
		}
	}
	args, err := plain(object["args"], &nodes)
	if err != nil {
		return unknown(a.call(), err.Error())
	}
	if a.version == "1" && (a.module == "if" || a.module == "feature") {
		a.reqtype = a.module
	}
	return a.request(args)
}

func id(value any) (uint64, bool) {
	switch n := value.(type) {
	case int64:
		return uint64(max(n, 0)), n >= 0
	case uint64:
		return n, true
	}
	return 0, false
}

// plain converts a decoded MessagePack value to the types that protocol.Args allows; numbers become
// protocol.Number. It adds the number of keys and values to nodes, and returns an error above
// protocol.MaxFrameNodes.
func plain(value any, nodes *int) (any, error) {
	if *nodes++; *nodes > protocol.MaxFrameNodes {
		return nil, fmt.Errorf("too many names and values: more than %d", protocol.MaxFrameNodes)
	}
	switch v := value.(type) {
	case nil, string, bool:
		return v, nil
	case int64:
		return protocol.Number(strconv.FormatInt(v, 10)), nil
	case uint64:
		return protocol.Number(strconv.FormatUint(v, 10)), nil
	case float64:
		return protocol.Number(strconv.FormatFloat(v, 'g', -1, 64)), nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = plain(v[i], nodes); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			*nodes++
			var err error
			if out[key], err = plain(v[key], nodes); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, errors.New("a value has an unsupported type")
}

// AppendPacked appends a frame with the MessagePack request for call to dst. The answer will contain the same
// id.
func AppendPacked(dst []byte, id uint64, call protocol.Call) ([]byte, error) {
	args := any(call.Args.Named)
	if call.API == protocol.API1 {
		args = call.Args.Positional
	}
	doc, err := payload.Encode(map[string]any{"id": id, "api": int(call.API), "module": call.Module, "func": call.Func, "args": args})
	return AppendFrame(dst, doc), err
}

// AppendPackedAnswer appends a frame with an answer to dst. id is the id of the request. It returns an error
// if a client could not decode the answer.
func AppendPackedAnswer(dst []byte, id uint64, envelope map[string]any) ([]byte, error) {
	doc, err := payload.Encode(map[string]any{"id": id, "result": envelope})
	if err == nil {
		err = payload.WalkNodes(doc, protocol.MaxAnswerNodes) // Reject what ParsePackedAnswer would reject.
	}
	if err != nil {
		return dst, err
	}
	return AppendFrame(dst, doc), nil
}

// ParsePackedAnswer parses the payload of a frame that AppendPackedAnswer wrote.
func ParsePackedAnswer(doc []byte) (answerID uint64, envelope map[string]any, err error) {
	value, err := payload.DecodeNodes(doc, protocol.MaxAnswerNodes)
	if err != nil {
		return 0, nil, err
	}
	object, _ := value.(map[string]any)
	envelope, _ = object["result"].(map[string]any)
	answerID, ok := id(object["id"])
	if !ok || envelope == nil {
		return 0, nil, errors.New("wire: the frame is not an answer")
	}
	return answerID, envelope, nil
}
