package session_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

// packedConn is a client in a MessagePack session.
type packedConn struct {
	t *testing.T
	*hosttest.Conn
	frames *wire.FrameReader
}

func pack(t *testing.T, r *rig) *packedConn {
	t.Helper()
	conn, err := net.Dial("unix", r.socket)
	require.NoError(t, err)
	c := &packedConn{t: t, Conn: hosttest.NewConn(t, conn)}
	c.Send(wire.EnableMessagePack)
	br := bufio.NewReader(conn)
	head := "<?xml version=\"1.0\" ?>\n<cpanelresult>{\"data\":{\"result\":\"msgpack\"}}</cpanelresult>\n"
	got := make([]byte, len(head))
	for i := range got {
		got[i], err = br.ReadByte()
		require.NoError(t, err)
	}
	require.Equal(t, head, string(got))
	c.frames = wire.NewFrameReader(br, protocol.MaxAnswer)
	return c
}

func (c *packedConn) request(id uint64, text string) {
	c.t.Helper()
	frame, err := wire.AppendPacked(nil, id, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "echo", Args: protocol.Args{Named: map[string]any{"text": text}}})
	require.NoError(c.t, err)
	c.Raw(string(frame))
}

func (c *packedConn) answer() (uint64, map[string]any) {
	c.t.Helper()
	doc, err := c.frames.Next()
	require.NoError(c.t, err)
	id, envelope, err := wire.ParsePackedAnswer(doc)
	require.NoError(c.t, err)
	return id, envelope
}

func data(envelope map[string]any) any { return envelope["result"].(map[string]any)["data"] }

func TestPackedSession(t *testing.T) {
	r := serve(t, echo, session.Limits{}, nil)
	c := pack(t, r)
	c.request(1, "a\xff\x00")
	id, envelope := c.answer()
	require.EqualValues(t, 1, id)
	require.Equal(t, "a\xff\x00", data(envelope), "byte for byte")
	require.Equal(t, map[string]any{}, envelope["result"].(map[string]any)["metadata"])

	c.Send("\x90")
	id, envelope = c.answer()
	require.EqualValues(t, 0, id)
	require.Contains(t, envelope["error"], "not a MessagePack map")
	c.request(2, "the session goes on")
	_, envelope = c.answer()
	require.Equal(t, "the session goes on", data(envelope))

	var frames []byte
	for i := range uint64(500) {
		frame, err := wire.AppendPacked(nil, i, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "echo", Args: protocol.Args{Named: map[string]any{"text": fmt.Sprint(i)}}})
		require.NoError(t, err)
		frames = append(frames, frame...)
	}
	// Writes concurrently with reading, because unread answers keep the host from reading requests.
	go func() { _, _ = c.Write(frames) }()
	seen := map[uint64]bool{}
	for range 500 {
		id, envelope := c.answer()
		require.Equal(t, fmt.Sprint(id), data(envelope))
		seen[id] = true
	}
	require.Len(t, seen, 500)
	c.Send(wire.Shutdown)
	_, envelope = c.answer()
	require.Equal(t, map[string]any{"result": "shutdown"}, envelope["data"])
	_, err := c.frames.Next()
	require.Error(t, err)
}

// Answers may arrive in another order. The number of concurrent calls is limited.
func TestPackedPipeline(t *testing.T) {
	release := make(chan struct{})
	running := make(chan string, 1000)
	r := serve(t, func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
		text := call.Args.Named["text"].(string)
		running <- text
		if strings.HasPrefix(text, "slow") {
			<-release
		}
		return echo(ctx, caller, call)
	}, session.Limits{}, nil)
	c := pack(t, r)
	c.request(1, "slow")
	require.Equal(t, "slow", <-running)
	c.request(2, "quick")
	id, _ := c.answer()
	require.EqualValues(t, 2, id)
	<-running
	for i := range uint64(100) {
		c.request(100+i, "slow "+fmt.Sprint(i))
	}
	for range 63 {
		<-running
	}
	select {
	case text := <-running:
		t.Fatalf("%s runs beyond the bound", text)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 101 {
		c.answer()
	}
}

// R16: draining ends the reading. Calls that were read are answered.
func TestR16_DrainOfAPackedSession(t *testing.T) {
	release, running := make(chan struct{}), make(chan struct{}, 10)
	slow := func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
		running <- struct{}{}
		<-release
		return echo(ctx, caller, call)
	}
	r := serve(t, slow, session.Limits{}, nil)
	idle := pack(t, r)
	c := pack(t, r)
	for i := range uint64(10) {
		c.request(i, "x")
		<-running
	}
	drained := make(chan struct{})
	go func() {
		r.server.Shutdown(context.Background())
		close(drained)
	}()
	_, err := idle.frames.Next()
	require.Error(t, err, "one that waits is let go at once")
	close(release)
	for range 10 {
		c.answer()
	}
	_, err = c.frames.Next()
	require.Error(t, err)
	<-drained
}

func TestPackedStreams(t *testing.T) {
	var in bytes.Buffer
	in.Write(wire.AppendFrame(nil, []byte(wire.EnableMessagePack)))
	for i := range uint64(3) {
		frame, err := wire.AppendPacked(nil, i, protocol.Call{API: protocol.UAPI, Module: "Try", Func: "echo", Args: protocol.Args{Named: map[string]any{"text": "x"}}})
		require.NoError(t, err)
		in.Write(frame)
	}
	var out bytes.Buffer
	require.NoError(t, session.Serve(t.Context(), doer(echo), protocol.Caller{}, session.Limits{}, slog.New(slog.DiscardHandler), &in, &out))
	_, rest, ok := strings.Cut(out.String(), "</cpanelresult>\n")
	require.True(t, ok)
	frames := wire.NewFrameReader(strings.NewReader(rest), 0)
	for range 3 {
		doc, err := frames.Next()
		require.NoError(t, err)
		_, envelope, err := wire.ParsePackedAnswer(doc)
		require.NoError(t, err)
		require.Equal(t, "x", data(envelope))
	}
}
