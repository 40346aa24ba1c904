package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/cmd/internal/remote"
	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/dev/upstream"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/modules/cassette"
	"github.com/liveapid/liveapid/protocol"
)

// recordFlags are the options of liveapi record.
type recordFlags struct {
	config, user, output, to, token, listen string
	names, texts                            []string
	https, insecure                         bool
}

func recordCommand() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record [--output FILE] [--to SERVER] -- PROGRAM [ARGUMENT ...]",
		Short: "Run a program, and record its calls and their answers",
		Long: `Runs PROGRAM like liveapi run, and writes each call and its answer to a cassette, a file with a JSON
document on each line. Passwords, tokens, keys, e-mail addresses and IP addresses are masked.

Without --to, a host in this process answers. With --to SOCKET, the calls go to the host or the cPanel
server that listens on the socket. With --to https://HOST:2083, they go to that server's HTTPS API, with
--user and the API token in the file of --token-file. With --listen, programs may also send requests of the
HTTPS API to this address, as plain HTTP: they are forwarded to the server of --to, and recorded.`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error { return f.run(cmd, words) },
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&f.config, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
	cmd.Flags().StringVar(&f.user, "user", "", "the account")
	cmd.Flags().StringVarP(&f.output, "output", "o", "cassette.jsonl", "the new cassette; an existing file is replaced")
	cmd.Flags().StringVar(&f.to, "to", "", "the server: a socket, or https://HOST:PORT")
	cmd.Flags().StringVar(&f.token, "token-file", "", "with --to https: a file with an API token of the user")
	cmd.Flags().StringVar(&f.listen, "listen", "", "with --to https: a loopback address that forwards and records requests")
	cmd.Flags().BoolVar(&f.https, "https", false, "without --to: also serve the HTTPS API of the configuration")
	cmd.Flags().BoolVar(&f.insecure, "insecure", false, "with --to https: accept every certificate, such as one that signs itself")
	cmd.Flags().StringSliceVar(&f.names, "mask", nil, "the name of a further secret value; may be repeated")
	cmd.Flags().StringArrayVar(&f.texts, "mask-text", nil, "a text to mask wherever it occurs, such as a domain; may be repeated")
	return cmd
}

func (f *recordFlags) run(cmd *cobra.Command, words []string) error {
	c, err := config.Find(f.config)
	if err != nil {
		return err
	}
	if f.to == "" && c.Mode == config.Server {
		return admin.Usage(fmt.Errorf("a host in server mode is recorded through its socket: add --to %s", c.Socket))
	}
	if err := enterTree(c, cmd.ErrOrStderr()); err != nil {
		return err
	}
	if f.output, err = destination(f.output); err != nil {
		return err
	}
	// The cassette appears only when the recording is complete.
	file, err := os.CreateTemp(filepath.Dir(f.output), ".cassette-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	recorder, err := cassette.NewRecorder(file, f.names, f.texts)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	ran := f.record(cmd.Context(), c, recorder, words)
	if err := errors.Join(recorder.Err(), file.Close()); err != nil {
		return err
	}
	var status exitStatus
	switch {
	case ran != nil && (!errors.As(ran, &status) || status > 128): // It did not run, or a signal ended it.
		return fmt.Errorf("nothing was recorded, and %s was not changed: %w", f.output, ran)
	case recorder.Calls() == 0:
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "liveapi: the program made no call; %s was not changed\n", f.output)
		return ran
	}
	if err := os.Rename(file.Name(), f.output); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "liveapi: recorded %d calls in %s\n", recorder.Calls(), f.output)
	return ran
}

// destination returns the file that the cassette will be: path, or the file to which the link path leads.
func destination(path string) (string, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return path, nil
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", admin.Usage(fmt.Errorf("--output: %s is not a file", path))
	}
	return path, nil
}

// record runs the program, with the server that the options name.
func (f *recordFlags) record(ctx context.Context, c *config.Config, recorder *cassette.Recorder, words []string) error {
	switch {
	case f.to == "":
		if f.listen != "" || f.token != "" {
			return admin.Usage(errors.New("--listen and --token-file need --to https://HOST:PORT"))
		}
		a, err := ownAccount(c, f.user)
		if err != nil {
			return err
		}
		return runWith(c, a, words, runOptions{tap: recorder.Record, https: f.https})
	case strings.HasPrefix(f.to, "https://"), strings.HasPrefix(f.to, "http://"):
		return f.recordHTTPS(ctx, c, recorder, words)
	}
	return runRecorded(c, remote.New(f.to), recorder, words, nil)
}

// runRecorded runs a program and records its calls on another server. If the server could not be asked, the recording is
// not complete.
func runRecorded(c *config.Config, doer session.Doer, recorder *cassette.Recorder, words, env []string) error {
	r := &recorded{Doer: doer, recorder: recorder}
	err := runDoer(c, r, words, env)
	if failed := r.failed.Load(); failed != nil {
		return *failed
	}
	return err
}

// recorded is a Doer that records each call.
type recorded struct {
	session.Doer
	recorder *cassette.Recorder
	failed   atomic.Pointer[error] // Why the server could not be asked.
}

func (r *recorded) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	result := r.Doer.Do(ctx, caller, call)
	if result.Err != nil && result.Err.Err != nil { // The server's own failures have no private cause.
		err := errors.New(result.Err.Message)
		r.failed.Store(&err)
		return result
	}
	r.recorder.Record(call, protocol.Function{}, result)
	return result
}

func (f *recordFlags) recordHTTPS(ctx context.Context, c *config.Config, recorder *cassette.Recorder, words []string) error {
	base, err := url.Parse(f.to)
	if err != nil || base.Host == "" || base.User != nil || (base.Path != "" && base.Path != "/") {
		return admin.Usage(errors.New("--to: the address must have the form https://HOST:PORT"))
	}
	if ip := net.ParseIP(base.Hostname()); base.Scheme != "https" && base.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return admin.Usage(errors.New("--to: without https, passwords and the token would cross the network in the clear"))
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := &http.Client{Timeout: time.Minute, CheckRedirect: noRedirect, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{InsecureSkipVerify: f.insecure}, //nolint:gosec // The user asked for it.
	}}
	server := &upstream.Server{Base: base, User: f.user, Client: client}
	if f.token != "" {
		file, err := os.Open(f.token)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		token, err := readLine(file)
		_ = file.Close()
		if err == nil && token == "" {
			err = errors.New("the file is empty")
		}
		if err != nil {
			return fmt.Errorf("--token-file: %s: %w", f.token, err)
		}
		server.Token = protocol.NewSecret(token)
	}
	if f.listen == "" && (f.user == "" || f.token == "") {
		return admin.Usage(errors.New("--to https needs --user and --token-file, or --listen for a program with its own credentials"))
	}
	var env []string
	if f.listen != "" {
		l, err := listenLoopback(f.listen)
		if err != nil {
			return err
		}
		env = append(env, "LIVEAPI_RECORD_URL=http://"+l.Addr().String())
		proxy := &http.Server{
			Handler: upstream.Proxy(base, client, func(call protocol.Call, result *protocol.Result) { recorder.Record(call, protocol.Function{}, result) }), ReadHeaderTimeout: 10 * time.Second,
			BaseContext: func(net.Listener) context.Context { return ctx },
		}
		served := make(chan error, 1)
		go func() { served <- proxy.Serve(l) }()
		defer func() {
			_ = proxy.Close()
			<-served
		}()
	}
	return runRecorded(c, server, recorder, words, env)
}

// runDoer runs a program with a private socket on which doer answers.
func runDoer(c *config.Config, doer session.Doer, words, env []string) error {
	l, socket, remove, err := privateSocket()
	if err != nil {
		return err
	}
	defer remove()
	server := &session.Server{
		Doer: doer, Log: discardLog(),
		Identify: func(uid int) (protocol.Caller, error) {
			if uid != os.Geteuid() {
				return protocol.Caller{}, protocol.NewError(protocol.KindDenied, "This session belongs to another user.")
			}
			return protocol.Caller{Role: protocol.RoleAccount, Door: "socket"}, nil
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), l) }()
	err = execute(words, append(append(withLibraries(os.Environ(), c.Bindings), socketEnv(socket)...), env...))
	_ = l.Close()
	<-served
	drain, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	server.Shutdown(drain)
	return err
}
