package password_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/protocol"
)

var schemes = []password.Scheme{password.SHA512Crypt, password.BlfCrypt, password.Argon2ID}

func hash(t *testing.T, scheme password.Scheme, text string) string {
	t.Helper()
	h, err := password.NewHasher(scheme)
	require.NoError(t, err)
	out, err := h.Hash(t.Context(), protocol.NewSecret(text))
	require.NoError(t, err)
	return out
}

func verify(t *testing.T, stored, text string) bool {
	t.Helper()
	ok, err := password.NewVerifier().Verify(stored, protocol.NewSecret(text))
	require.NoError(t, err)
	return ok
}

func TestHashAndVerify(t *testing.T) {
	for scheme, form := range map[password.Scheme]string{
		password.SHA512Crypt: `^\$6\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}$`,
		password.BlfCrypt:    `^\{BLF-CRYPT\}\$2[by]\$10\$[./0-9A-Za-z]{53}$`,
		password.Argon2ID:    `^\{ARGON2ID\}\$argon2id\$v=19\$m=65536,t=3,p=1\$`,
	} {
		t.Run(string(scheme), func(t *testing.T) {
			for _, text := range []string{"a:b$c!{}", "pä ß😀"} {
				stored := hash(t, scheme, text)
				require.Regexp(t, form, stored)
				require.True(t, verify(t, stored, text))
				require.False(t, verify(t, stored, text+"x"))
			}
			require.NotEqual(t, hash(t, scheme, "x"), hash(t, scheme, "x"), "salted")
		})
	}
	_, err := password.NewHasher("MD5-CRYPT")
	require.ErrorContains(t, err, "is not one of SHA512-CRYPT, BLF-CRYPT and ARGON2ID")
}

// crypt runs the system's crypt(3), which Dovecot uses to verify.
func crypt(t *testing.T, text, setting string) string {
	t.Helper()
	cmd := exec.Command("perl", "-e", `local $/; my $p = <STDIN>; print crypt($p, $ARGV[0]) // ""`, setting)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func TestT28_CryptAgrees(t *testing.T) {
	for _, text := range []string{"12345luggage", "x", "pä ß😀", strings.Repeat("a", 63), strings.Repeat("b", 64), strings.Repeat("c", 65), strings.Repeat("d", password.MaxBytes)} {
		stored := hash(t, password.SHA512Crypt, text)
		require.Equal(t, stored, crypt(t, text, stored), "%d bytes", len(text))
		if len(text) > 20 {
			continue
		}
		for _, setting := range []string{"$6$saltsalt$", "$6$rounds=1000$abc$", "$5$saltstring$", "$1$abcdefgh$", "$2y$05$abcdefghijklmnopqrstuu", "$2a$04$abcdefghijklmnopqrstuu"} {
			foreign := crypt(t, text, setting)
			require.True(t, verify(t, foreign, text), "%s %d bytes", setting, len(text))
			require.True(t, verify(t, "{crypt}"+foreign, text), setting)
			require.False(t, verify(t, foreign, "x"+text), setting)
		}
	}
}

func TestT28_Check(t *testing.T) {
	for _, c := range []struct {
		name, text string
		sha, blf   string // The expected error; "" if the password is accepted.
	}{
		{"one byte", "x", "", ""},
		{"71 bytes", strings.Repeat("x", 71), "", ""},
		{"72 bytes", strings.Repeat("x", 72), "", "at most 71 bytes"},
		{"256 bytes", strings.Repeat("x", 256), "", "at most 71 bytes"},
		{"257 bytes", strings.Repeat("x", 257), "at most 256 bytes", "at most 71 bytes"},
		{"8 KiB", strings.Repeat("x", 8<<10), "at most 256 bytes", "at most 71 bytes"},
		{"marks", `a:b"c'd\e&f%g h$i!{}[]<>`, "", ""},
		{"emoji", "päß😀", "", ""},
		{"NUL", "a\x00b", "invalid characters", "invalid characters"},
		{"LF", "a\nb", "invalid characters", "invalid characters"},
		{"CR", "a\r", "invalid characters", "invalid characters"},
		{"a C1 control", "a\u0085b", "invalid characters", "invalid characters"},
		{"bad UTF-8", "a\xff", "invalid characters", "invalid characters"},
		{"half a character", "a\xc3", "invalid characters", "invalid characters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for scheme, says := range map[password.Scheme]string{password.SHA512Crypt: c.sha, password.BlfCrypt: c.blf} {
				h, err := password.NewHasher(scheme)
				require.NoError(t, err)
				refusal := h.Check(protocol.NewSecret(c.text))
				if says == "" {
					require.Nil(t, refusal)
					continue
				}
				require.NotNil(t, refusal)
				require.Contains(t, refusal.Message, says)
				require.NotContains(t, refusal.Message, c.text)
			}
		})
	}
}

// T28: bcrypt compares 72 bytes, including the NUL, so longer passwords are rejected.
func TestT28_LongestForBcrypt(t *testing.T) {
	longest := strings.Repeat("y", 71)
	stored := hash(t, password.BlfCrypt, longest)
	require.True(t, verify(t, stored, longest))
	require.False(t, verify(t, stored, longest+"x"))
}

// T29: a stored hash can't make verification slow.
func TestT29_HostileHashes(t *testing.T) {
	sha := strings.Repeat("a", 86)
	b := strings.Repeat("a", 53)
	for stored, want := range map[string]error{
		"$6$rounds=100001$salt$" + sha:       password.ErrCost,
		"$6$rounds=999999999$salt$" + sha:    password.ErrCost,
		"$5$rounds=5000000$salt$" + sha[:43]: password.ErrCost,
		"$2y$13$" + b:                        password.ErrCost,
		"$2b$31$" + b:                        password.ErrCost,
		"{BLF-CRYPT}$2y$31$" + b:             password.ErrCost,
		"{ARGON2ID}$argon2id$v=19$m=65537,t=3,p=1$c2FsdHNhbHQ$" + b[:43]:       password.ErrCost,
		"{ARGON2ID}$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQ$" + b[:43]: password.ErrCost,
		"{ARGON2ID}$argon2id$v=19$m=64,t=1,p=255$c2FsdHNhbHQ$" + b[:43]:        password.ErrCost,
		"{CRYPT}$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$" + b[:43]:             password.ErrScheme,
		"{ARGON2ID}$6$salt$" + sha:                                             password.ErrScheme,
		"{PLAIN}secret":                                                        password.ErrScheme,
		"{SSHA512}abc":                                                         password.ErrScheme,
		"secret":                                                               password.ErrScheme,
		"$6$":                                                                  password.ErrScheme,
		"$6$rounds=99999999999999999999$salt$" + sha:                           password.ErrScheme,
		"{":           password.ErrScheme,
		"$7$abc":      password.ErrScheme,
		"$2y$99$" + b: password.ErrCost,
	} {
		ok, err := password.NewVerifier().Verify(stored, protocol.NewSecret("secret"))
		require.False(t, ok, stored)
		require.ErrorIs(t, err, want, stored)
	}
	ok, err := password.NewVerifier().Verify("$6$salt$"+strings.Repeat("a", 1000), protocol.NewSecret("secret"))
	require.NoError(t, err)
	require.False(t, ok)
}

func TestHashWaitsForItsTurnOrTheEnd(t *testing.T) {
	h, err := password.NewHasher(password.SHA512Crypt)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var refused error
	for range 1000 { // select chooses at random if both are ready.
		if _, refused = h.Hash(ctx, protocol.NewSecret("x")); refused != nil {
			break
		}
	}
	require.ErrorIs(t, refused, context.Canceled)
}

func FuzzVerify(f *testing.F) {
	for _, scheme := range schemes[:2] {
		h, err := password.NewHasher(scheme)
		require.NoError(f, err)
		stored, err := h.Hash(context.Background(), protocol.NewSecret("x"))
		require.NoError(f, err)
		f.Add(stored, "x")
	}
	f.Add("$6$rounds=5000000$salt$"+strings.Repeat("a", 86), "x")
	f.Add("{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "x")
	f.Fuzz(func(t *testing.T, stored, text string) {
		ok, err := password.NewVerifier().Verify(stored, protocol.NewSecret(text))
		require.False(t, ok && err != nil)
	})
}
