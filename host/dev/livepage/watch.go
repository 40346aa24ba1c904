package livepage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/dev/tagpage"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/protocol"
)

// Call is what a page's author is shown of a call: passwords are masked.
type Call struct {
	API    string        `json:"api"`
	Name   string        `json:"name"` // Module::function.
	Args   []string      `json:"args"` // name=value.
	OK     bool          `json:"ok"`
	Result string        `json:"result"` // A failure's message, or what kind of data came.
	Took   time.Duration `json:"took_ns"`
}

// watched tells of each call.
type watched struct {
	session.Doer
	watch func(Call)
}

func (w watched) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	return w.seen(call, func() *protocol.Result { return w.Doer.Do(ctx, caller, call) })
}

// DoTag implements tagpage.TagDoer; a Doer that runs no tags gets the call that the tag is.
func (w watched) DoTag(ctx context.Context, caller protocol.Caller, text string, call protocol.Call) *protocol.Result {
	return w.seen(call, func() *protocol.Result { return tagpage.Do(ctx, w.Doer, caller, text, call) })
}

func (w watched) seen(call protocol.Call, do func() *protocol.Result) *protocol.Result {
	if w.watch == nil {
		return do()
	}
	start := time.Now()
	result := do()
	seen := Call{
		API: call.API.String(), Name: call.Module + "::" + call.Func, Args: showArgs(call.Args), OK: result.Err == nil,
		Took: time.Since(start), Result: summary(result),
	}
	w.watch(seen)
	return result
}

// maxShown bounds an argument that is shown, in bytes.
const maxShown = 200

// showArgs shows arguments, those whose name says that they are secret masked. A
// positional one has no name, and API 1's functions take passwords by position: of those
// only the number is shown.
func showArgs(args protocol.Args) []string {
	var out []string
	for _, name := range args.Names() {
		out = append(out, name+"="+showValue(name, args.Named[name]))
	}
	if n := len(args.Positional); n > 0 {
		out = append(out, fmt.Sprintf("%d by position", n))
	}
	return out
}

// showValue shows a value: masked where it is, or may hold, a secret.
func showValue(name string, value any) string {
	switch v := value.(type) {
	case map[string]any:
		return fmt.Sprintf("{%d fields}", len(v))
	case []any:
		return fmt.Sprintf("[%d values]", len(v))
	}
	text := fmt.Sprint(value)
	if secret(name) || strings.Contains(text, "PRIVATE KEY") {
		return "••••"
	}
	return protocol.Clip(text, maxShown)
}

// secret tells by an argument's name whether its value may not be shown.
func secret(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains([]string{"key", "pin", "otp", "code"}, name) ||
		slices.ContainsFunc([]string{"pass", "secret", "token", "apikey", "privkey", "hash", "pwd", "auth", "cred", "otp"}, func(word string) bool {
			return strings.Contains(name, word)
		})
}

func summary(result *protocol.Result) string {
	if result.Err != nil {
		return result.Err.Message
	}
	switch data := result.Data.(type) {
	case nil:
		return "nothing"
	case []any:
		return fmt.Sprintf("%d records", len(data))
	case map[string]any:
		return fmt.Sprintf("%d fields", len(data))
	}
	return "a value"
}
