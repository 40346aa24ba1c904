// Package postqueue counts, deletes and releases the messages of a sender that are in Postfix's hold queue.
// It runs Postfix's commands postqueue and postsuper, which require root. Only permitted users may send
// requests. The programs of these users must check, before they send a request, that the sender belongs to
// the account for which they send the request: this package does not depend on accounts or stores.
package postqueue

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/front/unixsock"
)

// Request is a request to the agent. On the connection a request is one line of JSON.
type Request struct {
	Do     string `json:"do"`     // The operation: count, delete or release.
	Sender string `json:"sender"` // The email address of the sender.
}

// Answer is the agent's answer to a Request. On the connection an answer is one line of JSON.
type Answer struct {
	N     int    `json:"n"` // Number of messages.
	Error string `json:"error,omitempty"`
}

// Agent runs as root and answers the requests of permitted users, one request per connection. It runs the
// requests one after the other. Peer reports whether a user may send requests. Set the exported fields before
// Serve.
type Agent struct {
	Config string // Postfix's configuration directory; "" is the default.
	Peer   func(uid int) bool
	Log    *slog.Logger

	once  sync.Once
	queue chan struct{} // A lock: requests run one at a time, each reads the queue.
}

func (a *Agent) turn() chan struct{} {
	a.once.Do(func() { a.queue = make(chan struct{}, 1) })
	return a.queue
}

const (
	maxLine   = 1024
	idle      = 10 * time.Second
	maxAtOnce = 16
	// perRun is the maximum time of a request. It is shorter than the client's timeout, so that a request
	// can't succeed after the client has already reported a failure.
	perRun = 40 * time.Second
)

// Serve accepts connections on l and answers their requests until ctx ends.
func (a *Agent) Serve(ctx context.Context, l *net.UnixListener) error {
	return unixsock.Server{Allowed: a.Peer, Most: maxAtOnce, Log: a.Log, Handle: a.serve}.Serve(ctx, l)
}

// serve reads the only request of the connection conn and writes the answer.
func (a *Agent) serve(ctx context.Context, conn *net.UnixConn) {
	_ = conn.SetDeadline(time.Now().Add(idle))
	line, err := bufio.NewReaderSize(conn, maxLine).ReadSlice('\n')
	if err != nil {
		return
	}
	answer := a.answer(ctx, line)
	_ = conn.SetDeadline(time.Now().Add(idle))
	_ = json.NewEncoder(conn).Encode(answer)
}

func (a *Agent) answer(ctx context.Context, line []byte) Answer {
	var r Request
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || !isAddress(r.Sender) {
		return Answer{Error: "no request"}
	}
	ctx, cancel := context.WithTimeout(ctx, perRun)
	defer cancel()
	n, err := a.do(ctx, r)
	if err != nil {
		a.Log.Error("can't read or change the mail queue", "do", r.Do, "sender", r.Sender, "error", err.Error())
		return Answer{Error: "the mail queue can't be read or changed at the moment"}
	}
	if r.Do != "count" {
		a.Log.Info("mail queue changed", "do", r.Do, "sender", r.Sender, "messages", n)
	}
	return Answer{N: n}
}

// do runs the request r on all held messages of r.Sender and returns the number of messages.
func (a *Agent) do(ctx context.Context, r Request) (int, error) {
	select {
	case a.turn() <- struct{}{}:
		defer func() { <-a.turn() }()
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for another request to the mail queue: %w", ctx.Err())
	}
	ids, err := a.held(ctx, r.Sender)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	switch r.Do {
	case "count":
		return len(ids), nil
	case "delete":
		return len(ids), a.super(ctx, "-d", ids)
	case "release":
		if err := a.super(ctx, "-H", ids); err != nil {
			return 0, err
		}
		a.flush(ctx, ids)
		return len(ids), nil
	}
	return 0, fmt.Errorf("%.20q is not one of count, delete and release", r.Do)
}

// held returns the queue ids of the messages from sender that are in the hold queue.
func (a *Agent) held(ctx context.Context, sender string) ([]string, error) {
	out, err := a.command(ctx, "/usr/sbin/postqueue", "-j").Output()
	if err != nil {
		return nil, fmt.Errorf("run postqueue: %w", err)
	}
	var ids []string
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var m struct {
			Queue  string `json:"queue_name"`
			ID     string `json:"queue_id"`
			Sender string `json:"sender"`
		}
		if err := dec.Decode(&m); err != nil {
			return nil, fmt.Errorf("parse the output of postqueue: %w", err)
		}
		if m.Queue == "hold" && strings.EqualFold(m.Sender, sender) && isID(m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids, nil
}

// super runs postsuper with option, which is -d to delete or -H to release. postsuper reads the ids of the
// messages from its standard input.
func (a *Agent) super(ctx context.Context, option string, ids []string) error {
	cmd := a.command(ctx, "/usr/sbin/postsuper", option, "-", "hold")
	if option == "-H" {
		cmd = a.command(ctx, "/usr/sbin/postsuper", option, "-")
	}
	cmd.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run postsuper: %w: %.300s", err, out)
	}
	return nil
}

// maxFlushed is the maximum number of released messages for which an immediate delivery is requested. Postfix
// delivers the rest when it next scans its queue.
const maxFlushed = 100

// flush tells Postfix to deliver the released messages now. Otherwise they would wait until Postfix scans its
// queue of deferred messages.
func (a *Agent) flush(ctx context.Context, ids []string) {
	for _, id := range ids[:min(len(ids), maxFlushed)] {
		if err := a.command(ctx, "/usr/sbin/postqueue", "-i", id).Run(); err != nil {
			a.Log.Warn("can't deliver a released message at once; Postfix will deliver the message when it next scans its queue", "id", id, "error", err.Error())
		}
	}
}

func (a *Agent) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if a.Config != "" {
		args = append([]string{"-c", a.Config}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}, "/"
	return cmd
}

// isID reports whether s is a queue id. Anything else, such as an option or a path, must not reach postsuper.
func isID(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

func isAddress(s string) bool {
	localpart, domain, ok := strings.Cut(s, "@")
	return ok && localpart != "" && domain != "" && len(s) <= 320 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
