package email

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// doveadmSocket notifies a Dovecot server over a UNIX socket of its service doveadm, in the protocol of Dovecot's program
// doveadm. It needs no key, because the owner and the mode of the socket restrict access. Dovecot 2.4.1 can't be
// notified over its HTTP API, because the process of the API aborts at the command authCacheFlush.
type doveadmSocket struct {
	path    string
	kick    bool
	timeout time.Duration
}

// changed implements notifier.
func (d *doveadmSocket) changed(ctx context.Context, box store.Address, kind change) error {
	if err := d.run(ctx, append([]string{"auth cache flush"}, operand(box.String())...)...); err != nil {
		return err
	}
	if d.kick && kind == logins {
		return d.end(ctx, []string{box.String()})
	}
	return nil
}

// end implements notifier.
func (d *doveadmSocket) end(ctx context.Context, masks []string) error {
	for _, mask := range masks {
		if err := d.run(ctx, append([]string{"kick"}, operand(mask)...)...); err != nil {
			return err
		}
	}
	return nil
}

// operand returns the words for an argument of a command, so that Dovecot does not parse it as an option.
func operand(text string) []string {
	if strings.HasPrefix(text, "-") {
		return []string{"--", text}
	}
	return []string{text}
}

// forget implements notifier. This protocol has no command for the whole cache, but a reload ends the processes that
// hold it. Sessions go on.
func (d *doveadmSocket) forget(ctx context.Context) error { return d.run(ctx, "reload") }

// doveadmStatus matches the line that ends the answer to a command: + for success, otherwise - and a reason.
var doveadmStatus = regexp.MustCompile(`^(\+|-([A-Z]*))$`)

// run gives a command to Dovecot, and returns an error if the command failed.
func (d *doveadmSocket) run(ctx context.Context, words ...string) error {
	if strings.ContainsAny(strings.Join(words, ""), "\x00\x01\t\r\n") {
		return errors.New("doveadm: a word of the command has a character that separates commands")
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.path)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	// The two empty fields are flags, and the user for commands on the mail of a user.
	if _, err := fmt.Fprintf(conn, "VERSION\tdoveadm-server\t1\t0\n\t\t%s\n", strings.Join(words, "\t")); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(conn, 64<<10)
	for statuses := 0; ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("doveadm's command %s: Dovecot ended the connection without an answer: %w", words[0], err)
		}
		status := doveadmStatus.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if status == nil { // The command's output.
			continue
		}
		statuses++
		switch {
		case statuses == 1 && status[1] != "+":
			return errors.New("doveadm: the socket wants a password: use the path of a UNIX socket of Dovecot's service doveadm")
		case statuses == 1: // The greeting.
		case status[1] == "+", words[0] == "kick" && status[2] == "NOTFOUND": // Nobody is logged in.
			return nil
		default:
			return fmt.Errorf("doveadm's command %s failed: %s", words[0], status[1])
		}
	}
}
