package mask_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/dev/mask"
	"github.com/liveapid/liveapid/protocol"
)

const canary = "c4n4ry-s3cret"

// No secret of a call is in its masked arguments, nor in its masked answer, whatever the secret's name and form are.
func TestSecrets(t *testing.T) {
	for name, args := range map[string]protocol.Args{
		"names": {Named: map[string]any{"email": "user", "password": canary, "newpass": canary, "Passwd": canary, "password_hash": canary, "api_token": canary,
			"key": canary, "otp": canary, "auth": canary, "cookie": canary}},
		"a secret":    {Named: map[string]any{"password": protocol.NewSecret(canary)}},
		"inside":      {Named: map[string]any{"data": map[string]any{"password": canary}, "list": []any{map[string]any{"secret": canary}}}},
		"below":       {Named: map[string]any{"credentials": map[string]any{"first": canary, "rest": []any{canary}}}},
		"by position": {Positional: []any{"user", canary}},
		"bytes":       {Named: map[string]any{"pass": []byte(canary)}},
	} {
		m := mask.New(mask.Rules{}, args)
		require.NotContains(t, text(t, m.Args()), canary, name)
		answer := m.Value(map[string]any{"said": "It is " + canary + ".", canary: []any{canary}, "n": int64(7)})
		require.NotContains(t, text(t, answer), canary, name)
		require.NotContains(t, m.Text("The password "+canary+" is too short."), canary, name)
	}
	m := mask.New(mask.Rules{Names: []string{"pin2"}, Texts: []string{"corp.example"}}, protocol.Args{Named: map[string]any{"app_key": "mail", "email": "user", "pin2": "abcd", "n": protocol.Number("7")}})
	require.Equal(t, map[string]any{"app_key": "mail", "email": "user", "pin2": mask.Hidden, "n": "7"}, m.Args(), "other values stay")
	require.Equal(t, "www."+mask.Hidden, m.Text("www.corp.example"))
	require.Equal(t, map[string]any{}, mask.New(mask.Rules{}, protocol.Args{}).Args())
}

// Texts that look like secrets are masked under every name.
func TestForms(t *testing.T) {
	m := mask.New(mask.Rules{}, protocol.Args{})
	for _, secret := range []string{
		"-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "$6$salt$hash/hash.", "{SHA512-CRYPT}$6$a$b", "$2y$10$abcdefghij",
		"$argon2id$v=19$m=1,t=2,p=3$abc$def", "{PLAIN}hidden", "{SSHA}aGFzaA==", strings.Repeat("A1", 16), "eyJhbGciOiJI.eyJzdWIi.c2ln", "cpsess1234567890",
		"Basic dXNlcjpwYXNz==", "cpanel demo:ABCDEF", "mysql://user:pass@",
	} {
		require.Equal(t, "before "+mask.Hidden+" after", m.Text("before "+secret+" after"), secret)
	}
	require.Equal(t, "a "+mask.Hidden, m.Text("a -----BEGIN PRIVATE KEY-----\nabc"), "a key that is cut off")
	for _, plain := range []string{"user@example.com", "a cpanel server", "Basic English", "0123456789abcdef0123456789abcdef", "10:30:00", "https://example.com/a:b", "It costs $5 or $6."} {
		require.Equal(t, plain, m.Text(plain))
	}
}

// Equal addresses get equal replacements, and a masked text does not change when it is masked again.
func TestAddresses(t *testing.T) {
	m := mask.New(mask.Rules{Addresses: true, Salt: "s"}, protocol.Args{Named: map[string]any{"email": "Alice@corp.example"}})
	args := m.Args().(map[string]any)
	require.Equal(t, m.Text("alice@corp.example"), args["email"])
	require.Regexp(t, `^user-[0-9a-f]{8}@masked\.example$`, args["email"])
	other := mask.New(mask.Rules{Addresses: true, Salt: "other"}, protocol.Args{})
	require.NotEqual(t, args["email"], other.Text("alice@corp.example"))
	said := m.Text("From 198.51.100.7 and 2001:470:1:2::3 and ::1 at 12:30:00 to bob@corp.example, 127.0.0.1.")
	require.NotContains(t, said, "198.51")
	require.NotContains(t, said, "470")
	require.NotContains(t, said, "bob")
	require.Contains(t, said, "at 12:30:00")
	require.Equal(t, said, m.Text(said))
}

func text(t *testing.T, value any) string {
	t.Helper()
	out, err := json.Marshal(value)
	require.NoError(t, err)
	return fmt.Sprint(string(out))
}
