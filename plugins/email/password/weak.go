package password

import (
	"regexp"
	"slices"
	"strings"
)

// weakSchemes are the schemes that Dovecot 2.4 refuses unless auth_allow_weak_schemes is set, as Dovecot 2.4.1 does.
var weakSchemes = []string{"DES-CRYPT", "MD5-CRYPT", "MD5", "SMD5", "LDAP-MD5", "PLAIN-MD4", "PLAIN-MD5", "HMAC-MD5"}

// desCrypt matches a hash of the traditional crypt(3).
var desCrypt = regexp.MustCompile(`^[./A-Za-z0-9]{13}$`)

// WeakScheme returns the name of the scheme of a stored hash if Dovecot 2.4 refuses the scheme by default, although
// Dovecot 2.3 accepts it. Otherwise it returns "".
func WeakScheme(stored string) string {
	scheme, hash := "CRYPT", stored
	if rest, ok := strings.CutPrefix(stored, "{"); ok {
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return ""
		}
		scheme, _, _ = strings.Cut(strings.ToUpper(name), ".") // An encoding may follow, such as .HEX.
		hash = after
	}
	switch {
	case slices.Contains(weakSchemes, scheme):
		return scheme
	case scheme == "CRYPT" && strings.HasPrefix(hash, "$1$"):
		return "MD5-CRYPT"
	case scheme == "CRYPT" && desCrypt.MatchString(hash):
		return "DES-CRYPT"
	}
	return ""
}
