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

// Call describes a call to the LiveAPI for the author of the page. Passwords are masked.
type Call struct {
	API    string        `json:"api"`
	Name   string        `json:"name"` // Module::function.
	Args   []string      `json:"args"` // name=value.
	OK     bool          `json:"ok"`
	Result string        `json:"result"` // The error message, or a summary of the data.
	Took   time.Duration `json:"took_ns"`
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
	result := do()
	seen := Call{
		API: call.API.String(), Name: call.Module + "::" + call.Func, Args: showArgs(call.Args), OK: result.Err == nil,
		Took: time.Since(start), Result: summary(result),
	}
	w.watch(seen)
	return result
}

// maxShown is the maximum length of a displayed argument, in bytes.
const maxShown = 200

// showArgs returns the arguments of a call for display. The values of arguments with names such as "password"
// are masked. For positional arguments only the number is returned: they have no names, and functions of API
// 1 take passwords by position.
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

// showValue returns the value of the argument called name for display. The value is masked if it is, or could
// be, a secret.
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

// secret reports whether name, the name of an argument, indicates that the argument's value is secret.
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
	switch data := protocol.Plain(result.Data).(type) {
	case nil:
		return "nothing"
	case []any:
		return fmt.Sprintf("%d records", len(data))
	case map[string]any:
		return fmt.Sprintf("%d fields", len(data))
	}
	return "a value"
}
