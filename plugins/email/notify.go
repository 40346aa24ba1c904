package email

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// notifier notifies a mail server of changes, so that the mail server drops its cached data of the changed
// mailbox.
type notifier interface {
	changed(ctx context.Context, box store.Address, kind change) error
	// end ends the sessions of all users that match a mask; a mask may contain the wildcards * and ?.
	end(ctx context.Context, masks []string) error
	// forget makes the mail server forget its cached data of all mailboxes.
	forget(ctx context.Context) error
}

// change is the kind of change that the mail server is notified of.
type change int

const (
	limits change = iota // A change that does not affect logins; sessions may continue.
	logins               // A change that affects logins; sessions may have to end.
)

// notifyMailServer returns the part after of an operation. It notifies the mail server that the mailbox in
// the call has changed.
func (m *Module) notifyMailServer(kind change) part {
	return func(ctx context.Context, call *sdk.Call) (any, error) {
		box, err := mailbox(call)
		if err != nil {
			return nil, err
		}
		m.notify(ctx, call, box, kind)
		return nil, nil
	}
}

// notify notifies the mail server of a change to box, if a mail server is configured. A failure only adds a
// warning to the answer, because the change itself was made.
func (m *Module) notify(ctx context.Context, call *sdk.Call, box store.Address, kind change) {
	set := m.current()
	n := set.notifier
	if n == nil {
		return
	}
	// The mail server is notified even if the caller has disconnected, because the change was made.
	limit := mailTime(ctx, set.settings.MailTimeout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := n.changed(ctx, box, kind); err != nil {
		call.Log("notify the mail server of " + box.String() + ": " + err.Error())
		call.Warn("The change was made, but the mail server could not be notified. It may use the old state for a while.")
	}
}

// reserve is the time before a call's deadline that is reserved for returning the answer; mailTime subtracts
// it. If the mail server used all the time, the caller would get a timeout and not learn that the change was
// made.
const reserve = 2 * time.Second

// mailTime returns the maximum time for a request to the mail server within a call: limit, or less if fewer
// than limit plus reserve remain until the call's deadline.
func mailTime(ctx context.Context, limit time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(deadline)-reserve, 0))
	}
	return limit
}

// mailServer returns the notifier for the setting doveadm.
func (s Settings) mailServer() notifier {
	if isSocket(s.Doveadm) {
		return &doveadmSocket{path: s.Doveadm, kick: s.Kick, timeout: s.MailTimeout}
	}
	return newDoveadm(s.Doveadm, protocol.NewSecret(s.DoveadmKey), s.Kick, s.MailTimeout)
}

// doveadm notifies a Dovecot server over its HTTP API (doc.dovecot.org/2.3/admin_manual/doveadm_http_api).
type doveadm struct {
	url    string
	key    protocol.Secret
	kick   bool
	client *http.Client
}

func newDoveadm(address string, key protocol.Secret, kick bool, timeout time.Duration) *doveadm {
	return &doveadm{
		url: strings.TrimRight(address, "/") + "/doveadm/v1", key: key, kick: kick,
		client: &http.Client{
			Timeout: timeout,
			// A redirect is not followed, because the API key must only be sent to the configured address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// changed implements notifier. Dovecot flushes its cached data of the user, which includes a cached answer
// that the user does not exist. If kick is set and the login changed, Dovecot also ends the user's sessions.
func (d *doveadm) changed(ctx context.Context, box store.Address, kind change) error {
	user := box.String()
	commands := []command{{"authCacheFlush", map[string]any{"user": []string{user}}, "flush"}}
	if d.kick && kind == logins {
		commands = append(commands, kick(user))
	}
	return d.run(ctx, commands)
}

// end implements notifier.
func (d *doveadm) end(ctx context.Context, masks []string) error {
	commands := make([]command, 0, len(masks))
	for _, mask := range masks {
		commands = append(commands, kick(mask))
	}
	return d.run(ctx, commands)
}

// forget implements notifier. Without a user, Dovecot flushes its whole cache.
func (d *doveadm) forget(ctx context.Context) error {
	return d.run(ctx, []command{{"authCacheFlush", map[string]any{"user": []string{}}, "flush"}})
}

// ForgetLogins makes the mail server of the settings forget its cached logins, after a program has changed many
// mailboxes. It does nothing if the settings name no mail server.
func (s Settings) ForgetLogins(ctx context.Context) error {
	if s.Doveadm == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.MailTimeout)
	defer cancel()
	if err := s.mailServer().forget(ctx); err != nil {
		return fmt.Errorf("the mailboxes were changed, but the mail server could not be notified and may use their old state for a while: %w", err)
	}
	return nil
}

// command is a doveadm command in the form that the HTTP API expects: name, parameters, tag.
type command []any

func kick(mask string) command {
	return command{"kick", map[string]any{"mask": []string{mask}}, "kick"}
}

func (d *doveadm) run(ctx context.Context, commands []command) error {
	body, err := json.Marshal(commands)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if d.key.Len() > 0 {
		req.Header.Set("Authorization", "X-Dovecot-API "+base64.StdEncoding.EncodeToString([]byte(d.key.Reveal())))
	}
	answer, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("doveadm answered %s", answer.Status)
	}
	return readDoveadm(text)
}

// readDoveadm returns an error if a command failed according to Dovecot's answer, which looks like this:
// [["doveadmResponse",[],"flush"],["error",{...},"kick"]]
func readDoveadm(text []byte) error {
	var answers [][]json.RawMessage
	if err := json.Unmarshal(text, &answers); err != nil {
		return errors.New("doveadm's answer is not valid JSON of the expected form")
	}
	for _, a := range answers {
		if len(a) < 3 || string(a[0]) != `"error"` {
			continue
		}
		// Exit code 68 means that the user is not logged in. Kicking such a user is not a failure.
		if string(a[2]) == `"kick"` && bytes.Contains(a[1], []byte("68")) {
			continue
		}
		return fmt.Errorf("doveadm's command %s failed: %.200s", a[2], a[1])
	}
	return nil
}
