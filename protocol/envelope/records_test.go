package envelope_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
)

// A list that came as a table gives the same answer as the same list of maps, in every API and both encodings.
func TestRecords(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := []any{
		nil, true, false, "", "plain", "a\"b\\c<d>&e", "p\u00e4 \u00df\U0001f600\u2028", "\xff\xfe", "line\nline\x7f", int64(0), int64(-1), int64(-32), int64(-33), int64(127),
		int64(128), int64(math.MaxInt64), int64(math.MinInt64), uint64(math.MaxUint64), 0.0, 1.5, -2.25, 1e-7, 1e21, 123456789.125, math.NaN(), math.Inf(1),
		math.Copysign(0, -1), []any{true, "x", map[string]any{"k": false}}, map[string]any{"b": 1.0, "a": nil}, []any{}, map[string]any{},
	}
	names := []string{"email", "a", "Z", "diskused", "\"quoted\"", "<tag>", "ü", "_x"}
	for round := range 50 {
		list := make([]any, 64+random.IntN(20))
		columns := names[:1+random.IntN(len(names))]
		for i := range list {
			record := map[string]any{}
			for _, name := range columns {
				record[name] = values[random.IntN(len(values))]
			}
			list[i] = record
		}
		doc, err := payload.EncodeResult(&protocol.Result{Data: list, Metadata: map[string]any{"x": true}})
		require.NoError(t, err)
		result, err := payload.DecodeResult(doc)
		require.NoError(t, err)
		require.Implements(t, (*protocol.Records)(nil), result.Data)
		plain := &protocol.Result{Data: protocol.Plain(result.Data), Metadata: result.Metadata}
		for _, api := range []protocol.API{protocol.API1, protocol.API2, protocol.UAPI} {
			call := protocol.Call{API: api, Module: "M", Func: "f"}
			want := envelope.JSON(call, plain)
			require.True(t, json.Valid(want))
			require.Equal(t, string(want), string(envelope.JSON(call, result)), "round %d", round)
			if api == protocol.UAPI {
				require.Equal(t, string(envelope.UAPIResult(call, plain)), string(envelope.UAPIResult(call, result)))
			}
			a, err := json.Marshal(envelope.Value(call, plain))
			require.NoError(t, err)
			b, err := json.Marshal(envelope.Value(call, result))
			require.NoError(t, err)
			require.Equal(t, string(a), string(b))
		}
	}
}
