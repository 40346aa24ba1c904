package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	answerOpen  = "<?xml version=\"1.0\" ?>\n<cpanelresult>"
	answerClose = "</cpanelresult>"
)

// Answers to requests that only change or end the session. Their text is always the same.
var (
	AnswerJSONEnabled = []byte(`{"data":{"result":"json"}}`)
	AnswerXMLEnabled  = []byte(`{"data":{"result":"xml"}}`) // Sent in XML form.
	AnswerShutdown    = []byte(`{"data":{"result":"shutdown"}}`)
)

// ErrAnswer is returned for an answer that contains a raw newline, a raw '<' in JSON, or the closing marker
// in XML. Clients search for the closing marker and would read only a part of such an answer.
var ErrAnswer = errors.New("wire: the answer contains a raw newline, a raw '<' or the closing marker")

// AppendAnswer appends an answer with a JSON body to dst. body must be a single line without '<', which
// encoding/json guarantees.
func AppendAnswer(dst, body []byte) ([]byte, error) {
	if bytes.ContainsAny(body, "<\n") {
		return nil, ErrAnswer
	}
	dst = append(dst, answerOpen...)
	dst = append(dst, body...)
	dst = append(dst, answerClose...)
	return append(dst, '\n'), nil
}

// AppendXMLAnswer appends an answer with an XML body to dst. body must be a single line that does not contain
// the closing marker, which envelope.XML guarantees.
func AppendXMLAnswer(dst, body []byte) ([]byte, error) {
	if bytes.ContainsRune(body, '\n') || bytes.Contains(body, []byte(answerClose)) {
		return nil, ErrAnswer
	}
	dst = append(dst, answerOpen...)
	dst = append(dst, body...)
	dst = append(dst, answerClose...)
	return append(dst, '\n'), nil
}

// AppendFailure appends the JSON of a failure to dst, without the markers of an answer. The host uses it if
// it can't choose the envelope of an API, for example for an invalid frame or a rejected session.
func AppendFailure(dst []byte, message string) []byte {
	text, _ := json.Marshal(message) // A string always marshals.
	dst = append(dst, `{"data":{"result":0},"error":`...)
	dst = append(dst, text...)
	return append(dst, '}')
}

// ReadAnswer reads an answer and returns the body between its markers. It returns io.EOF if the stream ends
// before an answer begins, and an error if the body has more than maxBody bytes.
func ReadAnswer(r io.ByteReader, maxBody int) ([]byte, error) {
	var buf []byte
	for len(buf) < maxBody+len(answerOpen)+len(answerClose) {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) && len(bytes.TrimSpace(buf)) == 0 {
			return nil, io.EOF
		}
		if err != nil {
			return nil, fmt.Errorf("%w: only %d bytes of an answer arrived", truncated(err), len(buf))
		}
		buf = append(buf, c)
		if c == '>' && bytes.HasSuffix(buf, []byte(answerClose)) {
			body, ok := bytes.CutPrefix(bytes.TrimLeft(buf, "\n"), []byte(answerOpen))
			if !ok {
				return nil, errors.New("wire: the answer does not begin with the opening marker")
			}
			return bytes.TrimSuffix(body, []byte(answerClose)), nil
		}
	}
	return nil, fmt.Errorf("wire: answer too large: more than %d bytes", maxBody)
}
