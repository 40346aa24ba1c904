// Package cassette keeps recorded calls in files, and answers calls from them. A cassette has one JSON document on each
// line: the first describes the cassette, and each further one is a call with its answer. Secrets and addresses are
// masked when a call is recorded, and again when the file is read. The package makes no calls itself.
package cassette

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/liveapid/liveapid/host/dev/mask"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// version is the version of the format.
const version = 1

const (
	maxLine  = 64 << 20 // Maximum size of a line in bytes.
	maxCalls = 100_000  // Maximum number of calls in a cassette.
)

// header is the first line of a cassette.
type header struct {
	Cassette int       `json:"cassette"` // The version of the format.
	Recorded time.Time `json:"recorded"`
	// Salt makes the replacements of addresses in this cassette different from those in others.
	Salt string `json:"salt"`
	// Mask lists the names of further secret values that the author chose.
	Mask []string `json:"mask,omitempty"`
}

// Entry is a recorded call.
type Entry struct {
	API    string `json:"api"` // api1, api2 or uapi.
	Module string `json:"module"`
	Func   string `json:"func"`
	Args   any    `json:"args"` // An object, or a list for arguments by position.
	Answer Answer `json:"answer"`
	Line   int    `json:"-"` // The line in the file.
}

// Answer is the result of a call.
type Answer struct {
	Data     any            `json:"data"`
	Error    string         `json:"error,omitempty"`
	Kind     protocol.Kind  `json:"kind,omitempty"` // The kind of the error.
	No       bool           `json:"no,omitempty"`   // See protocol.Result.No.
	Messages []string       `json:"messages,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
	Metadata map[string]any `json:"metadata,omitempty"`
	Paginate map[string]any `json:"paginate,omitempty"`
}

// apis are the names of the APIs in cassettes.
var apis = map[protocol.API]string{protocol.API1: "api1", protocol.API2: "api2", protocol.UAPI: "uapi"}

// APIName returns the name of an API in cassettes and mocks, such as "uapi".
func APIName(api protocol.API) string { return apis[api] }

// APIOf returns the API with a name, or false.
func APIOf(name string) (protocol.API, bool) {
	for api, known := range apis {
		if known == name {
			return api, true
		}
	}
	return 0, false
}

// name returns the function of the entry for messages, such as "uapi Email::list_pops".
func (e Entry) name() string { return e.API + " " + e.Module + "::" + e.Func }

// Result returns the recorded answer as a result. source is the name of the file, which marks the answer.
func (a Answer) Result(source string) *protocol.Result {
	metadata := map[string]any{protocol.MockedKey: source}
	for key, value := range a.Metadata {
		metadata[key] = value
	}
	result := &protocol.Result{Data: a.Data, No: a.No, Messages: a.Messages, Warnings: a.Warnings, Metadata: metadata, Paginate: a.Paginate}
	if a.Kind != "" || a.Error != "" {
		result.Err = protocol.NewError(cmp.Or(a.Kind, protocol.KindFailed), a.Error)
	}
	return result
}

// kinds are the kinds of errors in a cassette. An answer with a kind failed, also if its message is empty.
var kinds = []protocol.Kind{
	"", protocol.KindInvalid, protocol.KindNotFound, protocol.KindFailed, protocol.KindDenied, protocol.KindUnavailable, protocol.KindInternal,
	protocol.KindNoModule, protocol.KindNoFunction, protocol.KindReadOnly, protocol.KindBadRequest,
}

// Recorder writes the calls of a program to a cassette. It is safe for concurrent use.
type Recorder struct {
	rules mask.Rules

	mu    sync.Mutex
	out   io.Writer
	err   error
	calls int
}

// NewRecorder writes the first line of a cassette to out and returns a Recorder. names are the names of further values
// that are secret, and texts are replaced wherever they occur.
func NewRecorder(out io.Writer, names, texts []string) (*Recorder, error) {
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	first := header{Cassette: version, Recorded: time.Now().UTC().Truncate(time.Second), Salt: rand.Text()[:8], Mask: names}
	r := &Recorder{out: out, rules: mask.Rules{Names: names, Texts: texts, Addresses: true, Salt: first.Salt}}
	return r, r.write(first)
}

func (r *Recorder) write(document any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(document)
	if err == nil {
		_, err = r.out.Write(line.Bytes())
	}
	if err != nil {
		return fmt.Errorf("write the cassette: %w", err)
	}
	return nil
}

// Record adds a call and its result. fn is the description of the function, if it is known: its secret parameters are
// masked. Err returns the first error.
func (r *Recorder) Record(call protocol.Call, fn protocol.Function, result *protocol.Result) {
	rules := r.rules
	for _, p := range fn.Params {
		if p.Type == protocol.TypeSecret {
			rules.Names = append(slices.Clip(rules.Names), strings.ToLower(p.Name))
		}
	}
	m := mask.New(rules, call.Args)
	entry := entryOf(m, call, result)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.write(entry)
		r.calls++
	}
}

// Calls returns the number of recorded calls.
func (r *Recorder) Calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// Err returns the first error of writing.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func entryOf(m *mask.Mask, call protocol.Call, result *protocol.Result) Entry {
	e := Entry{API: apis[call.API], Module: call.Module, Func: call.Func, Args: readable(m.Args())}
	if result == nil {
		return e
	}
	metadata, _ := readable(m.Value(result.Metadata)).(map[string]any)
	delete(metadata, protocol.MockedKey)
	paginate, _ := readable(m.Value(result.Paginate)).(map[string]any)
	if len(metadata) == 0 {
		metadata = nil
	}
	if result.Paginate == nil {
		paginate = nil
	}
	e.Answer = Answer{No: result.No, Messages: masked(m, result.Messages), Warnings: masked(m, result.Warnings), Metadata: metadata, Paginate: paginate}
	if result.Err != nil {
		e.Answer.Error, e.Answer.Kind = m.Text(result.Err.Message), result.Err.Kind
		return e
	}
	e.Answer.Data = readable(m.Value(protocol.Plain(result.Data)))
	return e
}

func masked(m *mask.Mask, list []string) []string {
	var out []string
	for _, text := range list {
		out = append(out, m.Text(text))
	}
	return out
}

// readable returns value with every scalar of an unusual type as text, and bytes that are not UTF-8 replaced.
func readable(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = readable(v[key])
		}
	case []any:
		for i := range v {
			v[i] = readable(v[i])
		}
	case string:
		if !utf8.ValidString(v) {
			return strings.ToValidUTF8(v, "\ufffd")
		}
	case protocol.Number:
		return string(v)
	}
	return value
}

// Cassette is a cassette that was read.
type Cassette struct {
	Name    string // The file's name, for messages.
	Entries []Entry
	rules   mask.Rules
}

// Load reads the cassette in a file.
func Load(path string) (*Cassette, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cassette: %w", err)
	}
	defer func() { _ = f.Close() }()
	c, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("cassette %s: %w", path, err)
	}
	c.Name = path
	return c, nil
}

// Read reads a cassette. Secrets and addresses in it are masked again, because a person may have edited the file.
func Read(in io.Reader) (*Cassette, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	c := &Cassette{}
	for number := 1; lines.Scan(); number++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if c.rules.Salt == "" {
			first := header{}
			if err := json.Unmarshal(line, &first); err != nil || first.Cassette != version || first.Salt == "" {
				return nil, fmt.Errorf("line %d: it must describe the cassette: {\"cassette\":%d,\"salt\":\"...\"}", number, version)
			}
			c.rules = mask.Rules{Names: first.Mask, Addresses: true, Salt: first.Salt}
			continue
		}
		entry, err := readEntry(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		entry.Line = number
		if c.Entries = append(c.Entries, c.maskEntry(entry)); len(c.Entries) > maxCalls {
			return nil, fmt.Errorf("it has more than %d calls", maxCalls)
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("the line after line %d has more than %d bytes", len(c.Entries)+1, maxLine)
		}
		return nil, err
	}
	if c.rules.Salt == "" {
		return nil, errors.New("the file is empty")
	}
	return c, nil
}

func readEntry(line []byte) (Entry, error) {
	raw, err := strictjson.Decode(line)
	if err != nil {
		return Entry{}, err
	}
	object, _ := raw.(map[string]any)
	var e Entry
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return Entry{}, err
	}
	if _, known := APIOf(e.API); !known || e.Module == "" || e.Func == "" {
		return Entry{}, errors.New("a call must have api (api1, api2 or uapi), module and func")
	}
	switch object["args"].(type) {
	case nil:
		e.Args = map[string]any{}
	case map[string]any, []any:
	default:
		return Entry{}, errors.New("args must be an object or a list")
	}
	if !slices.Contains(kinds, e.Answer.Kind) {
		return Entry{}, fmt.Errorf("kind: %.40q is not the kind of an error", e.Answer.Kind)
	}
	// encoding/json reads numbers as float64, which can't hold all integers.
	answer, _ := object["answer"].(map[string]any)
	if e.Args, err = exactly(e.Args, object["args"]); err != nil {
		return Entry{}, err
	}
	if e.Answer.Data, err = Numbers(answer["data"]); err != nil {
		return Entry{}, err
	}
	for name, target := range map[string]*map[string]any{"metadata": &e.Answer.Metadata, "paginate": &e.Answer.Paginate} {
		exact, err := Numbers(answer[name])
		if err != nil {
			return Entry{}, err
		}
		*target, _ = exact.(map[string]any)
	}
	return e, nil
}

// Numbers returns a decoded value, which strictjson decoded, with each number as an int64, uint64 or float64.
func Numbers(value any) (any, error) {
	switch v := value.(type) {
	case protocol.Number:
		if n := v.Value(); n != string(v) {
			return n, nil
		}
		return nil, fmt.Errorf("the number %.40s is too large", v)
	case []any:
		for i := range v {
			var err error
			if v[i], err = Numbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			var err error
			if v[key], err = Numbers(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// exactly returns the arguments of an entry with exact numbers, or an empty object.
func exactly(args, raw any) (any, error) {
	if raw == nil {
		return args, nil
	}
	return Numbers(raw)
}

func (c *Cassette) maskEntry(e Entry) Entry {
	args := protocol.Args{}
	switch v := e.Args.(type) {
	case map[string]any:
		args.Named = v
	case []any:
		args.Positional = v
	}
	m := mask.New(c.rules, args)
	e.Args = m.Args()
	e.Answer.Data = m.Value(e.Answer.Data)
	e.Answer.Error = m.Text(e.Answer.Error)
	e.Answer.Messages, e.Answer.Warnings = masked(m, e.Answer.Messages), masked(m, e.Answer.Warnings)
	if e.Answer.Metadata != nil {
		e.Answer.Metadata, _ = m.Value(e.Answer.Metadata).(map[string]any)
	}
	return e
}
