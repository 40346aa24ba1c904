package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// Serve serves the given modules until the host ends the process. The main function of a plugin calls it.
func Serve(modules ...*Module) { ServePlugin(NewServer(modules...)) }

// ServePlugin does the same as Serve for a plugin with its own implementation of the gRPC service.
func ServePlugin(server pluginpb.PluginServer) {
	unix.Umask(0o077)
	if os.Getenv(plugin.HardenEnv) != "" {
		// By default, the kernel lets other processes of the same user read this process's memory, if that
		// user can read the program's file, as is usual. The memory may contain secrets, so the process
		// clears its dumpable flag to forbid this.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "protect the process's memory from other programs (PR_SET_DUMPABLE): "+err.Error())
			os.Exit(1)
		}
	}
	secure, err := mutualTLS()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "prepare TLS with the host: "+err.Error())
		os.Exit(1)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		TLSProvider:     secure,
		HandshakeConfig: plugin.Handshake(),
		Plugins:         plugin.Server(guarded(server, os.Getenv(plugin.AccountEnv))),
		GRPCServer:      plugin.NewGRPCServer,
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
	})
}

// Server implements the gRPC service of a plugin for modules that are written in Go.
type Server struct {
	pluginpb.UnimplementedPluginServer
	modules []*Module
	log     io.Writer // The real stderr, which go-plugin replaces in os.Stderr.
}

// NewServer returns the gRPC service for modules. Plugins call Serve instead.
func NewServer(modules ...*Module) *Server {
	return &Server{modules: modules, log: os.Stderr}
}

// Describe implements pluginpb.PluginServer. It configures the modules and returns their descriptions.
func (s *Server) Describe(_ context.Context, in *pluginpb.Payload) (*pluginpb.Payload, error) {
	settings, err := payload.DecodeSettings(in.GetMsgpack())
	if err != nil {
		return nil, err
	}
	described := make([]protocol.Module, 0, len(s.modules))
	for _, m := range s.modules {
		if m.Configure != nil {
			if err := m.Configure(settings); err != nil {
				out, err := payload.EncodeError(protocol.NewError(protocol.KindInvalid, err.Error()))
				return &pluginpb.Payload{Msgpack: out}, err
			}
		}
		d := protocol.Module{Name: m.Name, Help: m.Help, HelperSettings: m.HelperSettings}
		shared := m.Shared != nil && m.Shared()
		for _, f := range m.Functions {
			f.Function.Shared = f.Function.Shared || shared
			f.Function.Before, f.Function.After = f.Before != nil && !f.Shared, f.After != nil && !f.Shared
			f.Function.Shapes = !f.Function.Changes && !f.Function.Open && f.After == nil
			f.Function.Source = sourceOf(f.Do)
			d.Functions = append(d.Functions, f.Function)
		}
		if err := d.Validate(); err != nil {
			return nil, err
		}
		described = append(described, d)
	}
	out, err := payload.EncodeModules(described)
	return &pluginpb.Payload{Msgpack: out}, err
}

// Call implements pluginpb.PluginServer. It runs the stage of a function that the request specifies, or all
// stages, and logs internal errors.
func (s *Server) Call(ctx context.Context, in *pluginpb.Payload) (*pluginpb.Payload, error) {
	request, err := payload.DecodeRequest(in.GetMsgpack())
	if err != nil {
		return nil, err
	}
	result := s.run(ctx, request)
	out, err := s.encode(request.ID, result)
	if err != nil {
		out, err = payload.EncodeError(&protocol.Error{Kind: protocol.KindInternal, Err: err})
	}
	return &pluginpb.Payload{Msgpack: out}, err
}

// encode encodes a result. It runs the author's code if the data is a List.
func (s *Server) encode(id string, result *protocol.Result) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(id, p)
		}
	}()
	return payload.EncodeResult(result)
}

// panicked returns an error for a panic in the author's code and logs the stack. Only the type of the panic is logged,
// because its text may contain a secret argument.
func (s *Server) panicked(id string, p any) error {
	s.logf("call %s: panic of type %T\n%s", id, p, debug.Stack())
	text := fmt.Sprintf("panic of type %T at %s", p, panicPlace())
	if own := runtime.Error(nil); errors.As(asError(p), &own) {
		text += ": " + own.Error() // Go's own text contains numbers and types, and no argument.
	}
	return errors.New(text)
}

func asError(p any) error {
	err, _ := p.(error)
	return err
}

func (s *Server) run(ctx context.Context, request payload.Request) (result *protocol.Result) {
	fn := s.function(request.Call)
	if fn == nil {
		return protocol.Failed(&protocol.Error{Kind: protocol.KindInternal, Err: fmt.Errorf("the plugin has no function %.64q", request.Call.Func)})
	}
	call := &Call{
		ID: request.ID, API: request.Call.API, Account: request.Account, Role: request.Role, Mailbox: request.Mailbox,
		args: secrets(fn.Params, request.Call.Args.Named),
		log:  func(text string) { s.logf("call %s: %s", request.ID, text) },
	}
	defer func() {
		if p := recover(); p != nil {
			result = protocol.Failed(&protocol.Error{Kind: protocol.KindInternal, Err: s.panicked(request.ID, p)})
		}
	}()
	call.Input, call.told = request.Input, &told{warnings: request.Warnings}
	data, err := fn.run(ctx, request.Stage, call)
	if err != nil {
		return protocol.Failed(failure(err))
	}
	result = &protocol.Result{Metadata: call.Metadata}
	if request.Stage == protocol.Before {
		request.Shape = nil // The data is for the next part.
	}
	if err := shape(ctx, request, data, result); err != nil {
		return protocol.Failed(failure(err))
	}
	result.Messages, result.Warnings = call.told.messages, call.told.warnings
	return result
}

// run runs the given stage of the function: before, do or after. protocol.Whole runs all of them in this
// process.
func (f *Function) run(ctx context.Context, stage protocol.Stage, call *Call) (data any, err error) {
	if stage == protocol.Before || stage == protocol.Whole && f.Before != nil {
		if data, err = f.part(f.Before)(ctx, call); err != nil || stage == protocol.Before {
			return data, err
		}
		if data, err = plain(ctx, data); err != nil {
			return nil, err
		}
		call.Input = data
	}
	if stage != protocol.After {
		call.tell() // The copy shares it.
		do := *call
		if f.Before != nil || f.After != nil {
			// Do must not receive secret arguments if Before or After exists, even if all stages run in this
			// process. Otherwise the author could write a Do that reads the secrets, and this Do would fail
			// on a host that runs it in a separate process.
			do.args = f.WithoutSecrets(protocol.Args{Named: call.args}).Named
		}
		data, err = f.Do(ctx, &do)
		call.Metadata = do.Metadata
		if err != nil || stage == protocol.Do || f.After == nil {
			return data, err
		}
		if data, err = plain(ctx, data); err != nil {
			return nil, err
		}
		call.Input = data
	}
	return f.part(f.After)(ctx, call)
}

// part returns the parameter part. If part is nil, it returns a function that always returns an error,
// because the host requested a stage that the function does not have.
func (f *Function) part(part func(context.Context, *Call) (any, error)) func(context.Context, *Call) (any, error) {
	if part != nil {
		return part
	}
	return func(context.Context, *Call) (any, error) {
		return nil, fmt.Errorf("the function %s has no handler for the requested part of the call", f.Name)
	}
}

// failure returns the error that is sent to the host. The host logs its private cause, with the call's id.
func failure(err error) *protocol.Error {
	public := protocol.AsError(err)
	if public == nil {
		return &protocol.Error{Kind: protocol.KindInternal, Err: err}
	}
	if public.Err != nil && err != error(public) {
		whole := *public
		whole.Err = err // What wraps the error is a part of the cause.
		return &whole
	}
	return public
}

func (s *Server) function(call protocol.Call) *Function {
	for _, m := range s.modules {
		if m.Name != call.Module {
			continue
		}
		for i := range m.Functions {
			if f := &m.Functions[i]; f.API == call.API && f.Name == call.Func {
				return f
			}
		}
	}
	return nil
}

// secrets returns args with the value of each secret parameter wrapped in a protocol.Secret, so that the
// value is not printed by mistake. The request from the host contains these values as plain text.
func secrets(params []protocol.Param, args map[string]any) map[string]any {
	out := make(map[string]any, len(args))
	for name, value := range args {
		out[name] = value
	}
	for _, p := range params {
		if text, ok := out[p.Name].(string); ok && p.Type == protocol.TypeSecret {
			out[p.Name] = protocol.NewSecret(text)
		}
	}
	return out
}

func (s *Server) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.log, format+"\n", args...)
}

// ErrSetting returns an error for Module.Configure that reports an invalid setting. name is the name of the
// setting, and want describes its valid values.
func ErrSetting(name, want string) error {
	return errors.New("setting " + name + ": must be " + want)
}
