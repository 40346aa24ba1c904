// Package livepage runs the pages of cPanel plugins: PHP and Perl programs that answer by CGI and call the
// LiveAPI. A page calls the LiveAPI through a session socket. This is either the socket of a running host, or
// a socket for this run of the page, on which the calls can be watched. The package does not depend on any
// module; the host decides which calls are allowed.
package livepage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/protocol"
)

// Kind is the kind of a page: the program that runs it.
type Kind int

const (
	// None is the kind of a file that is not a page.
	None Kind = iota
	// PHP is the kind of a page that php-cgi runs.
	PHP
	// Perl is the kind of a page that perl runs.
	Perl
)

// KindOf returns the kind of the file called name, which depends on the end of the name. The endings are
// those in cPanel's documentation. A plain .php file is a page, too.
func KindOf(name string) Kind {
	name = strings.ToLower(name)
	switch {
	case strings.HasSuffix(name, ".php"), strings.HasSuffix(name, ".livephp"):
		return PHP
	case strings.HasSuffix(name, ".live.pl"), strings.HasSuffix(name, ".livepl"):
		return Perl
	}
	return None
}

// Runner runs pages for an account. Its methods may be called concurrently.
type Runner struct {
	Doer session.Doer
	// Socket is the path of the socket of a running host, or "". A page connects directly to Socket if its
	// calls need not be watched. Otherwise, or if Socket is "", the runner opens a separate socket for each
	// run of a page and passes the calls that arrive on that socket to Doer.
	Socket  string
	Account protocol.Account
	Env     []string // NAME=value; the page gets only these and CGI's variables.
	Stderr  io.Writer
	Log     *slog.Logger
}

// drainTime is the maximum time that a LiveAPI call may still run after the page that made it has ended. It
// is also the maximum time that running pages may take to finish when Dev.Serve stops.
const drainTime = 5 * time.Second

// Run runs the page in file for the request req and writes the page's answer to w. If watch is not nil, Run
// calls watch after each call of the page to the LiveAPI, and returns the errors of the page.
func (r *Runner) Run(w http.ResponseWriter, req *http.Request, file string, watch func(Call)) ([]PageError, error) {
	handler, err := r.handler(file)
	if err != nil {
		return nil, err
	}
	socket := r.Socket
	if socket == "" || watch != nil {
		var stop func()
		if socket, stop, err = r.listen(req.Context(), watch); err != nil {
			return nil, err
		}
		defer stop()
	}
	var reports *reports
	if watch != nil {
		if reports, err = newReports(KindOf(file), handler); err != nil {
			return nil, err
		}
		defer reports.close()
		req = req.Clone(req.Context())
		req.Header.Del("Accept-Encoding") // A script is added to the page.
	}
	handler.Env = append(handler.Env, "CPANEL_CONNECT_SOCKET="+socket, "CPANEL_PHPCONNECT_SOCKET="+socket, "LIVEAPI_ENCODING=msgpack")
	handler.ServeHTTP(w, req)
	return reports.read(filepath.Dir(file)), nil
}

func (r *Runner) handler(file string) (*cgi.Handler, error) {
	kind := KindOf(file)
	name := map[Kind]string{PHP: "php-cgi", Perl: "perl"}[kind]
	if kind == None {
		return nil, fmt.Errorf("%s is not a page: the file's name must end in .php, .livephp, .live.pl or .livepl", file)
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
		// php-cgi reads the path of the script from SCRIPT_FILENAME. It refuses to run unless REDIRECT_STATUS
		// is set.
		Env: append([]string{
			"SCRIPT_FILENAME=" + file, "REDIRECT_STATUS=200", "REMOTE_USER=" + r.Account.Name, "USER=" + r.Account.Name,
			"HOME=" + r.Account.Home, "DOCUMENT_ROOT=" + filepath.Dir(file),
		}, r.Env...),
	}
	if kind == Perl {
		h.Args = append(taintSwitch(file), file)
	}
	return h, nil
}

// taintSwitch returns the switch -T or -t if the first line of a Perl page contains it. Perl refuses to run
// such a page unless its command line contains the switch, too.
func taintSwitch(file string) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil // Perl will report the error.
	}
	defer func() { _ = f.Close() }()
	line, _ := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	if found := taintPattern.FindStringSubmatch(line); found != nil {
		return []string{"-" + found[1]}
	}
	return nil
}

var taintPattern = regexp.MustCompile(`^#!.*perl\S*\s(?:.*\s)?-[A-Za-z]*([Tt])`)

// listen opens a session socket for one run of a page. Only the running user can connect to the socket. The
// caller must call stop when the page has ended.
func (r *Runner) listen(ctx context.Context, watch func(Call)) (socket string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "liveapi-page-") // The new directory has mode 0700.
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
				return caller, protocol.NewError(protocol.KindDenied, "This session belongs to another user.")
			}
			return caller, nil
		},
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(context.WithoutCancel(ctx), l) // Serve returns when stop closes l.
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
