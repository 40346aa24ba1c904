// Package mocks answers calls in place of modules: from answers that the author of a program wrote by hand, and from
// cassettes. It is for development and tests. A host in server mode does not use it.
package mocks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/liveapid/liveapid/host/modules/cassette"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// maxFile is the maximum size of a file with mocks in bytes.
const maxFile = 16 << 20

// file is the content of a file with mocks.
type file struct {
	Module  string    `json:"module"`  // Default: the file's name without its ending.
	Help    string    `json:"help"`    // For the description of the module.
	Replace bool      `json:"replace"` // The mocks come before the functions of a module with this name.
	Answers []*answer `json:"answer"`
}

// answer is a mock of a function, for all calls or for those with certain arguments.
type answer struct {
	API      string         `json:"api"` // uapi, api2 or api1; default uapi.
	Function string         `json:"function"`
	Help     string         `json:"help"`
	When     map[string]any `json:"when"`  // The answer is for calls with these arguments.
	Delay    string         `json:"delay"` // Time to wait, such as "200ms".
	reply
	// Sequence are the answers to the first call, the second and so on. The last one is also for all later calls.
	Sequence []reply `json:"sequence"`

	delay time.Duration
	count int // Number of calls up to now.
}

// reply is the content of an answer.
type reply struct {
	Data     any            `json:"data"`
	Error    string         `json:"error"`
	Kind     string         `json:"kind"` // The kind of the error: failed (the default), invalid, not_found, denied or unavailable.
	Messages []string       `json:"messages"`
	Warnings []string       `json:"warnings"`
	Metadata map[string]any `json:"metadata"`
}

// kinds are the kinds of errors that a mock may have.
var kinds = []string{"failed", "invalid", "not_found", "denied", "unavailable"}

// Set is the mocks of one file. It is safe for concurrent use.
type Set struct {
	path string
	file file

	mu sync.Mutex // Guards the counts.
}

// LoadDir reads all mocks, *.toml and *.json, in a directory. A file that can't be used is returned in broken; the others
// are not affected.
func LoadDir(dir string) (sets []*Set, broken []error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil // No mocks yet.
		}
		return nil, []error{fmt.Errorf("mocks: %w", err)}
	}
	for _, e := range entries {
		if !IsMock(e.Name()) {
			continue
		}
		set, err := Load(filepath.Join(dir, e.Name()))
		if err != nil {
			broken = append(broken, err)
			continue
		}
		sets = append(sets, set)
	}
	return sets, broken
}

// IsMock reports whether a file with this name is read as mocks.
func IsMock(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".toml") || strings.HasSuffix(name, ".json"))
}

// Load reads the mocks in a file.
func Load(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = fmt.Errorf("it must be a regular file of at most %d bytes", maxFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("mocks %s: %w", path, err)
	}
	set, err := parse(path, text)
	if err != nil {
		return nil, fmt.Errorf("mocks %s: %w", path, err)
	}
	return set, nil
}

func parse(path string, text []byte) (*Set, error) {
	if strings.HasSuffix(path, ".toml") {
		var document map[string]any
		if err := toml.Unmarshal(text, &document); err != nil {
			var at *toml.DecodeError
			if errors.As(err, &at) {
				line, _ := at.Position()
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			return nil, err
		}
		var err error
		if text, err = json.Marshal(document); err != nil {
			return nil, err
		}
	}
	raw, err := strictjson.Decode(text)
	if err != nil {
		return nil, err
	}
	if raw, err = cassette.Numbers(raw); err != nil {
		return nil, err
	}
	set := &Set{path: path}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&set.file); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if set.file.Module == "" {
		set.file.Module = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	if err := (protocol.Module{Name: set.file.Module}).Validate(); err != nil {
		return nil, err
	}
	object, _ := raw.(map[string]any)
	if err := known(object, file{}); err != nil {
		return nil, err
	}
	list, _ := object["answer"].([]any)
	for i, a := range set.file.Answers {
		exact, _ := list[i].(map[string]any)
		if a == nil || exact == nil {
			return nil, fmt.Errorf("answer %d must be a table", i+1)
		}
		if err := a.prepare(exact); err != nil {
			return nil, fmt.Errorf("answer %d: %w", i+1, err)
		}
	}
	return set, nil
}

// known returns an error for a key that the JSON tags of the structs do not contain exactly. encoding/json ignores the
// case of keys.
func known(object map[string]any, structs ...any) error {
	var keys []string
	for _, s := range structs {
		for field := range reflect.TypeOf(s).Fields() {
			keys = append(keys, field.Tag.Get("json"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("unknown field %q", key)
		}
	}
	return nil
}

// prepare validates an answer. exact is the same answer with exact numbers.
func (a *answer) prepare(exact map[string]any) error {
	if err := known(exact, answer{}, reply{}); err != nil {
		return err
	}
	if a.API == "" {
		a.API = "uapi"
	}
	if _, known := cassette.APIOf(a.API); !known {
		return fmt.Errorf("api: %.40q is not uapi, api2 or api1", a.API)
	}
	if err := (protocol.Module{Name: a.Function}).Validate(); err != nil {
		return errors.New("function must be the name of a function: a letter followed by letters, digits and _")
	}
	if a.Delay != "" {
		var err error
		if a.delay, err = time.ParseDuration(a.Delay); err != nil || a.delay < 0 {
			return fmt.Errorf("delay: %.40q is not a duration, such as 200ms", a.Delay)
		}
	}
	a.Data = exact["data"]
	if err := a.check(); err != nil {
		return err
	}
	sequence, _ := exact["sequence"].([]any)
	for i := range a.Sequence {
		one, _ := sequence[i].(map[string]any)
		if err := known(one, reply{}); err != nil {
			return fmt.Errorf("sequence %d: %w", i+1, err)
		}
		a.Sequence[i].Data = one["data"]
		if err := a.Sequence[i].check(); err != nil {
			return fmt.Errorf("sequence %d: %w", i+1, err)
		}
	}
	return nil
}

func (r reply) check() error {
	if r.Kind != "" && !slices.Contains(kinds, r.Kind) {
		return fmt.Errorf("kind: %.40q is not one of %s", r.Kind, strings.Join(kinds, ", "))
	}
	_, err := expand(r.document(), nil)
	return err
}

func (r reply) document() map[string]any {
	texts := func(list []string) []any {
		out := make([]any, len(list))
		for i, text := range list {
			out[i] = text
		}
		return out
	}
	return map[string]any{"data": r.Data, "error": r.Error, "messages": texts(r.Messages), "warnings": texts(r.Warnings), "metadata": r.Metadata}
}

// values are the values for templates.
type values struct {
	Args    map[string]any
	Account protocol.Account
	Count   int // Number of this call of the answer, from 1.
}

// expand returns a copy of a value in which each text that contains a template is expanded. A text that consists of a
// single argument, {{.Args.NAME}}, becomes the argument itself. If v is nil, templates are parsed and not expanded.
func expand(value any, v *values) (any, error) {
	switch value := value.(type) {
	case string:
		return expandText(value, v)
	case []any:
		out := make([]any, len(value))
		for i := range value {
			var err error
			if out[i], err = expand(value[i], v); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, item := range value {
			var err error
			if out[key], err = expand(item, v); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

func expandText(text string, v *values) (any, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if name, ok := strings.CutPrefix(text, "{{.Args."); ok && v != nil {
		if name, ok = strings.CutSuffix(name, "}}"); ok {
			if arg, ok := v.Args[name]; ok {
				return arg, nil
			}
		}
	}
	t, err := template.New("").Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the template %.60q: %w", text, err)
	}
	if v == nil {
		return text, nil
	}
	var out strings.Builder
	if err := t.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("the template %.60q: %w", text, err)
	}
	return strings.ReplaceAll(out.String(), "<no value>", ""), nil
}

// find returns the answer for a call: the first one whose arguments in when the call has.
func (s *Set) find(api protocol.API, function string, args map[string]any, matching bool) *answer {
	for _, a := range s.file.Answers {
		if known, _ := cassette.APIOf(a.API); known != api || a.Function != function {
			continue
		}
		if !matching || a.matches(args) {
			return a
		}
	}
	return nil
}

func (a *answer) matches(args map[string]any) bool {
	for name, want := range a.When {
		x, scalar := protocol.ScalarText(want)
		y, ok := protocol.ScalarText(args[name])
		if !scalar || !ok || x != y {
			return false
		}
	}
	return true
}

// do answers a call.
func (s *Set) do(account protocol.Account, call protocol.Call, wait func(time.Duration) error) *protocol.Result {
	args := named(call.Args)
	a := s.find(call.API, call.Func, args, true)
	if a == nil {
		result := protocol.Failed(protocol.NewError(protocol.KindUnavailable, "The mocks of this function have no answer for these arguments."))
		return marked(result, s.path)
	}
	s.mu.Lock()
	a.count++
	count := a.count
	s.mu.Unlock()
	r := a.reply
	if n := len(a.Sequence); n > 0 {
		r = a.Sequence[min(count, n)-1]
	}
	if err := wait(a.delay); err != nil {
		return protocol.Failed(&protocol.Error{Kind: protocol.KindUnavailable, Message: "The call ended during the delay of its mock.", Err: err})
	}
	expanded, err := expand(r.document(), &values{Args: args, Account: account, Count: count})
	if err != nil {
		return protocol.Failed(&protocol.Error{Kind: protocol.KindInternal, Err: fmt.Errorf("mocks %s: %w", s.path, err)})
	}
	document := expanded.(map[string]any)
	metadata, _ := document["metadata"].(map[string]any)
	result := &protocol.Result{Data: document["data"], Messages: strs(document["messages"]), Warnings: strs(document["warnings"]), Metadata: metadata}
	if message, _ := document["error"].(string); message != "" {
		kind := protocol.KindFailed
		if r.Kind != "" {
			kind = protocol.Kind(r.Kind)
		}
		result.Err = protocol.NewError(kind, message)
	}
	return marked(result, s.path)
}

// named returns the arguments of a call by their names. Arguments by position are called 1, 2 and so on.
func named(args protocol.Args) map[string]any {
	out := maps.Clone(args.Named)
	if out == nil {
		out = map[string]any{}
	}
	for i, value := range args.Positional {
		out[fmt.Sprintf("%d", i+1)] = value
	}
	for name, value := range out {
		if secret, ok := value.(protocol.Secret); ok {
			out[name] = secret.String()
		}
	}
	return out
}

func marked(result *protocol.Result, source string) *protocol.Result {
	metadata := map[string]any{protocol.MockedKey: source}
	maps.Copy(metadata, result.Metadata)
	result.Metadata = metadata
	return result
}

func strs(list any) []string {
	items, _ := list.([]any)
	var out []string
	for _, item := range items {
		if text, ok := protocol.ScalarText(item); ok {
			out = append(out, text)
		}
	}
	return out
}
