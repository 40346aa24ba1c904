package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// Server implements the gRPC service of a plugin with a single module, which a script serves. The script
// handles one call at a time; other calls wait.
type Server struct {
	pluginpb.UnimplementedPluginServer
	log  *os.File  // The real stderr, which go-plugin replaces in os.Stderr.
	exit func(int) // Ends the worker; the host starts a new one.

	busy    chan struct{} // A semaphore: contains a value while the script is free.
	process *process
	ending  sync.Once
	ended   chan struct{} // Closed when the script can no longer be used.
	watched chan struct{} // Closed when the end of the script was logged.
	told    atomic.Bool   // Whether the host was told how the script ended, so that it need not be logged, too.
}

// grace is the time between the end of the script and the end of the worker. During this time, waiting calls
// return errors to the host.
const grace = 100 * time.Millisecond

// lastAnswer is the maximum time that watch waits for a call to read the last answer of a script that has
// ended.
const lastAnswer = 2 * time.Second

// NewServer returns the gRPC service of a plugin. The first call of Describe starts the script.
func NewServer() *Server {
	s := &Server{log: os.Stderr, exit: os.Exit, busy: make(chan struct{}, 1), ended: make(chan struct{}), watched: make(chan struct{})}
	s.busy <- struct{}{}
	return s
}

// settings are the settings that the host sends for the module.
type settings struct {
	module  string         // The only module that the script may describe.
	command []string       // The program and its arguments.
	dir     string         // The script's working directory.
	env     []string       // Added to the variables that environ keeps.
	own     map[string]any // The settings that the operator wrote for the script.
	source  string         // The script's path, for messages to its author.
}

func readSettings(raw map[string]any) (settings, error) {
	s := settings{}
	s.module, _ = raw["module"].(string)
	s.dir, _ = raw["dir"].(string)
	s.own, _ = raw["settings"].(map[string]any)
	if s.source, _ = raw["source"].(string); s.source == "" {
		s.source = "the script"
	}
	for key, list := range map[string]*[]string{"command": &s.command, "env": &s.env} {
		items, _ := raw[key].([]any)
		for _, item := range items {
			text, ok := item.(string)
			if !ok {
				return s, fmt.Errorf("setting %s: must be a list of strings", key)
			}
			*list = append(*list, text)
		}
	}
	if s.module == "" || len(s.command) == 0 || s.dir == "" {
		return s, errors.New("the settings module, command and dir must be set")
	}
	return s, nil
}

// Describe implements pluginpb.PluginServer. It starts the script and asks the script to describe its module.
func (s *Server) Describe(ctx context.Context, in *pluginpb.Payload) (*pluginpb.Payload, error) {
	raw, err := payload.DecodeSettings(in.GetMsgpack())
	if err != nil {
		return nil, err
	}
	set, err := readSettings(raw)
	if err != nil {
		return nil, err
	}
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer s.give()
	if s.process != nil {
		return nil, errors.New("the script is already running")
	}
	if s.process, err = startProcess(set, s.log); err != nil {
		return nil, err
	}
	go s.watch(s.process)
	if set.own == nil {
		set.own = map[string]any{}
	}
	answer, err := s.process.ask(timeLeft(ctx), map[string]any{"describe": map[string]any{"settings": set.own}})
	if err != nil {
		return nil, s.tell(s.process.whileLoading(err))
	}
	out, err := payload.Encode(answer)
	if err != nil {
		return nil, err
	}
	if object, ok := answer.(map[string]any); ok && object["error"] != nil {
		return &pluginpb.Payload{Msgpack: out}, nil // The script returned an error; the host reports it.
	}
	modules, err := payload.DecodeModules(out)
	if err != nil {
		return nil, fmt.Errorf("%s: its description: %w", set.source, err)
	}
	// A script must only describe the module in its settings, or it would receive the calls of another
	// module.
	if len(modules) != 1 || modules[0].Name != set.module {
		names := make([]string, len(modules))
		for i, m := range modules {
			names[i] = m.Name
		}
		return nil, fmt.Errorf("%s describes the modules %q, but its module is %s: the name in the script must be the directory's name, or the name in module.toml", set.source, names, set.module)
	}
	return &pluginpb.Payload{Msgpack: out}, nil
}

// Call implements pluginpb.PluginServer. If a failure leaves the script unusable, the worker ends and the
// call fails. If the script may have received the call, the host must not repeat the call, because only the
// script could tell how much of it was done.
func (s *Server) Call(ctx context.Context, in *pluginpb.Payload) (*pluginpb.Payload, error) {
	request, err := payload.Decode(in.GetMsgpack())
	if err != nil {
		return nil, err
	}
	limit := timeLeft(ctx)
	if err := s.take(ctx); errors.Is(err, errEnded) {
		return nil, status.Error(codes.Aborted, err.Error())
	} else if err != nil {
		// The call's time ended while it waited, so the script never received the call.
		return failed(protocol.KindUnavailable, "The module is busy with other calls and nothing was changed. Try again later.")
	}
	defer s.give()
	// limit was calculated before the call waited in take, so the script gets the full time even after a long
	// wait. The host answers the caller at the deadline by itself. If limit ended at that deadline, the
	// script could be killed in the middle of its work.
	answer, err := s.process.ask(limit, map[string]any{"call": request})
	if err == nil {
		err = sameID(request, answer)
	}
	switch {
	case errors.Is(err, errUnfit):
		return internal(err)
	case errors.Is(err, errNotTaken):
		s.end(err)
		return nil, status.Error(codes.Aborted, err.Error())
	case err != nil:
		err = s.process.during(err, functionOf(request))
		if ctx.Err() == nil {
			err = s.tell(err)
		}
		s.end(err)
		return nil, status.Error(codes.Internal, err.Error())
	}
	out, err := payload.Encode(answer)
	if err != nil {
		return internal(fmt.Errorf("%s: the answer: %w", s.process.source, err))
	}
	return &pluginpb.Payload{Msgpack: out}, nil
}

// timeLeft returns the time until the deadline of ctx, plus grace: the host must report a timeout before this
// plugin does. It returns 0 if ctx has no deadline.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return time.Until(deadline) + grace
}

// sameID returns an error if the answer contains an id that is not the request's, for example because a child
// process of the script wrote an answer to an earlier call. A script may omit the id.
func sameID(request, answer any) error {
	asked, _ := request.(map[string]any)
	answered, _ := answer.(map[string]any)
	if id, ok := answered["id"]; ok && id != asked["id"] {
		return errors.New("the script's answer is for another call")
	}
	return nil
}

func failed(kind protocol.Kind, message string) (*pluginpb.Payload, error) {
	out, err := payload.EncodeError(protocol.NewError(kind, message))
	return &pluginpb.Payload{Msgpack: out}, err
}

// tell marks the end of the script as told, because the host gets err.
func (s *Server) tell(err error) error {
	s.told.Store(true)
	return err
}

// internal returns an answer whose cause is for the log and the author.
func internal(cause error) (*pluginpb.Payload, error) {
	out, err := payload.EncodeError(&protocol.Error{Kind: protocol.KindInternal, Err: cause})
	return &pluginpb.Payload{Msgpack: out}, err
}

// functionOf returns the name of the function that a request calls.
func functionOf(request any) string {
	asked, _ := request.(map[string]any)
	name, _ := asked["func"].(string)
	return name
}

// errEnded means that the script ended before it received the call.
var errEnded = errors.New("the script ended before the call reached it")

// take waits until the script is free and reserves it for the caller. The caller must call give afterwards.
func (s *Server) take(ctx context.Context) error {
	select {
	case <-s.busy:
		err := ctx.Err()
		select {
		case <-s.ended:
			err = errEnded
		default:
		}
		if err != nil {
			s.give()
		}
		return err
	case <-s.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) give() { s.busy <- struct{}{} }

// watch waits until the script ends, and then ends the worker.
func (s *Server) watch(p *process) {
	defer close(s.watched)
	err := fmt.Errorf("%s ended: %w", p.source, p.wait())
	// If a call is still reading the script's last answer, wait until it has finished, but at most for
	// lastAnswer.
	select {
	case <-s.busy:
		defer s.give()
	case <-s.ended:
	case <-time.After(lastAnswer):
	}
	s.end(err)
}

// end closes ended, kills the script, and ends the worker after grace; further calls of end only log err.
// During grace, waiting calls return to the host, which passes them to the next worker.
func (s *Server) end(err error) {
	// ended is closed before the line is logged: a call that arrives after the log line must not be sent to a
	// script that has ended.
	s.ending.Do(func() {
		close(s.ended)
		s.process.kill()
		time.AfterFunc(grace, func() { s.exit(1) })
	})
	if !s.told.Load() { // Not only the first error: a script that crashes can cause both a broken pipe and an exit status.
		s.logf("%v", err)
	}
}

func (s *Server) logf(format string, args ...any) {
	_, _ = io.WriteString(s.log, fmt.Sprintf(format, args...)+"\n")
}

// environ returns the environment for the script: the worker's PATH, LANG and TZ, and the variables in more.
func environ(more []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return name != "PATH" && name != "LANG" && name != "TZ"
	})
	return append(env, more...)
}
