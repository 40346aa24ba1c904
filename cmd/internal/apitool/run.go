package apitool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/protocol"
)

// program is one of the commands, by the name under which it was started.
type program struct {
	name   string
	api    protocol.API // 0 for whmapi1.
	whm    bool
	output string // The default of --output.
}

// textOutput is the output of cpapi1: the text that the function printed.
const textOutput = "text"

// programs returns all commands.
func programs() []program {
	return []program{
		{"uapi", protocol.UAPI, false, "yaml"}, {"cpapi2", protocol.API2, false, "yaml"}, {"cpapi1", protocol.API1, false, textOutput}, {"whmapi1", 0, true, "yaml"},
	}
}

// Run is the main function of uapi, cpapi2, cpapi1 and whmapi1: args[0] is the name under which the program
// was started. It runs a function and returns the exit status. The status is 0 if an answer was printed, even
// if that answer reports a failure, unless the option --fail is given, and 1 if there is no answer.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := programs()[0]
	for _, other := range programs() {
		if filepath.Base(args[0]) == other.name {
			p = other
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := p.run(ctx, args[1:], stdin, stdout, stderr)
	var misuse usageError
	switch {
	case errors.As(err, &misuse):
		_, _ = fmt.Fprintf(stderr, "%s: %s; see %[1]s --help\n", p.name, err)
		return 1
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", p.name, err)
		return 1
	case failed:
		return 1
	}
	return 0
}

// usageError is the error of a command line that can't be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run runs a command line. failed reports whether the answer reports a failure and --fail was given.
func (p program) run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (failed bool, err error) {
	o, err := parseOptions(p, args)
	switch {
	case err != nil:
		return false, usageError{err}
	case o.complete != "":
		return false, o.completions(ctx, stdout, stderr)
	case o.help || !p.whm && len(o.words) == 1:
		return false, o.showHelp(ctx, stdout, stderr)
	}
	call, err := o.call(stdin)
	if err != nil {
		return false, usageError{err}
	}
	answer, err := o.answer(ctx, call, stderr)
	if err != nil {
		return false, err
	}
	if err := write(stdout, o.output, answer); err != nil {
		return false, err
	}
	o.hint(ctx, call, answer, stderr)
	return o.fail && reportsFailure(answer), nil
}

// answer runs a call and returns the answer, which is JSON.
func (o options) answer(ctx context.Context, call protocol.Call, stderr io.Writer) ([]byte, error) {
	c, err := config.Find("")
	if err != nil {
		return nil, err
	}
	if o.program.whm {
		return askWHM(ctx, c, call)
	}
	answer, err := ask(ctx, c, o.user, call, stderr)
	return answer, named(c, err)
}

// named adds the configuration that was used to an error, unless the caller chose it.
func named(c *config.Config, err error) error {
	switch {
	case err == nil || os.Getenv(config.Env) != "":
		return err
	case c.Path() == "":
		return fmt.Errorf("%w; there is no configuration %s, and %s is not set", err, config.DefaultPath, config.Env)
	}
	return fmt.Errorf("%w; the configuration is %s, because %s is not set", err, c.Path(), config.Env)
}

// askWHM runs a function of WHM on the running host, for root.
func askWHM(ctx context.Context, c *config.Config, call protocol.Call) ([]byte, error) {
	if c.Control == "" {
		return nil, named(c, errors.New("the configuration key control, the socket for root's commands, is not set"))
	}
	args := url.Values{"api.version": {"1"}}
	for name, value := range call.Args.Named {
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, item := range list {
			switch v := item.(type) {
			case nil:
			case string:
				args.Add(name, v)
			case protocol.Number:
				args.Add(name, string(v))
			default:
				text, err := json.Marshal(v)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				args.Add(name, string(text))
			}
		}
	}
	answer, err := control.WHM(ctx, c.Control, call.Func, args)
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil, named(c, fmt.Errorf("no host listens on %s (start the host with liveapid serve)", c.Control))
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("you must run this command as root")
	}
	return answer, err
}

// ask runs a call in a new session and returns the answer. If no host is running, open may start one for this
// call.
func ask(ctx context.Context, c *config.Config, user string, call protocol.Call, stderr io.Writer) ([]byte, error) {
	as, err := callerFor(c, user)
	if err != nil {
		return nil, err
	}
	session, err := open(ctx, c, as, stderr)
	if err != nil {
		return nil, err
	}
	answer, err := session.Call(ctx, call)
	closed := session.Close()
	if err == nil && closed != nil && len(answer) == 0 {
		err = closed
	}
	return answer, err
}

// open opens a session. If the parameter as is not nil, open connects to the configured socket with the uid
// and gid of that account. Otherwise it connects as the running user, to the socket in the environment, or to
// the configured socket if the environment contains none. If no host listens on the configured socket, open
// then starts a private host in personal mode, and returns an error in server mode.
func open(ctx context.Context, c *config.Config, as *protocol.Account, stderr io.Writer) (*client.Client, error) {
	if as != nil {
		// The socket in root's environment is not used: it does not belong to the account.
		conn, err := unixsock.DialAs(c.Socket, as.UID, as.GID)
		if err != nil {
			return nil, fmt.Errorf("no host listens on %s (start the host with liveapid serve): %w", c.Socket, err)
		}
		return client.New(ctx, conn)
	}
	if socket := client.Socket(); socket != "" {
		return client.Dial(ctx, socket)
	}
	session, err := client.Dial(ctx, c.Socket)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
		return session, err
	}
	if c.Mode == config.Server {
		return nil, fmt.Errorf("no host listens on %s (start the host with liveapid serve): %w", c.Socket, err)
	}
	program := "liveapid"
	if self, err := os.Executable(); err == nil {
		program = filepath.Join(filepath.Dir(self), "liveapid")
	}
	return client.Spawn(ctx, program, c.Path(), stderr)
}

// reportsFailure reports whether an answer says that the call failed, in the envelope of any API.
func reportsFailure(answer []byte) bool {
	var a struct {
		Result   struct{ Status *json.Number }
		Metadata struct{ Result *json.Number }
		Event    struct{ Result *json.Number }
		CPanel   struct {
			Error string
			Event struct{ Result *json.Number }
			Data  json.RawMessage
		} `json:"cpanelresult"`
	}
	if json.Unmarshal(answer, &a) != nil {
		return true
	}
	for _, verdict := range []*json.Number{a.Result.Status, a.Metadata.Result, a.Event.Result, a.CPanel.Event.Result} {
		if verdict != nil && *verdict == "0" {
			return true
		}
	}
	var records []struct{ Result *json.Number }
	if json.Unmarshal(a.CPanel.Data, &records) == nil && len(records) > 0 && records[0].Result != nil && *records[0].Result == "0" {
		return true
	}
	return a.CPanel.Error != ""
}
