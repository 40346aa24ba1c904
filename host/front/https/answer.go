package https

import (
	"compress/gzip"
	"encoding/json"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

func stack() string { return string(debug.Stack()) }

// minGzip is the minimum size in bytes of an answer that is compressed.
const minGzip = 1 << 10

// send sends an answer with a body. It compresses the answer if the client accepts gzip and does not use a
// session. Answers to browsers with a session are never compressed: from the size of a compressed answer, an
// attacker could guess parts of its content.
func (q *exchange) send(status int, kind string, body []byte) {
	h := q.w.Header()
	h.Set("Content-Type", kind)
	h.Add("Vary", "Accept-Encoding")
	if len(body) >= minGzip && q.who.session == nil && acceptsGzip(q.r) && q.r.Method != http.MethodHead {
		h.Set("Content-Encoding", "gzip")
		q.w.WriteHeader(status)
		packed := gzip.NewWriter(q.w)
		_, _ = packed.Write(body) // An error means that the client has disconnected.
		_ = packed.Close()
		return
	}
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(body)
	}
}

func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q := strings.ReplaceAll(quality, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}

const (
	jsonKind = "application/json; charset=utf-8"
	xmlKind  = "text/xml; charset=utf-8"
	textKind = "text/plain; charset=utf-8"
	htmlKind = "text/html; charset=utf-8"
)

func (q *exchange) sendJSON(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		q.front.o.Log.Error("can't encode an answer", "error", err.Error())
		status, body = http.StatusInternalServerError, []byte(`{}`)
	}
	q.send(status, jsonKind, append(body, '\n'))
}

// sendXML converts envelopeJSON to XML elements and sends them in a root element called name.
func (q *exchange) sendXML(status int, name string, envelopeJSON []byte) {
	inner, ok := envelope.XML(envelopeJSON, protocol.MaxAnswer)
	if !ok {
		status, inner = http.StatusInternalServerError, []byte("<error>The answer is too large.</error>")
	}
	body := make([]byte, 0, len(inner)+64)
	body = append(body, "<?xml version=\"1.0\" ?>\n<"+name+">"...)
	body = append(body, inner...)
	body = append(body, "</"+name+">\n"...)
	q.send(status, xmlKind, body)
}

// fail answers a request that did not reach an API, for example because of a wrong path or a wrong method.
func (q *exchange) fail(status int, message string) {
	if raw := q.r.RequestURI; q.path.Kind == request.Unknown && (strings.Contains(raw, "/execute") || strings.Contains(raw, "-api/")) {
		q.path.Kind = request.Execute // The path looks like an API's, so the client expects JSON.
	}
	switch q.path.Kind {
	case request.Execute, request.CPanel, request.Function:
		q.refuse(status, message)
	default:
		q.send(status, textKind, []byte(message+"\n"))
	}
}

// refuse answers a request to an API that was rejected before a call was made. The body contains the error in
// the form that all cPanel clients understand, and additionally in the fields that clients of UAPI or of
// WHM's API expect.
func (q *exchange) refuse(status int, message string) {
	body := map[string]any{"cpanelresult": map[string]any{
		"apiversion": "2", "error": message, "type": "text", "data": map[string]any{"reason": message, "result": "0"},
	}}
	switch q.path.Kind {
	case request.Page, request.Login, request.Logout, request.Unknown:
		q.send(status, textKind, []byte(message+"\n"))
		return
	case request.Execute:
		body["status"], body["errors"], body["data"], body["messages"], body["warnings"] = 0, []string{message}, nil, nil, nil
		body["metadata"] = map[string]any{}
	case request.Function:
		body["metadata"] = map[string]any{"version": 1, "command": q.path.Func, "reason": message, "result": 0}
		body["status"], body["statusmsg"] = 0, message
	}
	if q.path.XML {
		text, _ := json.Marshal(map[string]any{"cpanelresult": body["cpanelresult"]}) // Can't fail: the map contains only texts.
		q.sendXML(status, "cpanelresult", text)
		return
	}
	q.sendJSON(status, body)
}
