package builtin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/protocol"
)

// batch returns a batch that records its calls, and answers them by their function's name.
func batch(made *[]protocol.Call) builtin.Batch {
	return builtin.Batch{
		Do: func(_ context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
			*made = append(*made, call)
			switch call.Func {
			case "fails":
				return protocol.Failed(protocol.NewError(protocol.KindInvalid, "It is wrong."))
			case "none":
				return protocol.Failed(protocol.NewError(protocol.KindNoFunction, ""))
			case "no":
				return &protocol.Result{No: true}
			case "large":
				return &protocol.Result{Data: strings.Repeat("x", 1<<20)}
			}
			return &protocol.Result{Data: call.Args.Named["a"], Warnings: []string{"w"}}
		},
		Charge: func(_ string, calls int) *protocol.Error {
			if calls > 40 {
				return protocol.NewError(protocol.KindUnavailable, "too many")
			}
			return nil
		},
	}
}

func TestBatch(t *testing.T) {
	many := make([]any, 51)
	for i := range many {
		many[i] = `["M","f"]`
	}
	large := make([]any, 40)
	for i := range large {
		large[i] = `["M","large"]`
	}
	for _, c := range []struct {
		name     string
		commands []any
		calls    int
		says     string
	}{
		{"two", []any{`["M","f",{"a":"1"}]`, []any{"M", "g"}}, 2, ""},
		{"the second fails", []any{`["M","f"]`, `["M","fails"]`, `["M","g"]`}, 2, "Call 2, M::fails, failed: It is wrong. The calls before it were made; those after it were not."},
		{"the first fails", []any{`["M","fails"]`, `["M","g"]`}, 1, "Call 1, M::fails, failed: It is wrong. The calls after it were not made."},
		{"the only one fails", []any{`["M","none"]`}, 1, "Call 1, M::none, failed: The system could not find the function “none” in the module “M”."},
		{"the last answers no", []any{`["M","f"]`, `["M","no"]`}, 2, "Call 2, M::no, failed: the answer is no. The calls before it were made."},
		{"no JSON", []any{`["M","f"]`, `M f`}, 0, "call 2: it must be a JSON list"},
		{"too few", []any{`["M"]`}, 0, "it must be a JSON list"},
		{"too many items", []any{`["M","f",{},1]`}, 0, "it must be a JSON list"},
		{"no object", []any{`["M","f",[]]`}, 0, "it must be a JSON list"},
		{"no names", []any{`["","f"]`}, 0, "it must be a JSON list"},
		{"nested", []any{`["Batch","strict",{"command":"x"}]`}, 0, "a batch can't contain a batch. No call was made."},
		{"too many calls", many, 0, "more than 50 calls"},
		{"beyond the account's limit", many[:45], 0, "too many"},
		{"too large", large, 16, "the answers of the batch are too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var made []protocol.Call
			result, err := batch(&made).Call(t.Context(), host.Request{Call: protocol.Call{ReadOnly: true, Args: protocol.Args{Named: map[string]any{"command": c.commands}}}})
			require.NoError(t, err)
			if c.says == "" {
				require.Nil(t, result.Err)
				require.Equal(t, []any{
					map[string]any{"data": "1", "errors": nil, "messages": nil, "metadata": map[string]any{}, "status": int64(1), "warnings": []any{"w"}},
					map[string]any{"data": nil, "errors": nil, "messages": nil, "metadata": map[string]any{}, "status": int64(1), "warnings": []any{"w"}},
				}, result.Data)
			} else {
				require.NotNil(t, result.Err)
				require.Contains(t, result.Err.Message, c.says)
			}
			if c.name != "too large" {
				require.Len(t, made, c.calls)
			} else {
				require.Less(t, len(made), len(large))
			}
			for _, call := range made {
				require.True(t, call.ReadOnly, "the batch's own limits apply to each call")
				require.Equal(t, protocol.UAPI, call.API)
			}
		})
	}
}
