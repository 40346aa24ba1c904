package email

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"
)

// relay is the mail server that sends this module's messages.
type relay struct{ address string }

// message is a message to send. The caller must validate the fields: only Text may contain line breaks.
type message struct{ From, To, Subject, Text string }

// recipient returns text if it is a plain email address, and an error if text contains anything else, such as
// a name or a second address.
func recipient(text string) (string, error) {
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Name != "" || parsed.Address != text || len(text) > 254 || strings.ContainsAny(text, "\r\n\"<> ,;") {
		return "", errors.New("not a plain email address")
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f {
			return "", errors.New("not a plain email address")
		}
	}
	return text, nil
}

// send sends m before ctx ends. If the mail server is on another machine and offers TLS, send uses TLS and
// verifies the certificate. On the same machine TLS is not needed, because nobody can read the connection.
func (r *relay) send(ctx context.Context, m message) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	host, _, err := net.SplitHostPort(r.address)
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	if ok, _ := c.Extension("STARTTLS"); ok && !local {
		if err := c.StartTLS(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}); err != nil {
			return err
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	if err := c.Rcpt(m.To); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, domain, _ := strings.Cut(m.From, "@")
	header := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nAuto-Submitted: auto-generated\r\n\r\n",
		m.From, m.To, m.Subject, time.Now().Format(time.RFC1123Z), rand.Text(), domain)
	if _, err := w.Write([]byte(header + m.Text)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // The server has already accepted the message.
	return nil
}
