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
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// Server is the plugin: a module that a script serves.
type Server struct {
	pluginpb.UnimplementedPluginServer
	log  *os.File  // go-plugin takes os.Stderr away; the script gets the real one.
	exit func(int) // Ends the worker, so that the host starts another.

	busy    chan struct{} // Holds a value while no caller uses the script.
	process *process
	ending  sync.Once
	ended   chan struct{} // Closed when the script can't be used any more.
	watched chan struct{} // Closed when the script's end was logged.
}

// grace is how long waiting calls have to return to the host before the worker ends.
const grace = 100 * time.Millisecond

// lastAnswer is how long reading the answer of a script that has ended may take.
const lastAnswer = 2 * time.Second

// NewServer returns a plugin that starts its script when it is asked to describe itself.
func NewServer() *Server {
	s := &Server{log: os.Stderr, exit: os.Exit, busy: make(chan struct{}, 1), ended: make(chan struct{}), watched: make(chan struct{})}
	s.busy <- struct{}{}
	return s
}

// settings are the host's settings for the module.
type settings struct {
	module  string         // The only module that the script may serve.
	command []string       // Program and arguments.
	dir     string         // The working directory.
	env     []string       // In addition to the worker's own environment.
	own     map[string]any // The operator's settings for the script.
}

func readSettings(raw map[string]any) (settings, error) {
	s := settings{}
	s.module, _ = raw["module"].(string)
	s.dir, _ = raw["dir"].(string)
	s.own, _ = raw["settings"].(map[string]any)
	for key, list := range map[string]*[]string{"command": &s.command, "env": &s.env} {
		items, _ := raw[key].([]any)
		for _, item := range items {
			text, ok := item.(string)
			if !ok {
				return s, fmt.Errorf("setting %s: must be a list of texts", key)
			}
			*list = append(*list, text)
		}
	}
	if s.module == "" || len(s.command) == 0 || s.dir == "" {
		return s, errors.New("settings module, command and dir: must be given")
	}
	return s, nil
}

// Describe implements pluginpb.PluginServer: it starts the script and asks it for its description.
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
		return nil, errors.New("the script runs already")
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
		return nil, err
	}
	out, err := payload.Encode(answer)
	if err != nil {
		return nil, err
	}
	if object, ok := answer.(map[string]any); ok && object["error"] != nil {
		return &pluginpb.Payload{Msgpack: out}, nil // The script rejects its settings; the host reports why.
	}
	modules, err := payload.DecodeModules(out)
	if err != nil {
		return nil, fmt.Errorf("the script's description: %w", err)
	}
	// A script must not take the calls of another module.
	if len(modules) != 1 || modules[0].Name != set.module {
		names := make([]string, len(modules))
		for i, m := range modules {
			names[i] = m.Name
		}
		return nil, fmt.Errorf("the script describes the modules %q; it may serve only %s", names, set.module)
	}
	return &pluginpb.Payload{Msgpack: out}, nil
}

// Call implements pluginpb.PluginServer. If the script can't be used any more, the worker ends, and with it
// the call: only the script knows how far it came.
func (s *Server) Call(ctx context.Context, in *pluginpb.Payload) (*pluginpb.Payload, error) {
	request, err := payload.Decode(in.GetMsgpack())
	if err != nil {
		return nil, err
	}
	limit := timeLeft(ctx)
	if err := s.take(ctx); errors.Is(err, errEnded) {
		return nil, status.Error(codes.Aborted, err.Error())
	} else if err != nil {
		// The script was never told about the call.
		return failed(protocol.KindUnavailable, "The module is busy with other calls and nothing was changed. Try again later.")
	}
	defer s.give()
	// The time that a call waited for others does not count for the script: a caller that has run out of time has
	// the host's answer already, and the script is not killed in the middle of its work.
	answer, err := s.process.ask(limit, map[string]any{"call": request})
	if err == nil {
		err = sameID(request, answer)
	}
	switch {
	case errors.Is(err, errUnfit):
		s.logf("%v", err)
		return failed(protocol.KindInternal, "")
	case errors.Is(err, errNotTaken):
		s.end(err)
		return nil, status.Error(codes.Aborted, err.Error())
	case err != nil:
		s.end(err)
		return nil, status.Error(codes.Internal, err.Error())
	}
	out, err := payload.Encode(answer)
	if err != nil {
		s.logf("the answer: %v", err)
		return failed(protocol.KindInternal, "")
	}
	return &pluginpb.Payload{Msgpack: out}, nil
}

// timeLeft returns the time that ctx leaves plus a little, so that the host reports a timeout first; 0 if ctx
// has no deadline.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return time.Until(deadline) + grace
}

// sameID rejects the answer to another call, which a child of the script may have written. Scripts need not
// send an id.
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

// errEnded means that the script never saw the call.
var errEnded = errors.New("the script ended before the call reached it")

// take waits for the script.
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

// watch ends the worker when its script ends.
func (s *Server) watch(p *process) {
	defer close(s.watched)
	err := fmt.Errorf("the script ended: %w", p.wait())
	// The script's last answer is on its way.
	select {
	case <-s.busy:
		defer s.give()
	case <-s.ended:
	case <-time.After(lastAnswer):
	}
	s.end(err)
}

// end ends the worker, once. Waiting calls return to the host, which gives them to the next worker.
func (s *Server) end(err error) {
	// This comes first, so that no call that comes after the log line goes to a script that has ended.
	s.ending.Do(func() {
		close(s.ended)
		s.process.kill()
		time.AfterFunc(grace, func() { s.exit(1) })
	})
	s.logf("%v", err) // Also the second time: a broken pipe and an exit status say more together.
}

func (s *Server) logf(format string, args ...any) {
	_, _ = io.WriteString(s.log, fmt.Sprintf(format, args...)+"\n")
}

// environ returns the worker's environment for the script, without go-plugin's variables.
func environ(more []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return name != "PATH" && name != "LANG" && name != "TZ"
	})
	return append(env, more...)
}
