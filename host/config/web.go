package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// Web is the HTTPS API: cPanel's three services, each on a port of its own.
type Web struct {
	// State is the folder of what it keeps: tokens, and the certificate that it signs itself. "" has
	// no HTTPS API.
	State string `toml:"state"`
	// CPanel, WHM and Webmail are the addresses to listen on; "" is cPanel's own port on all
	// addresses, off is none.
	CPanel  string `toml:"cpanel"`
	WHM     string `toml:"whm"`
	Webmail string `toml:"webmail"`
	// PlainCPanel, PlainWHM and PlainWebmail are loopback addresses to listen on without TLS; "" is
	// none.
	PlainCPanel  string `toml:"plain_cpanel"`
	PlainWHM     string `toml:"plain_whm"`
	PlainWebmail string `toml:"plain_webmail"`
	// Certificate and Key are files in PEM; a change is seen at once. "" signs one itself.
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	// Passwords is the file of the accounts' password hashes: lines NAME:HASH, as /etc/shadow or
	// liveapi password has them; or pam, which asks the system's PAM. "" is the file passwords in
	// State.
	Passwords string   `toml:"passwords"`
	Resellers []string `toml:"resellers"`  // Accounts that speak for those whose OWNER they are.
	Hosts     []string `toml:"hosts"`      // Further names by which browsers may come; *.example.com is a whole level.
	Proxies   []string `toml:"proxies"`    // Addresses or networks whose X-Forwarded-For is believed.
	AccessLog string   `toml:"access_log"` // "" has none.
	// Connections is how many connections the three services hold at once; 0 is 640.
	Connections int  `toml:"connections"`
	HTTP2       bool `toml:"http2"` // Offer HTTP/2; cPanel's own server speaks HTTP/1.1.
}

// PAM is the word in Passwords for the system's PAM.
const PAM = "pam"

// PAMProgram is the program that asks PAM: beside the host's own.
func (w *Web) PAMProgram() string { return siblingProgram("liveapi-pam") }

// On tells whether there is an HTTPS API.
func (w *Web) On() bool { return w.State != "" }

// Tokens is the file of the tokens.
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

// ProxyNetworks are the proxies as networks.
func (w *Web) ProxyNetworks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range w.Proxies {
		if !strings.Contains(text, "/") {
			address, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("proxies: %.60q is no address", text)
			}
			address = address.Unmap()
			out = append(out, netip.PrefixFrom(address, address.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("proxies: %.60q is no network", text)
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
			all = append(all, fmt.Errorf("%s: %.60q is no address and port, such as :2083", name, at))
		}
	}
	for name, at := range map[string]string{"plain_cpanel": w.PlainCPanel, "plain_whm": w.PlainWHM, "plain_webmail": w.PlainWebmail} {
		if at != "" && !isLoopback(at) {
			all = append(all, fmt.Errorf("%s: %.60q is no loopback address and port, such as 127.0.0.1:2082; without TLS it would show passwords", name, at))
		}
	}
	if (w.Certificate == "") != (w.Key == "") {
		all = append(all, fmt.Errorf("certificate: it goes with key, and key with it"))
	}
	if _, err := w.ProxyNetworks(); err != nil {
		all = append(all, err)
	}
	return all
}
