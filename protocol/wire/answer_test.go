package wire_test

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol/wire"
)

func TestReadAnswer(t *testing.T) {
	one, err := wire.AppendAnswer(nil, []byte(`{"a":1}`))
	require.NoError(t, err)
	two, err := wire.AppendAnswer(one, []byte(`{"b":2}`))
	require.NoError(t, err)

	r := bufio.NewReader(bytes.NewReader(two))
	for _, want := range []string{`{"a":1}`, `{"b":2}`} {
		got, err := wire.ReadAnswer(r, 100)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err = wire.ReadAnswer(r, 100)
	require.ErrorIs(t, err, io.EOF)

	for _, c := range []struct{ name, stream, says string }{
		{"cut", string(one[:30]), "ended inside a frame: only 30 bytes"},
		{"no opening", "hello</cpanelresult>", "does not begin with the opening marker"},
		{"too large", "<?xml version=\"1.0\" ?>\n<cpanelresult>" + strings.Repeat("a", 1000), "too large"},
	} {
		_, err := wire.ReadAnswer(bufio.NewReader(strings.NewReader(c.stream)), 100)
		require.ErrorContains(t, err, c.says, c.name)
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("<?xml version=\"1.0\" ?>\n<cpanelresult>{}</cpanelresult>\n"))
	f.Add([]byte("</cpanelresult>"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bufio.NewReader(bytes.NewReader(stream))
		for {
			body, err := wire.ReadAnswer(r, 1000)
			if err != nil {
				return
			}
			if again, err := wire.AppendAnswer(nil, body); err == nil {
				same, err := wire.ReadAnswer(bufio.NewReader(bytes.NewReader(again)), 1000)
				require.NoError(t, err)
				require.Equal(t, body, same)
			}
		}
	})
}
