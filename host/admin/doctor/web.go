package doctor

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

// web checks the HTTPS API: its state directory, its passwords, its certificate, and whether the services
// answer.
func (d *diagnosis) web(c *config.Config) {
	if !d.webState(c.Web) {
		return
	}
	d.webPasswords(c.Web)
	d.webCertificate(c.Web)
	shown := ownCertificate(c.Web)
	for name, address := range map[string]string{"cpanel": c.Web.CPanel, "whm": c.Web.WHM, "webmail": c.Web.Webmail} {
		if address != "" {
			d.webAnswers(name, address, shown)
		}
	}
}

// webState checks the state directory of the HTTPS API and the tokens in the directory. It returns false if
// the directory does not exist yet, because then there is nothing else to check.
func (d *diagnosis) webState(c config.Web) bool {
	info, err := os.Stat(c.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note("web.state: the host creates %s when it starts", c.State)
		return false
	case err != nil:
		d.bad("web.state: %v", err)
		return false
	case info.Mode().Perm()&0o077 != 0:
		d.bad("web.state: %s holds secrets, and others can open it: chmod 700 %s", c.State, c.State)
	}
	if all, err := token.Open(c.Tokens()).List(""); err != nil {
		d.bad("%v", err)
	} else {
		d.well("%d tokens", len(all))
	}
	return true
}

func (d *diagnosis) webPasswords(c config.Web) {
	if c.Passwords == config.PAM {
		if _, err := os.Stat("/etc/pam.d/" + pam.Service); err != nil {
			d.bad("web.passwords: PAM has no configuration for the service liveapid: %v", err)
		}
		if info, err := os.Stat("/etc/shadow"); err == nil && unreadable(info) {
			d.note("web.passwords: /etc/shadow has no mode bits for its owner, so a host that runs without CAP_DAC_READ_SEARCH, as the package's unit does, rejects all passwords of the system: see docs/install.md, or use liveapi password")
		}
	} else if err := passwdfile.Check(c.Passwords); err != nil {
		d.bad("%v", err)
	}
}

// unreadable reports whether only a process with CAP_DAC_READ_SEARCH can read a file of root, as on AlmaLinux.
func unreadable(info fs.FileInfo) bool { return info.Mode().Perm()&0o400 == 0 }

// renewBefore is the remaining validity below which an expiring certificate is reported as a problem.
const renewBefore = 14 * 24 * time.Hour

func (d *diagnosis) webCertificate(c config.Web) {
	if c.Certificate == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		d.bad("web.certificate: %v", err)
	} else if end := pair.Leaf.NotAfter; time.Until(end) < renewBefore {
		d.bad("web.certificate: it ends at %s: renew it", end.UTC().Format(time.DateTime))
	}
}

// ownCertificate returns the certificate that the host presents to its clients, in DER form, or nil if the
// certificate can't be read.
func ownCertificate(c config.Web) []byte {
	path := c.Certificate
	if path == "" {
		path = filepath.Join(c.State, cert.SelfSignedFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	return block.Bytes
}

// webAnswers connects to the service called name and compares the certificate that the service presents with
// own, the host's certificate. A different certificate means that another program or a proxy answers.
func (d *diagnosis) webAnswers(name, address string, own []byte) {
	host, port, _ := net.SplitHostPort(address)
	switch host { // The service listens on all addresses: use loopback.
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", net.JoinHostPort(host, port), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // The certificate is compared below.
	if err != nil {
		d.note("web.%s: nothing answers at %s", name, address)
		return
	}
	shown := conn.ConnectionState().PeerCertificates[0].Raw
	_ = conn.Close()
	if !bytes.Equal(shown, own) {
		d.bad("web.%s: another certificate is shown at %s: another program uses the port, or a proxy is in front of it", name, address)
		return
	}
	d.well("web.%s answers at %s", name, address)
}
