package livepage

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/liveapid/liveapid/host/dev/mask"
	"github.com/liveapid/liveapid/host/dev/tagpage"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/protocol"
)

// Call describes a call to the LiveAPI for the author of the page. Passwords are masked.
type Call struct {
	API    string        `json:"api"`
	Module string        `json:"module"`
	Func   string        `json:"func"`
	Args   any           `json:"args"` // An object, or for arguments by position their number.
	OK     bool          `json:"ok"`
	Result string        `json:"result"` // The error message, or a summary of the data.
	Mocked bool          `json:"mocked"` // The answer does not come from a module.
	Answer any           `json:"answer"` // The answer, with secrets masked and long values clipped.
	Took   time.Duration `json:"took_ns"`

	made protocol.Call // The call itself, to repeat it. It may contain secrets, and never leaves the process.
}

// watched is a Doer that calls watch after each call.
type watched struct {
	session.Doer
	watch func(Call)
}

func (w watched) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	return w.seen(call, func() *protocol.Result { return w.Doer.Do(ctx, caller, call) })
}

// DoTag implements tagpage.TagDoer. If the wrapped Doer is also a TagDoer, DoTag passes text, the tag's
// original text, to its DoTag method. Otherwise it passes call, the call into which the tag was parsed, to
// the Do method of the wrapped Doer.
func (w watched) DoTag(ctx context.Context, caller protocol.Caller, text string, call protocol.Call) *protocol.Result {
	return w.seen(call, func() *protocol.Result { return tagpage.Do(ctx, w.Doer, caller, text, call) })
}

func (w watched) seen(call protocol.Call, do func() *protocol.Result) *protocol.Result {
	if w.watch == nil {
		return do()
	}
	start := time.Now()
	call.Args = protocol.Args{Named: maps.Clone(call.Args.Named), Positional: slices.Clone(call.Args.Positional)}
	result := do()
	w.watch(seenCall(call, result, time.Since(start)))
	return result
}

// seenCall returns the description of a call and its result.
func seenCall(call protocol.Call, result *protocol.Result, took time.Duration) Call {
	m := mask.New(mask.Rules{}, call.Args)
	seen := Call{
		API: call.API.String(), Module: call.Module, Func: call.Func, Args: m.Args(), OK: result.Err == nil, Took: took,
		Mocked: result.Metadata[protocol.MockedKey] != nil, made: call,
	}
	answer := map[string]any{}
	if result.Err != nil {
		seen.Result = m.Text(result.Err.Message)
		answer["error"] = seen.Result
	} else {
		data := protocol.Plain(result.Data)
		seen.Result = summary(data)
		answer["data"] = m.Value(data)
	}
	for name, list := range map[string][]string{"messages": result.Messages, "warnings": result.Warnings} {
		if len(list) > 0 {
			texts := make([]any, len(list))
			for i, text := range list {
				texts[i] = m.Text(text)
			}
			answer[name] = texts
		}
	}
	if len(result.Metadata) > 0 {
		answer["metadata"] = m.Value(result.Metadata)
	}
	seen.Answer = answer
	if text, err := json.Marshal(answer); err != nil || len(text) > maxAnswer {
		seen.Answer = fmt.Sprintf("The answer has %d bytes. The list shows at most %d.", len(text), maxAnswer)
	}
	return seen
}

// maxAnswer is the maximum size in bytes of an answer, as JSON, that the list of runs keeps.
const maxAnswer = 256 << 10

func summary(data any) string {
	switch data := data.(type) {
	case nil:
		return "nothing"
	case []any:
		if len(data) == 1 {
			return "one record"
		}
		return fmt.Sprintf("%d records", len(data))
	case map[string]any:
		return fmt.Sprintf("%d fields", len(data))
	}
	return "a value"
}
