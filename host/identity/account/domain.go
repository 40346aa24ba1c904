package account

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

const (
	maxDomain = 253 // Maximum length of a domain, in bytes.
	maxLabel  = 63  // Maximum length of a label, in bytes.
)

// errNotDomain is returned by ParseDomain if the text is not a valid domain.
var errNotDomain = errors.New("not a domain: a domain consists of labels of the letters a to z, digits and hyphens, separated by dots, such as example.com; write other letters in Punycode (xn--…)")

// ParseDomain returns the domain in text in lower case, or an error if text is not a domain that an account
// may have. Domains become the names of directories and parts of the mail servers' configuration. So
// ParseDomain rejects everything else, such as paths, patterns, addresses and names with a single label.
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
		return "", fmt.Errorf("%.80q: not a domain: the last label is a number, as in an IP address", text)
	}
	return domain, nil
}

// lower converts only the ASCII letters A to Z to lower case. strings.ToLower would also convert some other
// characters, such as the Kelvin sign, to ASCII letters, so that an invalid domain would become a valid
// domain.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, text)
}

// isLabel reports whether label is a valid label of a domain: lower-case letters, digits, and hyphens that
// are neither at its start nor at its end.
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

// ASCIIDomain returns domain in lower case and in its ASCII form (xn--...). The host uses this form of
// domains everywhere.
func ASCIIDomain(domain string) string {
	if out, err := idna.Lookup.ToASCII(domain); err == nil {
		return out
	}
	return strings.ToLower(domain)
}
