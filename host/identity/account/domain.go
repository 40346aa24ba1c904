package account

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

const (
	maxDomain = 253 // Bytes of a domain.
	maxLabel  = 63  // Bytes of a label.
)

// errNotDomain is returned for a text that is not a valid domain.
var errNotDomain = errors.New("not a domain: letters, digits, hyphens and dots, such as example.com; other letters in their DNS form, xn--…")

// ParseDomain returns a domain in lower case, or an error if no account can have it. Domains become names of
// directories and parts of the mail servers' configuration, so everything else is rejected: paths, patterns,
// addresses, names with a single label.
func ParseDomain(text string) (string, error) {
	domain := lower(text)
	labels := strings.Split(domain, ".")
	if len(domain) > maxDomain || len(labels) < 2 {
		return "", fmt.Errorf("%.80q: %w", text, errNotDomain)
	}
	for _, label := range labels {
		if !isLabel(label) {
			return "", fmt.Errorf("%.80q: %w", text, errNotDomain)
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", fmt.Errorf("%.80q: not a domain: it ends in a number, as addresses do", text)
	}
	return domain, nil
}

// lower returns a text with the letters A to Z in lower case. It changes no other letters: the lower case of
// some, such as the Kelvin sign, is a letter of domains.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, text)
}

// isLabel reports whether a lower-case label consists of letters, digits and inner hyphens.
func isLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// ASCIIDomain returns a domain in lower case and in its ASCII form. This is the spelling of domains
// everywhere in the host.
func ASCIIDomain(domain string) string {
	if out, err := idna.Lookup.ToASCII(domain); err == nil {
		return out
	}
	return strings.ToLower(domain)
}
