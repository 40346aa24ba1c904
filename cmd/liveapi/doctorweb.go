package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https/cert"
	"github.com/liveapid/liveapid/host/identity/pam"
	"github.com/liveapid/liveapid/host/identity/passwdfile"
	"github.com/liveapid/liveapid/host/identity/token"
)

// web checks the HTTPS API: what it keeps, and that it answers.
func (d *diagnosis) web(c *config.Config) {
	info, err := os.Stat(c.Web.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note("web.state: %s is made when the host starts", c.Web.State)
		return
	case err != nil:
		d.bad("web.state: %v", err)
		return
	case info.Mode().Perm()&0o077 != 0:
		d.bad("web.state: %s has secrets, and others may look into it: chmod 700 %s", c.Web.State, c.Web.State)
	}
	if all, err := token.Open(c.Web.Tokens()).List(""); err != nil {
		d.bad("%v", err)
	} else {
		d.well("%d tokens", len(all))
	}
	if c.Web.Passwords == config.PAM {
		if _, err := os.Stat("/etc/pam.d/" + pam.Service); err != nil {
			d.bad("web.passwords: PAM needs a configuration for this service: %v", err)
		}
	} else if err := passwdfile.Check(c.Web.Passwords); err != nil {
		d.bad("%v", err)
	}
	if c.Web.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(c.Web.Certificate, c.Web.Key)
		switch left := time.Duration(0); {
		case err != nil:
			d.bad("web.certificate: %v", err)
		default:
			if left = time.Until(pair.Leaf.NotAfter); left < 14*24*time.Hour {
				d.bad("web.certificate: it ends at %s: renew it", pair.Leaf.NotAfter.UTC().Format(time.DateTime))
			}
		}
	}
	var ours []byte
	certificate := c.Web.Certificate
	if certificate == "" {
		certificate = filepath.Join(c.Web.State, cert.SelfSignedFile)
	}
	if text, err := os.ReadFile(certificate); err == nil {
		if block, _ := pem.Decode(text); block != nil {
			ours = block.Bytes
		}
	}
	for name, at := range map[string]string{"cpanel": c.Web.CPanel, "whm": c.Web.WHM, "webmail": c.Web.Webmail} {
		if at == "" {
			continue
		}
		host, port, _ := net.SplitHostPort(at)
		switch host { // All addresses: loopback is one of them, by whatever name.
		case "", "0.0.0.0":
			host = "127.0.0.1"
		case "::":
			host = "::1"
		}
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", net.JoinHostPort(host, port), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // Whether it answers is the question.
		if err != nil {
			d.note("web.%s: nobody answers at %s", name, at)
			continue
		}
		shown := conn.ConnectionState().PeerCertificates[0].Raw
		_ = conn.Close()
		if !bytes.Equal(shown, ours) {
			d.bad("web.%s: who answers at %s shows another certificate: another program has the port, or a proxy is before it", name, at)
			continue
		}
		d.well("web.%s answers at %s", name, at)
	}
}
