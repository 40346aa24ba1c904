package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// Web configures the HTTPS API: cPanel's three services, each on its own port.
type Web struct {
	// The directory for the tokens and for the certificate that the host signs itself. If the key is missing,
	// the HTTPS API is off.
	State string `toml:"state" example:"\"/var/lib/liveapid/web\""`
	// The address and port on which the accounts' service listens; "off" turns the service off. Default:
	// ":2083".
	CPanel string `toml:"cpanel" example:"\":2083\""`
	// The address and port on which WHM's service listens; "off" turns the service off. Default: ":2087".
	WHM string `toml:"whm" example:"\":2087\""`
	// The address and port on which the mailboxes' service listens; "off" turns the service off. Default:
	// ":2096".
	Webmail string `toml:"webmail" example:"\":2096\""`
	// A loopback address and port on which the accounts' service also listens without TLS.
	PlainCPanel string `toml:"plain_cpanel" example:"\"127.0.0.1:2082\""`
	// A loopback address and port on which WHM's service also listens without TLS.
	PlainWHM string `toml:"plain_whm" example:"\"127.0.0.1:2086\""`
	// A loopback address and port on which the mailboxes' service also listens without TLS.
	PlainWebmail string `toml:"plain_webmail" example:"\"127.0.0.1:2095\""`
	// The path of the TLS certificate, in PEM format. The host notices a changed file at once. If the key is
	// missing, the host uses a certificate that it signs itself.
	Certificate string `toml:"certificate" example:"\"/etc/letsencrypt/live/HOST/fullchain.pem\""`
	// The path of the certificate's private key, in PEM format.
	Key string `toml:"key" example:"\"/etc/letsencrypt/live/HOST/privkey.pem\""`
	// Where the accounts' passwords are verified: "pam" means the system's PAM; a path names a file with
	// lines NAME:HASH, such as /etc/shadow. Default: the file passwords in the directory state, which the
	// command liveapi password writes.
	Passwords string `toml:"passwords" example:"\"pam\""`
	// The accounts that are resellers. A reseller may act for each account that has the reseller's name as
	// its OWNER.
	Resellers []string `toml:"resellers" example:"[\"reseller\"]"`
	// Further host names by which browsers may reach the host. *.example.com means every name that has one
	// more label, such as panel.example.com.
	Hosts []string `toml:"hosts" example:"[\"panel.example.com\"]"`
	// The addresses or networks of trusted proxies. The host uses the header X-Forwarded-For only in requests
	// from these proxies.
	Proxies []string `toml:"proxies" example:"[\"127.0.0.1\"]"`
	// The path of the access log, which contains one JSON object per line.
	AccessLog string `toml:"access_log" example:"\"/var/log/liveapid/access.log\""`
	// Maximum number of open connections, over all three services. Default: 640. The host lowers the number
	// to an eighth of the files that it may have open, if that is less.
	Connections int `toml:"connections" example:"640"`
	// Whether the host offers HTTP/2. cPanel's own server uses HTTP/1.1. Default: false.
	HTTP2 bool `toml:"http2" example:"true"`
	// Whether the host rejects the malformed headers that PHP programs send because cPanel's samples did. If
	// proxies is set, the host always rejects them. Default: false.
	StrictHeads bool `toml:"strict_heads" example:"true"`
}

// PAM is the value of Web.Passwords that selects the system's PAM.
const PAM = "pam"

// PAMProgram returns the path of liveapi-pam, the program that asks PAM. It is in the same directory as the
// host's program.
func (w *Web) PAMProgram() string { return siblingProgram("liveapi-pam") }

// On reports whether the HTTPS API is on.
func (w *Web) On() bool { return w.State != "" }

// Tokens returns the path of the file that stores the tokens.
func (w *Web) Tokens() string { return filepath.Join(w.State, "tokens.json") }

func (w *Web) fill(absolute func(string) string) {
	if !w.On() {
		return
	}
	for at, standard := range map[*string]string{&w.CPanel: ":2083", &w.WHM: ":2087", &w.Webmail: ":2096"} {
		switch *at {
		case "":
			*at = standard
		case "off":
			*at = ""
		}
	}
	w.State = absolute(w.State)
	if w.Passwords == "" {
		w.Passwords = filepath.Join(w.State, "passwords")
	}
	if w.Passwords != PAM {
		w.Passwords = absolute(w.Passwords)
	}
	for _, path := range []*string{&w.Certificate, &w.Key, &w.AccessLog} {
		*path = absolute(*path)
	}
}

// ProxyNetworks parses Proxies. An address without a prefix length becomes a network that contains only this
// address.
func (w *Web) ProxyNetworks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range w.Proxies {
		if !strings.Contains(text, "/") {
			address, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("proxies: %.60q is not an IP address or network", text)
			}
			address = address.Unmap()
			out = append(out, netip.PrefixFrom(address, address.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("proxies: %.60q is not an IP network, such as 192.0.2.0/24", text)
		}
		out = append(out, network)
	}
	return out, nil
}

func (w *Web) validate() (all []error) {
	if !w.On() {
		return nil
	}
	for name, at := range map[string]string{"cpanel": w.CPanel, "whm": w.WHM, "webmail": w.Webmail} {
		if _, _, err := net.SplitHostPort(at); at != "" && err != nil {
			all = append(all, fmt.Errorf("%s: %.60q is not an address and port, such as :2083", name, at))
		}
	}
	for name, at := range map[string]string{"plain_cpanel": w.PlainCPanel, "plain_whm": w.PlainWHM, "plain_webmail": w.PlainWebmail} {
		if at != "" && !isLoopback(at) {
			all = append(all, fmt.Errorf("%s: %.60q is not a loopback address and port, such as 127.0.0.1:2082; on another address without TLS, others could read passwords", name, at))
		}
	}
	if (w.Certificate == "") != (w.Key == "") {
		all = append(all, fmt.Errorf("certificate and key: set both or neither"))
	}
	if _, err := w.ProxyNetworks(); err != nil {
		all = append(all, err)
	}
	return all
}
