// Package mask removes secrets from calls and answers before an author sees them or a file keeps them. It decides by the
// names of values, by the form of texts, and by the secrets that a call contained. It is no protection against a
// program that hides secrets on purpose.
package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// Hidden replaces a secret.
const Hidden = "[masked]"

// Rules say what is masked beside secrets. The zero value masks secrets only.
type Rules struct {
	Names []string // Further names of values that are secret.
	Texts []string // Texts that are replaced wherever they occur.
	// Addresses means that e-mail addresses and IP addresses are replaced by others: equal addresses by equal ones. Salt
	// makes the replacements of two files different.
	Addresses bool
	Salt      string
}

// Mask masks the arguments of a call, and its answer.
type Mask struct {
	rules   Rules
	args    protocol.Args
	secrets []string // Values of secret arguments; they are masked wherever they occur.
}

// New returns the mask of a call with the given arguments.
func New(rules Rules, args protocol.Args) *Mask {
	m := &Mask{rules: rules, args: args, secrets: slices.Clone(rules.Texts)}
	m.collect("", args.Named, false)
	// Arguments by position have no names, so each of them may be a secret.
	for _, value := range args.Positional {
		m.collect("", value, true)
	}
	// Longer secrets first: one may contain another.
	slices.SortFunc(m.secrets, func(a, b string) int { return len(b) - len(a) })
	return m
}

// shortest is the length from which a secret is also masked inside other texts.
const shortest = 4

func (m *Mask) collect(name string, value any, secret bool) {
	secret = secret || m.secretName(name)
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			m.collect(key, item, secret)
		}
	case []any:
		for _, item := range v {
			m.collect(name, item, secret)
		}
	default:
		if text := textOf(value); secret && len(text) >= shortest {
			m.secrets = append(m.secrets, text)
		}
	}
}

func textOf(value any) string {
	switch v := value.(type) {
	case protocol.Secret:
		return v.Reveal()
	case []byte:
		return string(v)
	}
	text, _ := protocol.ScalarText(value)
	return text
}

// Args returns the masked arguments: an object, or for arguments by position a list that shows only their number.
func (m *Mask) Args() any {
	if n := len(m.args.Positional); n > 0 {
		list := make([]any, n)
		for i := range list {
			list[i] = Hidden
		}
		return list
	}
	out := m.value("", map[string]any(m.args.Named))
	if out == nil {
		return map[string]any{}
	}
	return out
}

// Value returns value, a part of an answer, with secrets masked. The original is not changed.
func (m *Mask) Value(value any) any { return m.value("", value) }

func (m *Mask) value(name string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		if v == nil {
			return map[string]any{}
		}
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[m.Text(key)] = m.value(key, item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = m.value(name, item)
		}
		return out
	case nil, bool:
		return v
	case protocol.Secret:
		return Hidden
	case string:
		if v != "" && m.secretName(name) {
			return Hidden
		}
		return m.Text(v)
	case []byte:
		return m.value(name, string(v))
	case protocol.Number:
		return m.value(name, string(v))
	}
	if m.secretName(name) {
		return Hidden
	}
	return value
}

// Text returns text with secrets masked.
func (m *Mask) Text(text string) string {
	for _, secret := range m.secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, Hidden)
		}
	}
	for _, form := range forms {
		text = form.ReplaceAllString(text, Hidden)
	}
	if m.rules.Addresses {
		text = addresses.ReplaceAllStringFunc(text, m.address)
		text = ips.ReplaceAllStringFunc(text, m.ip)
	}
	return text
}

// forms are the forms of texts that are secrets: private keys, hashes of passwords, tokens of cPanel's API, JSON web
// tokens, session tokens, and credentials in headers and addresses.
var forms = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`),
	regexp.MustCompile(`(\{[A-Z0-9.-]+\})?\$(1|2[abxy]|5|6|y|7|argon2[a-z]*|pbkdf2[a-z0-9-]*)\$[^\s"';:<>]+`),
	regexp.MustCompile(`\{(PLAIN|CRYPT|SSHA|SHA|SMD5|MD5|SSHA256|SSHA512|PLAIN-MD5|CRAM-MD5|SCRAM-SHA-[0-9]+)[A-Z0-9.-]*\}[^\s"',;<>]+`),
	regexp.MustCompile(`\b[A-Z0-9]{32}\b`),
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`),
	regexp.MustCompile(`\bcpsess[0-9]{6,}`),
	regexp.MustCompile(`(?i)\b(basic|bearer|cpanel|whm) [A-Za-z0-9._~+/-]+(:[A-Za-z0-9._~+/-]+|={1,2})`),
	regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^\s/@:"']*:[^\s/@"']+@`),
}

var (
	addresses = regexp.MustCompile(`[A-Za-z0-9._%+=-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	ips       = regexp.MustCompile(`\b[0-9]{1,3}(\.[0-9]{1,3}){3}\b|\b[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){3,7}\b`)
)

// maskedDomain is the domain of all masked addresses. It is reserved for documentation.
const maskedDomain = "masked.example"

func (m *Mask) address(address string) string {
	address = strings.ToLower(address)
	if strings.HasSuffix(address, "@"+maskedDomain) {
		return address // Already masked.
	}
	return "user-" + m.digest(address)[:8] + "@" + maskedDomain
}

// ip returns an address of the networks for documentation, RFC 5737 and RFC 3849.
func (m *Mask) ip(address string) string {
	digest := m.digest(address)
	switch {
	case strings.Contains(address, ":"):
		if strings.HasPrefix(address, "2001:db8:") || !strings.ContainsAny(address, "0123456789") || strings.Count(address, ":") < 3 {
			return address
		}
		return "2001:db8::" + digest[:4]
	case strings.HasPrefix(address, "192.0.2."), strings.HasPrefix(address, "127."), strings.HasPrefix(address, "0."):
		return address
	}
	n := uint8(0)
	for _, c := range digest[:8] {
		n = n*31 + uint8(c)
	}
	return "192.0.2." + textOf(int64(n))
}

func (m *Mask) digest(text string) string {
	h := hmac.New(sha256.New, []byte(m.rules.Salt))
	_, _ = h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// secretName reports whether a value called name is secret.
func (m *Mask) secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(m.rules.Names, name) || slices.Contains([]string{"key", "pin", "otp", "code", "ssn"}, name) ||
		slices.ContainsFunc([]string{"pass", "secret", "token", "apikey", "api_key", "privkey", "private", "hash", "pwd", "auth", "cred", "otp", "cookie", "session"}, func(word string) bool {
			return strings.Contains(name, word)
		})
}
