package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// Web is the HTTPS API: cPanel's three services, each on its own port.
type Web struct {
	// The directory for tokens and for the certificate that the host signs itself. Without it the HTTPS API is
	// off.
	State string `toml:"state" example:"\"/var/lib/liveapid/web\""`
	// Where the accounts' service listens; "off" turns it off. Default: ":2083".
	CPanel string `toml:"cpanel" example:"\":2083\""`
	// Where WHM's service listens; "off" turns it off. Default: ":2087".
	WHM string `toml:"whm" example:"\":2087\""`
	// Where the mailboxes' service listens; "off" turns it off. Default: ":2096".
	Webmail string `toml:"webmail" example:"\":2096\""`
	// A loopback address and port on which the accounts' service listens without TLS.
	PlainCPanel string `toml:"plain_cpanel" example:"\"127.0.0.1:2082\""`
	// The same for WHM's service.
	PlainWHM string `toml:"plain_whm" example:"\"127.0.0.1:2086\""`
	// The same for the mailboxes' service.
	PlainWebmail string `toml:"plain_webmail" example:"\"127.0.0.1:2095\""`
	// The certificate, a file in PEM. The host notices a change at once. Without it the host signs its own.
	Certificate string `toml:"certificate" example:"\"/etc/letsencrypt/live/HOST/fullchain.pem\""`
	// The certificate's key, a file in PEM.
	Key string `toml:"key" example:"\"/etc/letsencrypt/live/HOST/privkey.pem\""`
	// The accounts' passwords: "pam" asks the system's PAM; a path names a file of lines NAME:HASH, such as
	// /etc/shadow. Default: the file passwords in state, which liveapi password writes.
	Passwords string `toml:"passwords" example:"\"pam\""`
	// Accounts that may act for the accounts that name them as OWNER.
	Resellers []string `toml:"resellers" example:"[\"reseller\"]"`
	// Further names by which browsers reach the host; *.example.com means a whole level.
	Hosts []string `toml:"hosts" example:"[\"panel.example.com\"]"`
	// Addresses or networks of proxies; their X-Forwarded-For is trusted.
	Proxies []string `toml:"proxies" example:"[\"127.0.0.1\"]"`
	// The access log, a JSON object a line.
	AccessLog string `toml:"access_log" example:"\"/var/log/liveapid/access.log\""`
	// Connections of the three services at once. Default: 640, and an eighth of the open files that the host
	// may have.
	Connections int `toml:"connections" example:"640"`
	// Whether to offer HTTP/2. cPanel's own server speaks HTTP/1.1. Default: false.
	HTTP2 bool `toml:"http2" example:"true"`
}

// PAM is the value of Passwords for the system's PAM.
const PAM = "pam"

// PAMProgram returns the program that asks PAM, from the directory of the host's own program.
func (w *Web) PAMProgram() string { return siblingProgram("liveapi-pam") }

// On reports whether the HTTPS API is on.
func (w *Web) On() bool { return w.State != "" }

// Tokens returns the file of the tokens.
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

// ProxyNetworks returns the proxies as networks.
func (w *Web) ProxyNetworks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range w.Proxies {
		if !strings.Contains(text, "/") {
			address, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("proxies: %.60q is not an address", text)
			}
			address = address.Unmap()
			out = append(out, netip.PrefixFrom(address, address.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("proxies: %.60q is not a network", text)
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
			all = append(all, fmt.Errorf("%s: %.60q is not a loopback address and port, such as 127.0.0.1:2082; without TLS others could read passwords", name, at))
		}
	}
	if (w.Certificate == "") != (w.Key == "") {
		all = append(all, fmt.Errorf("certificate: it needs key, and key needs it"))
	}
	if _, err := w.ProxyNetworks(); err != nil {
		all = append(all, err)
	}
	return all
}
