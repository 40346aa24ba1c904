package apitool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/protocol"
)

const usage = `Usage: %[1]s [--user=NAME] [--output=json|jsonpretty|yaml|xml] [--input=json] MODULE FUNCTION [name=value ...]

Runs one function of %[2]s for an account and prints the answer.

  --user=NAME      the account; on a server with many accounts root must name it
  --output=FORM    yaml (default), json on one line, jsonpretty, or xml
  --input=json     read the arguments as one JSON object from standard input

Values are URI-encoded: + is a space, %%XX a byte. A value of - is read from standard
input, one line each: a password on the command line can be read by every user of the
machine for as long as the command runs.

  echo 'the new password' | %[1]s --user=demo Email %[3]s email=user domain=example.com password=-
`

// Run is the main function of cpapi2 and uapi: it runs a function of the given API and returns the exit
// status. The status is 0 if an answer was printed, even if that answer reports a failure, and 1 if there is
// no answer.
func Run(api protocol.API, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program, example := "uapi", "passwd_pop"
	if api == protocol.API2 {
		program, example = "cpapi2", "passwdpop"
	}
	o, err := parseOptions(program, args)
	if err == nil && o.help {
		_, _ = fmt.Fprintf(stdout, usage, program, api, example)
		return 0
	}
	var call protocol.Call
	if err == nil {
		call, err = o.call(api, stdin)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", program, err)
		_, _ = fmt.Fprintf(stderr, usage, program, api, example)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	answer, err := ask(ctx, o.user, call, stderr)
	if err == nil {
		err = write(stdout, o.output, answer)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", program, err)
		return 1
	}
	return 0
}

// ask runs a call in a new session and returns the answer. If no host is running, open may start one for this
// call.
func ask(ctx context.Context, user string, call protocol.Call, stderr io.Writer) ([]byte, error) {
	c, err := config.Find("")
	if err != nil {
		return nil, err
	}
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
