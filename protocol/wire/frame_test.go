package wire_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol/wire"
)

const action = "<cpanelaction>\n{}\n</cpanelaction>"

// readAll returns all frames of a stream and the error at its end.
func readAll(r io.Reader, most int) (frames []string, err error) {
	reader := wire.NewFrameReader(r, most)
	for {
		frame, err := reader.Next()
		if err != nil {
			return frames, err
		}
		frames = append(frames, string(frame))
	}
}

func TestFrameReader(t *testing.T) {
	framed := func(payload string) string { return string(wire.AppendFrame(nil, []byte(payload))) }
	umlauts := "<cpanelaction>\n{\"a\":\"päß…😀\"}\n</cpanelaction>"
	short := func(by int) string { return strconv.Itoa(len(umlauts)-by) + "\n" + umlauts }
	for _, c := range []struct {
		name   string
		stream string
		want   []string
		err    error
	}{
		{"none", "", nil, io.EOF},
		{"one", framed("abc"), []string{"abc"}, io.EOF},
		{"empty", "0\n", []string{""}, io.EOF},
		{"several in a row", framed(action) + framed("<b>") + framed(action), []string{action, "<b>", action}, io.EOF},
		{"CR LF after the length", "3\r\nabc", []string{"abc"}, io.EOF},
		{"blank lines between frames", "\n\r\n3\nabc\n\n\r\n3\ndef\n", []string{"abc", "def"}, io.EOF},
		{"shutdown without a length", `<cpanelxml shutdown="1" />`, []string{`<cpanelxml shutdown="1" />`}, io.EOF},
		{"shutdown without a length, after frames", framed(action) + "\n<cpanelxml shutdown='1'/>\n", []string{action, "<cpanelxml shutdown='1'/>"}, io.EOF},
		{"length in UTF-16 units", short(10), []string{umlauts}, io.EOF},
		{"length in characters, then a frame", short(11) + "\n" + framed("abc"), []string{umlauts, "abc"}, io.EOF},
		{"a newline that the length does not count", framed(action) + "\n" + framed(action) + "\n", []string{action, action}, io.EOF},
		{"spaces behind a whole action", framed(action + " \n"), []string{action + " \n"}, io.EOF},
		{"at the limit", "64\n" + strings.Repeat("a", 64), []string{strings.Repeat("a", 64)}, io.EOF},
		{"over the limit", "65\n" + strings.Repeat("a", 65), nil, wire.ErrFrameTooLarge},
		{"an action that is never closed", "14\n<cpanelaction>" + strings.Repeat("a", 100), nil, wire.ErrFrameTooLarge},
		{"ten digits", "9999999999\n", nil, wire.ErrFrameTooLarge},
		{"eleven digits", "00000000003\nabc", nil, wire.ErrLength},
		{"a leading zero", "03\nabc", nil, wire.ErrLength},
		{"no number", "abc\n", nil, wire.ErrLength},
		{"negative", "-1\nabc", nil, wire.ErrLength},
		{"a sign", "+3\nabc", nil, wire.ErrLength},
		{"a space", "3 \nabc", nil, wire.ErrLength},
		{"a fraction", "3.0\nabc", nil, wire.ErrLength},
		{"a CR alone", "3\rabc", nil, wire.ErrLength},
		{"another tag without a length", `<cpaneljson enable="1">`, nil, wire.ErrLength},
		{"endless text without a length", "<" + strings.Repeat("a", 1000), nil, wire.ErrLength},
		{"shorter than its length", "9\nabc", nil, wire.ErrTruncated},
		{"an end inside the length", "12", nil, wire.ErrTruncated},
		{"an end behind the length", "12\n", nil, wire.ErrTruncated},
		{"an end inside an action", short(10)[:30], nil, wire.ErrTruncated},
		{"an end inside an unframed tag", "<cpanelxml", nil, wire.ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			most := 64
			for way, r := range map[string]io.Reader{
				"whole":        strings.NewReader(c.stream),
				"byte by byte": iotest.OneByteReader(strings.NewReader(c.stream)),
				"data and EOF": iotest.DataErrReader(strings.NewReader(c.stream)),
			} {
				got, err := readAll(r, most)
				require.ErrorIs(t, err, c.err, way)
				require.Equal(t, c.want, got, way)
			}
		})
	}
}

// T25: a claimed length allocates nothing. The buffer grows with the data that arrives.
func TestT25_ClaimedLengthAllocatesNothing(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		_, err := readAll(strings.NewReader("1048576\nabc"), 0)
		require.ErrorIs(t, err, wire.ErrTruncated)
	}
	runtime.ReadMemStats(&after)
	allocated := (after.TotalAlloc - before.TotalAlloc) / 100
	require.Less(t, allocated, uint64(64<<10))
}

func TestFrameReaderKeepsTheStreamsError(t *testing.T) {
	broken := errors.New("broken pipe")
	_, err := wire.NewFrameReader(iotest.ErrReader(broken), 0).Next()
	require.ErrorIs(t, err, broken)
	_, err = wire.NewFrameReader(io.MultiReader(strings.NewReader("5\nab"), iotest.ErrReader(broken)), 0).Next()
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, wire.ErrTruncated)
}

func TestFrameReaderStarted(t *testing.T) {
	started := 0
	r := wire.NewFrameReader(strings.NewReader("\n\n1\na\n1\nb\n"), 0)
	r.Started = func() { started++ }
	for want := 1; want <= 2; want++ {
		_, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, want, started)
	}
	_, err := r.Next()
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 2, started)
}

// Written frames are read back equal, and no input causes a panic or a frame beyond the limit.
func FuzzFrameReader(f *testing.F) {
	for _, seed := range []string{
		"", "3\nabc", "3\r\nabc\n", `<cpanelxml shutdown="1" />`, "20\n<cpanelaction>\n{\"a\":\"ä\"}\n</cpanelaction>",
		"99999999999\n", "-1\n", "1048577\n", "\n\n\r\n1\na1\nb", "26\n" + `<cpanelxml shutdown="1" />`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		const most = 256
		frames, err := readAll(bytes.NewReader(stream), most)
		require.Error(t, err)
		var again []byte
		for _, frame := range frames {
			require.LessOrEqual(t, len(frame), most)
			again = wire.AppendFrame(again, []byte(frame))
		}
		repeated, err := readAll(bytes.NewReader(again), most)
		if err == io.EOF { // An unclosed action, or digits where a read ends, may need more data.
			require.Equal(t, frames, repeated)
		}
		_, slow := readAll(iotest.OneByteReader(bytes.NewReader(stream)), most)
		require.Error(t, slow)
	})
}
