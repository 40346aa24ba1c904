package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// actAsPart checks the name under which this program was started. If it is bench-echo or bench-pong,
// actAsPart runs the program as the echo plugin or the ping-pong server and returns true. Otherwise it
// returns false at once.
func actAsPart(args []string) bool {
	switch filepath.Base(args[0]) {
	case "bench-echo":
		sdk.Serve(echoModule())
		return true
	case "bench-pong":
		pong(args[1])
		return true
	}
	return false
}

func echoModule() *sdk.Module {
	return &sdk.Module{Name: "Echo", Help: "For benchmarks.", Functions: []sdk.Function{{
		Function: protocol.Function{
			API: protocol.UAPI, Name: "echo", Roles: []protocol.Role{protocol.RoleAccount}, Params: []protocol.Param{{Name: "text"}},
		},
		Do: func(_ context.Context, c *sdk.Call) (any, error) { return c.String("text"), nil },
	}, rowsFunction()}}
}

// pong listens on the UNIX socket and sends every line that a client writes back to the client.
func pong(socket string) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			r := bufio.NewReader(conn)
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if _, err := conn.Write(line); err != nil {
					return
				}
			}
		}()
	}
}

// as creates a link to this program under the given name and returns the path of the link. Started under that
// name, the program acts as a plugin or as a server (see actAsPart). If a hard link is not possible, as
// copies the program.
func (b *bench) as(name string) (string, error) {
	path := filepath.Join(b.scratch, name)
	if err := os.Link(b.self, path); err == nil || os.IsExist(err) {
		return path, nil
	}
	content, err := os.ReadFile(b.self)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, content, 0o755)
}

// echoWorld starts a host that runs this program as the plugin for the module Echo. It returns the host's
// world and the path of the plugin. The caller must stop the world.
func (b *bench) echoWorld() (w *world, plugin string, err error) {
	if plugin, err = b.as("bench-echo"); err != nil {
		return nil, "", err
	}
	if w, err = b.newWorld(1, fmt.Sprintf("\n[[plugin]]\npath = %q\n", plugin)); err != nil {
		return nil, "", err
	}
	if err = w.serve(); err != nil {
		w.stop()
	}
	return w, plugin, err
}

var echoCall = protocol.Call{API: protocol.UAPI, Module: "Echo", Func: "echo", Args: protocol.Args{Named: map[string]any{"text": "hello"}}}

// call measures the time of a call whose function does no work, from the client through the socket and the
// host to a worker and back. It compares this time with the sum of two minimal parts: a ping-pong over a UNIX
// socket, and a direct go-plugin call over gRPC without a host.
func (b *bench) call() error {
	w, echo, err := b.echoWorld()
	if err != nil {
		return err
	}
	defer w.stop()
	c, err := w.dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	whole := func() error {
		_, err := c.Call(context.Background(), echoCall)
		return err
	}
	bareCall, endPlugin, err := b.barePlugin(echo)
	if err != nil {
		return err
	}
	defer endPlugin()
	pingPong, endPong, err := b.pingPong()
	if err != nil {
		return err
	}
	defer endPong()

	var all [3]samples
	var switched [3]int
	for round := range 11 {
		for i, do := range []func() error{whole, bareCall, pingPong} {
			before := switches(os.Getpid())
			s, err := timed(b.times(1000), do)
			if err != nil {
				return err
			}
			if round > 0 { // The first round is a warm-up and is not recorded.
				all[i] = append(all[i], s...)
				switched[i] += switches(os.Getpid()) - before
			}
		}
	}
	perCall := func(i int) string { return fmt.Sprintf("%.1f", float64(switched[i])/float64(len(all[i]))) }
	sum := all[1].median() + all[2].median()
	own := all[0].median() - sum
	table("A call that does no work", []string{"what", "median", "p99", "ratio to the sum of both parts", "context switches"}, [][]string{
		{"socket, host, worker and back", us(all[0].median()), us(all[0].p99()), ratio(float64(all[0].median()), float64(sum)), perCall(0)},
		{"a bare go-plugin call over gRPC", us(all[1].median()), us(all[1].p99()), "", perCall(1)},
		{"a bare ping-pong over a UNIX socket", us(all[2].median()), us(all[2].p99()), "", perCall(2)},
		{"the host's own part (first less the two others)", us(own), "", ratio(float64(own), float64(sum)), ""},
	})
	return nil
}

// barePlugin starts the echo plugin directly with go-plugin, without a host. do runs a call of the plugin,
// and end stops the plugin.
func (b *bench) barePlugin(path string) (do func() error, end func(), err error) {
	pc := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: plugin.Handshake(), Plugins: plugin.Client(), Cmd: exec.Command(path),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
	})
	protocolClient, err := pc.Client()
	if err != nil {
		return nil, nil, err
	}
	raw, err := protocolClient.Dispense(plugin.Name)
	if err != nil {
		return nil, nil, err
	}
	rpc := raw.(pluginpb.PluginClient)
	ask, err := payload.EncodeRequest(payload.Request{ID: "abcdef", Call: echoCall, Role: protocol.RoleAccount, Account: protocol.Account{Name: "demo", Home: "/home/demo", Domains: []string{"example.com"}}})
	if err != nil {
		return nil, nil, err
	}
	return func() error {
		_, err := rpc.Call(context.Background(), &pluginpb.Payload{Msgpack: ask})
		return err
	}, pc.Kill, nil
}

// pingPong starts the ping-pong server. do sends a line of 160 bytes to the server and waits until the line
// comes back; end stops the server.
func (b *bench) pingPong() (do func() error, end func(), err error) {
	path, err := b.as("bench-pong")
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(b.scratch, "pong.sock")
	cmd := exec.Command(path, socket)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	var conn net.Conn
	if err := until(func() bool { conn, err = net.Dial("unix", socket); return err == nil }); err != nil {
		end()
		return nil, nil, err
	}
	r := bufio.NewReader(conn)
	line := make([]byte, 160)
	line[159] = '\n'
	return func() error {
		if _, err := conn.Write(line); err != nil {
			return err
		}
		_, err := r.ReadSlice('\n')
		return err
	}, end, nil
}
