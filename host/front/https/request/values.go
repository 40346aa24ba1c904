package request

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

const (
	// MaxBody is the maximum size of a request's body in bytes, both before and after decompression.
	MaxBody = 1 << 20
	// maxValues is the maximum number of values in a request, and maxName the maximum length of a parameter's
	// name in bytes.
	maxValues = 1000
	maxName   = 256
)

// Error means that a request can't be parsed. It contains the HTTP status and the message for the client.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string { return e.Message }

func bad(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// Values are the parameters of a request. Each name has a list of values: first those of the query, then
// those of the body, in the order of the request. A value is a string exactly as the client sent it, after
// decoding, or any value from a JSON body.
type Values map[string][]any

// Read reads the parameters from the query and the body of a request. If it fails, it returns the parameters
// that it could read, together with the error.
func Read(r *http.Request) (Values, *Error) {
	v := make(Values)
	if err := v.addForm(r.URL.RawQuery); err != nil {
		return v, err
	}
	return v.addBody(r, MaxBody)
}

// ReadBody is like Read, but ignores the query. most is the maximum size of the body in bytes, before and
// after decompression.
func ReadBody(r *http.Request, most int64) (Values, *Error) { return make(Values).addBody(r, most) }

// Form returns the parameters in a text of the form NAME=VALUE&NAME=VALUE.
func Form(text string) (Values, *Error) {
	v := make(Values)
	return v, v.addForm(text)
}

func (v Values) addBody(r *http.Request, most int64) (Values, *Error) {
	body, err := readBody(r, most)
	if err != nil || len(body) == 0 {
		return v, err
	}
	kind, params, parseErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case kind == "application/json":
		return v, v.addJSON(body)
	case kind == "multipart/form-data":
		return v, v.addMultipart(body, params["boundary"])
	case r.Header.Get("Content-Type") != "" && parseErr != nil && !errors.Is(parseErr, mime.ErrInvalidMediaParameter):
		return v, &Error{http.StatusUnsupportedMediaType, "The Content-Type header can't be read."}
	case kind == "", kind == "application/x-www-form-urlencoded", kind == "application/octet-stream", kind == "text/plain":
		// A published Perl client sends forms with the type application/octet-stream.
		return v, v.addForm(string(body))
	}
	return v, &Error{http.StatusUnsupportedMediaType, "The body must be a form (application/x-www-form-urlencoded or multipart/form-data) or JSON (application/json)."}
}

// readBody reads the whole body and decompresses it. most is the maximum size in bytes, before and after
// decompression.
func readBody(r *http.Request, most int64) ([]byte, *Error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	var in io.Reader = http.MaxBytesReader(nil, r.Body, most)
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
	case "gzip", "x-gzip":
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, bodyError(err)
		}
		in = unpacked
	default:
		return nil, &Error{http.StatusUnsupportedMediaType, "The body's Content-Encoding must be gzip, or none."}
	}
	body, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if int64(len(body)) > most {
		return nil, bodyError(&http.MaxBytesError{Limit: most})
	}
	return body, nil
}

func bodyError(err error) *Error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("The request's body is too large: at most %d bytes are accepted.", large.Limit)}
	}
	return bad("The request's body can't be read to its end.")
}

// add adds a value to the parameter called name, or returns an error if the name, the value or the number of
// values is not allowed.
func (v Values) add(name string, value any) *Error {
	text, isText := value.(string)
	switch {
	case !utf8.ValidString(name) || len(name) > maxName || strings.ContainsAny(name, "\x00\r\n"):
		return bad("A parameter's name must be text of at most %d bytes.", maxName)
	case isText && !utf8.ValidString(text):
		return bad("The ‘%s’ argument is not valid UTF-8.", name)
	case v.count() >= maxValues:
		return bad("More than %d parameters are not accepted.", maxValues)
	}
	v[name] = append(v[name], value)
	return nil
}

func (v Values) count() (n int) {
	for _, values := range v {
		n += len(values)
	}
	return n
}

// addForm adds the parameters of a form: NAME=VALUE&NAME=VALUE. It rejects malformed escapes: different
// programs decode them differently, so the decoded password could differ from the password that the user
// typed.
func (v Values) addForm(text string) *Error {
	for text != "" {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, ok := unescape(rawName)
		if !ok {
			return bad("A parameter's name has a %% that no two hexadecimal digits follow; write it %%25.")
		}
		value, ok := unescape(rawValue)
		if !ok {
			return bad("The ‘%s’ argument has a %% that no two hexadecimal digits follow; write it %%25.", protocol.Clip(name, maxShownName))
		}
		if err := v.add(name, value); err != nil {
			return err
		}
	}
	return nil
}

// unescape decodes + and %XX. ok is false if a % is not followed by two hexadecimal digits.
func unescape(s string) (_ string, ok bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '+':
			b.WriteByte(' ')
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			c, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil {
				return "", false
			}
			b.WriteByte(c[0])
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), true
}

// addJSON adds the parameters of a body that is a JSON object.
func (v Values) addJSON(body []byte) *Error {
	value, err := strictjson.Decode(body)
	if err != nil {
		return bad("The JSON can't be read: %s.", err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return bad("The JSON must be an object of parameters, such as {\"domain\":\"example.com\"}.")
	}
	for name, value := range object {
		if value == nil {
			continue
		}
		if err := v.add(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (v Values) addMultipart(body []byte, boundary string) *Error {
	if boundary == "" {
		return bad("The multipart body has no boundary in its Content-Type.")
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return bad("The multipart body can't be read to its end.")
		}
		name := part.FormName()
		if name == "" {
			return bad("A part of the multipart body has no name.")
		}
		if part.FileName() != "" {
			return bad("The ‘%s’ argument must be text, not a file.", protocol.Clip(name, maxShownName))
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return bad("The multipart body can't be read to its end.")
		}
		if err := v.add(name, string(text)); err != nil {
			return err
		}
	}
}

// maxShownName is the maximum length in bytes of a parameter's name in an error message.
const maxShownName = 64
