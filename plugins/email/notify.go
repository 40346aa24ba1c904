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

// notifier tells a mail server that it must not go by what it remembers of a mailbox.
type notifier interface {
	changed(ctx context.Context, box store.Address, kind change) error
	// end ends the sessions of all users whose names fit one of the masks.
	end(ctx context.Context, masks []string) error
}

// change is what changed of a mailbox.
type change int

const (
	limits change = iota // What it may do.
	logins               // Who may log in: its sessions may have to end.
)

// notifyMailServer is the part of an operation that tells the mail server what was changed.
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

// notify tells the mail server, where there is one to tell. The change was made: that it could
// not be told is a warning.
func (m *Module) notify(ctx context.Context, call *sdk.Call, box store.Address, kind change) {
	set := m.current()
	n := set.notifier
	if n == nil {
		return
	}
	// Also where the caller has left: the change was made.
	limit := mailTime(ctx, set.settings.MailTimeout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := n.changed(ctx, box, kind); err != nil {
		call.Log("tell the mail server of " + box.String() + ": " + err.Error())
		call.Warn("The change was made. The mail server could not be told of it, and may go by what it was for a while.")
	}
}

// reserve is what is left of a call's time for its answer: that the change was made.
const reserve = 2 * time.Second

// mailTime returns how long a mail server may take within a call: limit, or what the call leaves.
func mailTime(ctx context.Context, limit time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(deadline)-reserve, 0))
	}
	return limit
}

// doveadm tells a Dovecot over its HTTP API
// (doc.dovecot.org/2.3/admin_manual/doveadm_http_api).
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
			// The key goes to the address that was configured, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// changed implements notifier: it has Dovecot forget what it remembers of the user (that there
// is none, too), and end its sessions where that is asked for.
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

// command is one of doveadm's, as its HTTP API takes it: name, parameters, tag.
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
		return fmt.Errorf("doveadm answers %s", answer.Status)
	}
	return readDoveadm(text)
}

// readDoveadm looks for a failure in an answer: [["doveadmResponse",[],"flush"],["error",{...},"kick"]]
func readDoveadm(text []byte) error {
	var answers [][]json.RawMessage
	if err := json.Unmarshal(text, &answers); err != nil {
		return errors.New("doveadm's answer is none")
	}
	for _, a := range answers {
		if len(a) < 3 || string(a[0]) != `"error"` {
			continue
		}
		// That nobody was logged in is no failure.
		if string(a[2]) == `"kick"` && bytes.Contains(a[1], []byte("68")) {
			continue
		}
		return fmt.Errorf("doveadm's command %s failed: %.200s", a[2], a[1])
	}
	return nil
}
