// Package livepage runs the pages of cPanel plugins: PHP and Perl programs that answer by CGI and call the
// LiveAPI. Each run has a session socket of its own, and its calls can be watched. The package knows no
// module; the host decides which calls are allowed.
package livepage

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/protocol"
)

// Kind is the way to run a page.
type Kind int

const (
	// None is a file that is not a page.
	None Kind = iota
	// PHP is run by php-cgi.
	PHP
	// Perl is run by perl.
	Perl
)

// KindOf returns the kind of a file by its name. The endings come from cPanel's documentation.
func KindOf(name string) Kind {
	switch {
	case strings.HasSuffix(name, ".live.php"), strings.HasSuffix(name, ".livephp"):
		return PHP
	case strings.HasSuffix(name, ".live.pl"), strings.HasSuffix(name, ".livepl"):
		return Perl
	}
	return None
}

// Runner runs pages for an account.
type Runner struct {
	Doer session.Doer
	// Socket is the socket of a running host, to which Doer's calls go. If the calls of a page are not
	// watched, the page connects to it directly. If Socket is "", every page gets a socket of its own.
	Socket  string
	Account protocol.Account
	Env     []string // NAME=value, in addition to CGI's variables and the sockets; the rest of the environment is not passed on.
	Stderr  io.Writer
	Log     *slog.Logger
}

// drainTime is how long a page's session may finish its call after the page has ended.
const drainTime = 5 * time.Second

// Run runs the page in file and writes its answer. watch is called for each call of the page; it may be nil.
func (r *Runner) Run(w http.ResponseWriter, req *http.Request, file string, watch func(Call)) error {
	handler, err := r.handler(file)
	if err != nil {
		return err
	}
	socket := r.Socket
	if socket == "" || watch != nil {
		var stop func()
		if socket, stop, err = r.listen(req.Context(), watch); err != nil {
			return err
		}
		defer stop()
	}
	handler.Env = append(handler.Env, "CPANEL_CONNECT_SOCKET="+socket, "CPANEL_PHPCONNECT_SOCKET="+socket, "LIVEAPI_ENCODING=msgpack")
	handler.ServeHTTP(w, req)
	return nil
}

func (r *Runner) handler(file string) (*cgi.Handler, error) {
	kind := KindOf(file)
	name := map[Kind]string{PHP: "php-cgi", Perl: "perl"}[kind]
	if kind == None {
		return nil, fmt.Errorf("%s: a page's name ends in .live.php, .livephp, .live.pl or .livepl", file)
	}
	program, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s is needed to run %s: %w", name, filepath.Base(file), err)
	}
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	h := &cgi.Handler{
		Path: program, Dir: filepath.Dir(file), Stderr: r.Stderr, Logger: slog.NewLogLogger(r.Log.Handler(), slog.LevelWarn),
		// php-cgi reads the script's path from SCRIPT_FILENAME, and only if REDIRECT_STATUS is set.
		Env: append([]string{
			"SCRIPT_FILENAME=" + file, "REDIRECT_STATUS=200", "REMOTE_USER=" + r.Account.Name, "USER=" + r.Account.Name,
			"HOME=" + r.Account.Home, "DOCUMENT_ROOT=" + filepath.Dir(file),
		}, r.Env...),
	}
	if kind == Perl {
		h.Args = []string{file}
	}
	return h, nil
}

// listen opens a private session socket.
func (r *Runner) listen(ctx context.Context, watch func(Call)) (socket string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "liveapi-page-") // Mode 0700.
	if err != nil {
		return "", nil, fmt.Errorf("page: %w", err)
	}
	socket = filepath.Join(dir, "liveapi.sock")
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, err
	}
	caller := protocol.Caller{Account: r.Account, Role: protocol.RoleAccount, Door: "page"}
	server := &session.Server{
		Doer: watched{r.Doer, watch}, Log: r.Log,
		Identify: func(uid int) (protocol.Caller, error) {
			if uid != os.Geteuid() {
				return caller, protocol.NewError(protocol.KindDenied, "This session is another user's.")
			}
			return caller, nil
		},
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(context.WithoutCancel(ctx), l) // It ends with its listener.
	}()
	return socket, func() {
		_ = l.Close()
		<-served
		drain, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		server.Shutdown(drain)
		_ = os.RemoveAll(dir)
	}, nil
}
