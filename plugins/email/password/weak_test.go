package password_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/password"
)

// The schemes that a real Dovecot 2.4 refuses are in the tests of the mail server.
func TestWeakScheme(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]string{
		"$1$abcdefgh$znAnxxxxxxxxxxxxxxxxx.": "MD5-CRYPT", "{MD5-CRYPT}$1$a$b": "MD5-CRYPT", "{CRYPT}$1$a$b": "MD5-CRYPT", "{crypt}$1$a$b": "MD5-CRYPT",
		"abiQ6Ep3EYTHc": "DES-CRYPT", "{CRYPT}abiQ6Ep3EYTHc": "DES-CRYPT", "{DES-CRYPT}abiQ6Ep3EYTHc": "DES-CRYPT",
		"{plain-md5}9dd4e461268c8034f5c8564e155c67a6": "PLAIN-MD5", "{PLAIN-MD5.b64}x": "PLAIN-MD5", "{MD5}$1$a$b": "MD5", "{SMD5}x": "SMD5", "{LDAP-MD5}x": "LDAP-MD5", "{HMAC-MD5}x": "HMAC-MD5", "{PLAIN-MD4}x": "PLAIN-MD4",
		"": "", "*": "", "{MD5": "", "$6$a$b": "", "$5$a$b": "", "$2y$05$x": "", "$y$j9T$a$b": "", "{SHA512-CRYPT}$6$a$b": "", "{SSHA}x": "", "{SHA}x": "", "{PLAIN}x": "", "{CRAM-MD5}x": "", "{DIGEST-MD5}x": "", "{ARGON2ID}$argon2id$x": "", "{SHA256}abiQ6Ep3EYTHc": "",
	} {
		require.Equal(t, want, password.WeakScheme(stored), stored)
	}
}
