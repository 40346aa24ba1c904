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

// Answers that are the same in every session.
var (
	AnswerJSONEnabled = []byte(`{"data":{"result":"json"}}`)
	AnswerXMLEnabled  = []byte(`{"data":{"result":"xml"}}`) // Shown as XML.
	AnswerShutdown    = []byte(`{"data":{"result":"shutdown"}}`)
)

// ErrAnswer is returned for JSON that can't be in an answer, because clients would end it too early.
var ErrAnswer = errors.New("wire: the JSON contains a raw '<' or newline")

// AppendAnswer appends an answer with the given JSON to dst. The JSON must be a single line without '<', as
// encoding/json writes it.
func AppendAnswer(dst, body []byte) ([]byte, error) {
	if bytes.ContainsAny(body, "<\n") {
		return nil, ErrAnswer
	}
	dst = append(dst, answerOpen...)
	dst = append(dst, body...)
	dst = append(dst, answerClose...)
	return append(dst, '\n'), nil
}

// AppendXMLAnswer appends an answer with the given XML to dst. The XML must be a single line without the
// closing marker, as envelope.XML writes it.
func AppendXMLAnswer(dst, body []byte) ([]byte, error) {
	if bytes.ContainsRune(body, '\n') || bytes.Contains(body, []byte(answerClose)) {
		return nil, ErrAnswer
	}
	dst = append(dst, answerOpen...)
	dst = append(dst, body...)
	dst = append(dst, answerClose...)
	return append(dst, '\n'), nil
}

// AppendFailure returns the JSON for a frame that can't be trusted, or that names no known API.
func AppendFailure(dst []byte, message string) []byte {
	text, _ := json.Marshal(message) // A string always marshals.
	dst = append(dst, `{"data":{"result":0},"error":`...)
	dst = append(dst, text...)
	return append(dst, '}')
}

// ReadAnswer reads an answer and returns its JSON. It returns io.EOF if the stream ends before an answer
// begins. maxBody limits the JSON in bytes.
func ReadAnswer(r io.ByteReader, maxBody int) ([]byte, error) {
	var buf []byte
	for len(buf) < maxBody+len(answerOpen)+len(answerClose) {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) && len(bytes.TrimSpace(buf)) == 0 {
			return nil, io.EOF
		}
		if err != nil {
			return nil, fmt.Errorf("%w: after %d bytes of an answer", truncated(err), len(buf))
		}
		buf = append(buf, c)
		if c == '>' && bytes.HasSuffix(buf, []byte(answerClose)) {
			body, ok := bytes.CutPrefix(bytes.TrimLeft(buf, "\n"), []byte(answerOpen))
			if !ok {
				return nil, errors.New("wire: the answer does not open with its marker")
			}
			return bytes.TrimSuffix(body, []byte(answerClose)), nil
		}
	}
	return nil, fmt.Errorf("wire: answer too large: more than %d bytes", maxBody)
}
