package email

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// Ports that the settings for mail programs contain (RFC 8314); the examples of cPanel's documentation
// contain the same ports.
const (
	imapsPort, imapPort = 993, 143
	smtpsPort, smtpPort = 465, 25
)

// client is the user of a mail program: a mailbox, or the account's own user.
type client struct {
	name   string // The login name.
	domain string
	box    store.Address // Zero for the account's own mailbox.
}

// clientOf returns the client that the argument account specifies: an address of a mailbox, or the account's
// own name, which is the default. For a mailbox, clientOf also accepts the form user+domain.
func clientOf(call *sdk.Call) (client, error) {
	name := call.String("account")
	main := call.Account.MainDomain()
	switch own := name == "" || store.Lower(name) == store.Lower(call.Account.Name); {
	case own && call.Role != protocol.RoleMailbox:
		return client{name: call.Account.Name, domain: main}, nil
	case name == "": // The user of a mailbox; mailboxOf rejects all other mailboxes.
		name = call.Mailbox
	}
	if !strings.Contains(name, "@") {
		// UAPI returns the name of a new mailbox as user+example.com, so callers may pass a name in that form
		// in the argument account.
		if plus := strings.LastIndexByte(name, '+'); plus > 0 {
			name = name[:plus] + "@" + name[plus+1:]
		}
	}
	box, err := mailboxOf(call, name, "", "account")
	if err != nil {
		return client{}, err
	}
	return client{name: box.String(), domain: box.Domain, box: box}, nil
}

// clientThere does the same as clientOf, and also checks that the mailbox exists.
func (m *Module) clientThere(ctx context.Context, call *sdk.Call) (client, error) {
	c, err := clientOf(call)
	if err != nil || c.box == (store.Address{}) {
		return c, err
	}
	if _, err := m.store(call.Account).Mailbox(ctx, c.box); err != nil {
		return client{}, public(c.box, err, "Nothing was read")
	}
	return c, nil
}

// mailHost returns the host name of the mail server that the mail programs of a domain's users connect to.
func (s Settings) mailHost(domain string) string {
	if s.MailHost != "" {
		return s.MailHost
	}
	return "mail." + domain
}

// clientSettings returns the settings for a mail program.
func (m *Module) clientSettings(ctx context.Context, call *sdk.Call) (any, error) {
	c, err := m.clientThere(ctx, call)
	if err != nil {
		return nil, err
	}
	set := m.current().settings
	host := set.mailHost(c.domain)
	return map[string]any{
		"account": c.name, "display": c.name, "domain": c.domain, "mail_domain": set.mailHost(c.domain),
		"inbox_host": host, "inbox_port": imapsPort, "inbox_insecure_port": imapPort, "inbox_service": "imap", "inbox_username": c.name,
		"smtp_host": host, "smtp_port": smtpsPort, "smtp_insecure_port": smtpPort, "smtp_username": c.name,
		"activesync_available": 0, "from_archiving": 0, "has_plaintext_authentication": flagOf(set.PlaintextLogin),
	}, nil
}

// webmailSettings returns the settings for a webmail program.
func (m *Module) webmailSettings(ctx context.Context, call *sdk.Call) (any, error) {
	c, err := m.clientThere(ctx, call)
	if err != nil {
		return nil, err
	}
	host := m.current().settings.MailHost
	if host == "" {
		host = hostname()
	}
	return map[string]any{"domain": host, "user": c.name, "has_maildir": 1}, nil
}

// hostname returns the name of this machine, which is also the mail server unless the setting mail_host names
// another one.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

func (m *Module) plaintextLogin(context.Context, *sdk.Call) (any, error) {
	return flagOf(m.current().settings.PlaintextLogin), nil
}

func flagOf(on bool) int {
	if on {
		return 1
	}
	return 0
}

// checkSettings is the part do of the operation that mails the settings; dispatchSettings is the part after.
// checkSettings only checks that the mailbox exists.
func (m *Module) checkSettings(ctx context.Context, call *sdk.Call) (any, error) {
	_, err := m.clientThere(ctx, call)
	return nil, err
}

// dispatchSettings mails the settings for a mail program to the address in the argument to.
func (m *Module) dispatchSettings(ctx context.Context, call *sdk.Call) (any, error) {
	c, err := clientOf(call)
	if err != nil {
		return nil, err
	}
	to, err := recipient(call.String("to"))
	if err != nil {
		return nil, protocol.NewError(protocol.KindInvalid, "The ‘to’ argument must be a single email address, such as user@example.com.")
	}
	if m.current().relay == nil {
		return nil, protocol.NewError(protocol.KindUnavailable, "This server can't send settings by mail: its operator has not set a mail server (setting smtp).")
	}
	if !m.mayMail(call.Account.Name) {
		return nil, protocol.NewError(protocol.KindUnavailable, "The account has reached the number of such messages that it may send in an hour. Try again later.")
	}
	if err := m.mailSettings(ctx, call, c, to); err != nil {
		return nil, &protocol.Error{Kind: protocol.KindUnavailable, Err: err, Message: "The mail server did not accept the message. Try again later."}
	}
	return nil, nil
}

// mailSettings mails the settings for the mail program of the client c to the address to, which the caller
// must have validated.
func (m *Module) mailSettings(ctx context.Context, call *sdk.Call, c client, to string) error {
	set := m.current()
	host := set.settings.mailHost(c.domain)
	var text strings.Builder
	line := func(words ...string) { text.WriteString(strings.Join(words, "") + "\r\n") }
	line("These are the settings of the mailbox ", c.name, " for a mail program.")
	line()
	line("User name:        ", c.name)
	line("Password:         the mailbox's password")
	line("Incoming server:  ", host, ", IMAP, port ", strconv.Itoa(imapsPort), ", with TLS")
	line("Outgoing server:  ", host, ", SMTP, port ", strconv.Itoa(smtpsPort), ", with TLS and the same user name and password")
	ctx, cancel := context.WithTimeout(ctx, mailTime(ctx, set.settings.MailTimeout))
	defer cancel()
	from := set.settings.MailFrom
	if from == "" {
		from = "no-reply@" + call.Account.MainDomain()
	}
	return set.relay.send(ctx, message{From: from, To: to, Subject: "Mail settings of " + c.name, Text: text.String()})
}

// mailsPerHour limits the messages that this module sends for an account. It is both the burst size of the
// rate limiter and the number of messages that the limiter adds per hour.
const mailsPerHour = 20

// mayMail reports whether the module may send another message for the account. If so, mayMail also counts the
// message against mailsPerHour.
func (m *Module) mayMail(account string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.mails[account]
	if l == nil {
		if len(m.mails) > 10_000 {
			clear(m.mails)
		}
		l = rate.NewLimiter(rate.Every(time.Hour/mailsPerHour), mailsPerHour)
		m.mails[account] = l
	}
	return l.Allow()
}

// welcome runs after addPop has created a mailbox. It notifies the mail server and, if the argument
// send_welcome_email is set, mails the settings for a mail program to the new mailbox. It returns the
// mailbox's address.
func (m *Module) welcome(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := newBox(call)
	if err != nil {
		return nil, err
	}
	m.notify(ctx, call, box, limits)
	switch {
	case !call.Flag("send_welcome_email"):
	case m.current().relay == nil, !m.mayMail(call.Account.Name):
		call.Warn("The mailbox was created, but no message with the settings of the mailbox was sent.")
	default:
		if err := m.mailSettings(ctx, call, client{name: box.String(), domain: box.Domain, box: box}, box.String()); err != nil {
			call.Log("mail the settings of " + box.String() + ": " + err.Error())
			call.Warn("The mailbox was created, but the mail server did not accept the message with the settings of the mailbox.")
		}
	}
	return box.String(), nil
}

// endSessions ends the sessions of all mailboxes of the account, and of the account's own user.
func (m *Module) endSessions(ctx context.Context, call *sdk.Call) (any, error) {
	n := m.current().notifier
	if n == nil {
		return nil, protocol.NewError(protocol.KindUnavailable, "This server can't end sessions: its operator has not set the address of Dovecot's HTTP API (setting doveadm).")
	}
	masks := []string{call.Account.Name}
	for _, domain := range call.Account.Domains {
		if strings.ContainsAny(domain, "*?") {
			continue // The * or ? in it would also match other users.
		}
		masks = append(masks, "*@"+domain)
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime(ctx, m.current().settings.MailTimeout))
	defer cancel()
	if err := n.end(ctx, masks); err != nil {
		return nil, &protocol.Error{Kind: protocol.KindUnavailable, Err: err, Message: "The mail server did not end the sessions. Try again later."}
	}
	return nil, nil
}
