// Package mask removes secrets from calls and answers before an author sees them or a file keeps them. It decides by the
// names of values, by the form of texts, and by the secrets that a call contained. It is no protection against a
// program that hides secrets on purpose.
package mask

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
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
	m := &Mask{rules: rules, args: args}
	m.collect("", args.Named, false)
	// Arguments by position have no names, so each of them may be a secret.
	for _, value := range args.Positional {
		m.collect("", value, true)
	}
	// Longer secrets first: one may contain another.
	slices.SortFunc(m.secrets, func(a, b string) int { return len(b) - len(a) })
	return m
}

// A secret of at least shortest bytes is masked wherever it occurs in a text, and a shorter one where it is a word. Only
// a secret of at least certain bytes is also masked in the names of fields.
const (
	shortest = 4
	certain  = 8
)

func (m *Mask) collect(name string, value any, secret bool) {
	secret = secret || m.secretName(name)
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			m.collect(key, item, secret)
		}
		return
	case []any:
		for _, item := range v {
			m.collect(name, item, secret)
		}
		return
	}
	text := textOf(value)
	if inner, ok := document(text); ok {
		m.collect(name, inner, secret)
	}
	if !secret || text == "" {
		return
	}
	m.secrets = append(m.secrets, text)
	if len(text) >= shortest {
		// The forms that the secret has in addresses, in JSON and in headers.
		quoted, _ := json.Marshal(text)
		m.secrets = append(m.secrets, url.QueryEscape(text), url.PathEscape(text), strings.Trim(string(quoted), `"`),
			base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
}

// document returns the object or the list in a text that is JSON, such as the arguments of a call in a batch.
func document(text string) (any, bool) {
	trimmed := strings.TrimSpace(text)
	if len(trimmed) < 2 || trimmed[0] != '{' && trimmed[0] != '[' {
		return nil, false
	}
	value, err := strictjson.Decode([]byte(trimmed))
	return value, err == nil
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
	return m.value("", map[string]any(m.args.Named), false)
}

// Value returns value, a part of an answer, with secrets masked. The original is not changed.
func (m *Mask) Value(value any) any { return m.value("", value, false) }

func (m *Mask) value(name string, value any, secret bool) any {
	secret = secret || m.secretName(name)
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[m.key(key)] = m.value(key, item, secret)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = m.value(name, item, secret)
		}
		return out
	case nil, bool:
		return v
	case protocol.Secret:
		return Hidden
	case []byte:
		return m.value(name, string(v), secret)
	case protocol.Number:
		return m.value(name, string(v), secret)
	case string:
		if v == "" || v == Hidden {
			return v
		}
		if inner, ok := document(v); ok {
			// A document in a text stays a text; it changes only if it contains a secret.
			before, _ := json.Marshal(inner)
			if after, err := json.Marshal(m.value(name, inner, secret)); err == nil && !bytes.Equal(before, after) {
				return string(after)
			}
		}
		if secret {
			return Hidden
		}
		return m.Text(v)
	}
	if secret {
		return Hidden
	}
	return value
}

// key masks the name of a field, which may be an address.
func (m *Mask) key(key string) string {
	for _, secret := range m.secrets {
		if len(secret) >= certain {
			key = strings.ReplaceAll(key, secret, Hidden)
		}
	}
	return m.formsIn(key)
}

// Text returns text with secrets masked.
func (m *Mask) Text(text string) string {
	if m.rules.Addresses {
		text = m.addressesIn(text)
	}
	for _, hidden := range m.rules.Texts {
		if hidden != "" {
			text = regexp.MustCompile("(?i)"+regexp.QuoteMeta(hidden)).ReplaceAllLiteralString(text, Hidden)
		}
	}
	for _, secret := range m.secrets {
		switch {
		case len(secret) >= shortest:
			text = strings.ReplaceAll(text, secret, Hidden)
		case secret == text:
			return Hidden
		case len(secret) > 1:
			text = regexp.MustCompile(`(^|\s)`+regexp.QuoteMeta(secret)+`($|[\s.,;:!?])`).ReplaceAllString(text, "${1}"+Hidden+"${2}")
		}
	}
	return m.formsIn(text)
}

func (m *Mask) formsIn(text string) string {
	if m.rules.Addresses {
		text = m.addressesIn(text)
	}
	for _, form := range forms {
		text = form.ReplaceAllString(text, Hidden)
	}
	for _, named := range namedForms {
		text = named.ReplaceAllString(text, "${1}"+Hidden)
	}
	return text
}

func (m *Mask) addressesIn(text string) string {
	text = addresses.ReplaceAllStringFunc(text, m.address)
	return ips.ReplaceAllStringFunc(text, m.ip)
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
	regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^\s/:"']*:[^\s/"']+@`),
	regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|sk_live_[A-Za-z0-9]{10,})`),
}

// namedForms are texts in which a name stands before a secret. The name stays.
var namedForms = []*regexp.Regexp{
	regexp.MustCompile(`(?i)([?&;\s"']?\b(?:session|token|api[_-]?key|secret|pass(?:word|wd|phrase)?|pwd)\s?[=:]\s?)[^\s&;,"'<>\[\]]+`),
	regexp.MustCompile(`(?i)\b((?:set-)?cookie:\s?)[^\r\n]+`),
}

var (
	addresses = regexp.MustCompile(`[A-Za-z0-9._+=-]+(?:@|%40)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)
	ips       = regexp.MustCompile(`\b[0-9]{1,3}(\.[0-9]{1,3}){3}\b|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f]*`)
)

// maskedDomain is the domain of all masked addresses. It is reserved for documentation.
const maskedDomain = "masked.example"

func (m *Mask) address(address string) string {
	address = strings.ToLower(strings.Replace(address, "%40", "@", 1))
	if strings.HasSuffix(address, "@"+maskedDomain) {
		return address // Already masked.
	}
	return "user-" + m.digest(address)[:8] + "@" + maskedDomain
}

// The networks of masked addresses: RFC 2544 for tests and RFC 3849 for documentation.
var (
	maskedV4 = netip.MustParsePrefix("198.18.0.0/15")
	maskedV6 = netip.MustParsePrefix("2001:db8::/32")
)

func (m *Mask) ip(text string) string {
	address, err := netip.ParseAddr(text)
	if err != nil || address.IsLoopback() || address.IsUnspecified() || maskedV4.Contains(address) || maskedV6.Contains(address) {
		return text
	}
	digest, _ := hex.DecodeString(m.digest(address.String())[:8])
	if address.Is4() {
		return netip.AddrFrom4([4]byte{198, 18 | digest[0]&1, digest[1], digest[2]}).String()
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 12: digest[0], 13: digest[1], 14: digest[2], 15: digest[3]}).String()
}

func (m *Mask) digest(text string) string {
	h := hmac.New(sha256.New, []byte(m.rules.Salt))
	_, _ = h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// Words and parts of names that mark secrets. A word is a whole part of a name such as ssh_key or key-0.
var (
	secretWords = []string{"key", "keys", "pw", "pin", "psk", "otp", "tfa", "totp", "ssn", "auth", "cred", "creds", "sid"}
	secretParts = []string{"pass", "secret", "token", "apikey", "privkey", "privatekey", "hash", "pwd", "authoriz", "credential", "cookie", "session", "otp"}
	notWord     = regexp.MustCompile(`[^a-z]+`)
)

// secretName reports whether a value called name is secret.
func (m *Mask) secretName(name string) bool {
	name = strings.ToLower(name)
	switch {
	case slices.Contains(m.rules.Names, name), name == "code":
		return true
	case name == "app_key", name == "appkey": // The name of an application on a page's header.
		return false
	}
	for _, word := range notWord.Split(name, -1) {
		if slices.Contains(secretWords, word) {
			return true
		}
	}
	return slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(name, part) })
}
