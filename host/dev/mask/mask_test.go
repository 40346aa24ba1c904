package mask_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
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
		"batch":       {Named: map[string]any{"command": `["Email","passwd_pop",{"email":"u","password":"` + canary + `"}]`}},
		"other names": {Named: map[string]any{"ssh_key": canary, "key-0": canary, "pw": canary, "tfa_code": canary, "psk": canary}},
		"bytes":       {Named: map[string]any{"pass": []byte(canary)}},
	} {
		m := mask.New(mask.Rules{}, args)
		require.NotContains(t, text(t, m.Args()), canary, name)
		answer := m.Value(map[string]any{"said": "It is " + canary + ".", canary: []any{canary}, "n": int64(7)})
		require.NotContains(t, text(t, answer), canary, name)
		require.NotContains(t, m.Text("login?p="+url.QueryEscape(canary)+" "+base64.StdEncoding.EncodeToString([]byte(canary))), base64.StdEncoding.EncodeToString([]byte(canary)), name)
		require.NotContains(t, m.Text("The password "+canary+" is too short."), canary, name)
	}
	m := mask.New(mask.Rules{Names: []string{"pin2"}, Texts: []string{"corp.example"}}, protocol.Args{Named: map[string]any{"app_key": "mail", "email": "user", "pin2": "abcd", "n": protocol.Number("7")}})
	require.Equal(t, map[string]any{"app_key": "mail", "email": "user", "pin2": mask.Hidden, "n": "7"}, m.Args(), "other values stay")
	require.Equal(t, "www."+mask.Hidden, m.Text("www.corp.example"))
	require.Equal(t, map[string]any{}, mask.New(mask.Rules{}, protocol.Args{}).Args())

	// A secret of an answer hides all that is below it, and a short one is masked as a word.
	require.Equal(t, map[string]any{"secret": map[string]any{"value": mask.Hidden, "list": []any{mask.Hidden}}}, m.Value(map[string]any{"secret": map[string]any{"value": "x", "list": []any{int64(7)}}}))
	require.Equal(t, `{"api_token":"[masked]"}`, m.Value(`{"api_token":"abc"}`))
	require.Equal(t, `{"b": 1}`, m.Value(`{"b": 1}`), "other documents stay as they are")
	short := mask.New(mask.Rules{}, protocol.Args{Named: map[string]any{"password": "abc"}})
	require.Equal(t, "your password [masked] is too short, abcde", short.Text("your password abc is too short, abcde"))
	names := mask.New(mask.Rules{}, protocol.Args{Named: map[string]any{"password": "mail"}}).Value(map[string]any{"email": "x"})
	require.Equal(t, map[string]any{"email": "x"}, names, "the names of fields stay")
}

// Texts that look like secrets are masked under every name.
func TestForms(t *testing.T) {
	m := mask.New(mask.Rules{}, protocol.Args{})
	for _, secret := range []string{
		"-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "$6$salt$hash/hash.", "{SHA512-CRYPT}$6$a$b", "$2y$10$abcdefghij",
		"$argon2id$v=19$m=1,t=2,p=3$abc$def", "{PLAIN}hidden", "{SSHA}aGFzaA==", strings.Repeat("A1", 16), "eyJhbGciOiJI.eyJzdWIi.c2ln", "cpsess1234567890",
		"Basic dXNlcjpwYXNz==", "cpanel demo:ABCDEF", "mysql://user:p@ss@", "ghp_" + strings.Repeat("a1", 18), "AKIA" + strings.Repeat("A", 16),
	} {
		require.Equal(t, "before "+mask.Hidden+" after", m.Text("before "+secret+" after"), secret)
	}
	require.Equal(t, "a "+mask.Hidden, m.Text("a -----BEGIN PRIVATE KEY-----\nabc"), "a key that is cut off")
	for text, want := range map[string]string{
		"/login/?session=demo%3aAbC&x=1": "/login/?session=[masked]&x=1", "password: hunter22, then": "password: [masked], then",
		"Set-Cookie: cpsession=a; Path=/\nNext": "Set-Cookie: [masked]\nNext", "The token is missing.": "The token is missing.",
	} {
		require.Equal(t, want, m.Text(text))
	}
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
	for _, private := range []string{"user%40private.example", "fe80::1", "2a00::5", "bob@corp.example"} {
		require.NotContains(t, m.Text("a "+private+" b"), private)
		require.Equal(t, m.Text(private), m.Text(m.Text(private)))
	}
	seen := map[string]bool{}
	for i := range 60 {
		seen[m.Text(fmt.Sprintf("203.0.113.%d", i))] = true
	}
	require.Len(t, seen, 60)
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
