package email_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

const (
	// The hash of "Old.passw0rd-1", with few rounds.
	oldHash  = "$6$rounds=1000$saltsalt$5CfpQ76K4sHZKZWQnfHbn2UYZCOYyYeanyv/Zen.4Huwk1cH1CzboqHE7Ukb9DsYofaZMnube3hi2Y3azi9Dt0"
	password = "New & safe: 2"
)

type world struct {
	t       *testing.T
	server  *sdk.Server
	account protocol.Account
	shadow  string
	module  string // "" means Email.
	mailbox string // The calling mailbox user; "" means that the account calls.
}

func newWorld(t *testing.T) *world {
	t.Helper()
	home := t.TempDir()
	for _, domain := range []string{"example.com", "example.net"} {
		dir := filepath.Join(home, "etc", domain)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		lines := "user:" + oldHash + ":1::::::\noff:!" + oldHash + ":1::::::\nnone::1::::::\nhuge:$6$rounds=9000000$a$b:1::::::\nlocked:*LOCKED*" + oldHash + ":1::::::\nalice:x:1::::::\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "shadow"), []byte(lines), 0o640))
	}
	w := &world{
		t: t, server: sdk.NewServer(email.Modules()...), shadow: filepath.Join(home, "etc", "example.com", "shadow"),
		account: protocol.Account{Name: "alice", Home: home, Domains: []string{"example.com", "example.net"}},
	}
	require.NoError(t, w.configure(nil))
	return w
}

// configure passes settings. If they have no password policy, it is off.
func (w *world) configure(settings map[string]any) error {
	all := map[string]any{"required_strength": 0}
	maps.Copy(all, settings)
	settings = all
	ask, err := payload.EncodeSettings(settings)
	require.NoError(w.t, err)
	answer, err := w.server.Describe(w.t.Context(), &pluginpb.Payload{Msgpack: ask})
	require.NoError(w.t, err)
	_, err = payload.DecodeModules(answer.GetMsgpack())
	return err
}

func (w *world) call(api protocol.API, name string, args map[string]any) *protocol.Result {
	w.t.Helper()
	return w.shaped(api, name, args, nil)
}

// shaped does the same as call, and asks the plugin to filter, sort and page the list.
func (w *world) shaped(api protocol.API, name string, args map[string]any, shape map[string]string) *protocol.Result {
	w.t.Helper()
	module := w.module
	if module == "" {
		module = "Email"
	}
	role := protocol.RoleAccount
	if w.mailbox != "" {
		role = protocol.RoleMailbox
	}
	ask, err := payload.EncodeRequest(payload.Request{
		ID: "id1234", Account: w.account, Role: role, Mailbox: w.mailbox, Shape: shape,
		Call: protocol.Call{API: api, Module: module, Func: name, Args: protocol.Args{Named: args}},
	})
	require.NoError(w.t, err)
	answer, err := w.server.Call(w.t.Context(), &pluginpb.Payload{Msgpack: ask})
	require.NoError(w.t, err)
	result, err := payload.DecodeResult(answer.GetMsgpack())
	require.NoError(w.t, err)
	result.Data = protocol.Plain(result.Data)
	return result
}

func (w *world) passwdPop(email, domain, password string) *protocol.Result {
	return w.call(protocol.API2, "passwdpop", map[string]any{"email": email, "domain": domain, "password": password})
}

func (w *world) verifies(address, password string) any {
	result := w.call(protocol.UAPI, "verify_password", map[string]any{"email": address, "password": password})
	require.Nil(w.t, result.Err, "%v", result.Err)
	return result.Data
}

func TestPasswdPop(t *testing.T) {
	for _, c := range []struct{ name, email, domain, changed string }{
		{"a name and a domain", "user", "example.com", "user@example.com"},
		{"an address and its domain", "user@example.com", "example.com", "user@example.com"},
		{"an address alone", "user@example.net", "", "user@example.net"},
		{"capitals", "User", "EXAMPLE.net", "user@example.net"},
		{"an address in capitals", "USER@Example.Com", "example.COM", "user@example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			result := w.passwdPop(c.email, c.domain, password)
			require.Nil(t, result.Err, "%v", result.Err)
			require.Equal(t, []any{map[string]any{"reason": "", "result": int64(1)}}, result.Data)
			require.EqualValues(t, 1, w.verifies(c.changed, password))
			other := map[string]string{"user@example.com": "user@example.net", "user@example.net": "user@example.com"}[c.changed]
			require.EqualValues(t, 0, w.verifies(other, password))

			result = w.call(protocol.UAPI, "passwd_pop", map[string]any{"email": c.email, "domain": c.domain, "password": "Another 3"})
			require.Nil(t, result.Err)
			require.Nil(t, result.Data)
			require.EqualValues(t, 1, w.verifies(c.changed, "Another 3"))
			require.EqualValues(t, 0, w.verifies(c.changed, password))
		})
	}
}

func TestPasswdPopRefuses(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name, email, domain, password string
		kind                          protocol.Kind
		says                          string
	}{
		{"no such mailbox", "nobody", "example.com", password, protocol.KindNotFound, "The email account “nobody@example.com” does not exist."},
		{"a domain of somebody else", "user", "example.org", password, protocol.KindInvalid, "You do not have access to the domain “example.org”."},
		{"an address of somebody else", "user@example.org", "", password, protocol.KindInvalid, "You do not have access to the domain “example.org”."},
		{"two domains", "user@example.com", "example.net", password, protocol.KindInvalid, "name different domains: “example.com” and “example.net”"},
		{"no domain behind the @", "user@", "example.com", password, protocol.KindInvalid, "no domain after the @"},
		{"no name before the @", "@example.com", "", password, protocol.KindInvalid, "Provide the ‘email’ argument."},
		{"two @", "us@er@example.com", "", password, protocol.KindInvalid, "may not contain '@'"},
		{"the parent directory", "..", "example.com", password, protocol.KindInvalid, "‘email’ argument is not a valid mailbox name"},
		{"a path", "a/b/user", "example.com", password, protocol.KindInvalid, "may not contain '/'"},
		{"a path as the domain", "user", "../example.com", password, protocol.KindInvalid, "You do not have access"},
		{"a colon", "us:er", "example.com", password, protocol.KindInvalid, "may not contain ':'"},
		{"a Kelvin sign", "\u212aate", "example.com", password, protocol.KindInvalid, "may not contain"},
		{"a long name", strings.Repeat("a", 65), "example.com", password, protocol.KindInvalid, "longer than 64"},
		{"a long domain", "user", long, password, protocol.KindInvalid, "…”."},
		{"the account's own mailbox", "alice", "example.com", password, protocol.KindInvalid, "You cannot change the password of the system account with this function."},
		{"the account's own address", "alice@example.com", "", password, protocol.KindInvalid, "You cannot change the password of the system account with this function."},
		{"by its title", "Main Account", "", password, protocol.KindInvalid, "You cannot change the password of the system account with this function."},
		{"a suspended account", "locked", "example.com", password, protocol.KindDenied, "This account is suspended."},
		{"a password too long", "user", "example.com", long, protocol.KindInvalid, "at most 256 bytes"},
		{"a newline in it", "user", "example.com", "a\nb", protocol.KindInvalid, "The password contains invalid characters."},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			before, err := os.ReadFile(w.shadow)
			require.NoError(t, err)
			for api, name := range map[protocol.API]string{protocol.API2: "passwdpop", protocol.UAPI: "passwd_pop"} {
				result := w.call(api, name, map[string]any{"email": c.email, "domain": c.domain, "password": c.password})
				require.NotNil(t, result.Err)
				require.Equal(t, c.kind, result.Err.Kind)
				require.Contains(t, result.Err.Message, c.says)
				require.NotContains(t, result.Err.Message, c.password)
				require.NotContains(t, result.Err.Message, w.account.Home)
			}
			after, err := os.ReadFile(w.shadow)
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))
		})
	}
	w := newWorld(t)
	require.Nil(t, w.passwdPop("alice", "example.net", password).Err, "in another domain the name is a mailbox's")
	w.account.Domains = nil
	require.Equal(t, "Provide the ‘domain’ argument.", w.call(protocol.UAPI, "passwd_pop", map[string]any{"email": "user", "password": password}).Err.Message)
}

func TestSuspendedStaysSuspended(t *testing.T) {
	w := newWorld(t)
	require.Nil(t, w.passwdPop("off", "example.com", password).Err)
	require.EqualValues(t, 0, w.verifies("off@example.com", password), "its login is suspended")
	content, err := os.ReadFile(w.shadow)
	require.NoError(t, err)
	require.Contains(t, string(content), "\noff:!$6$")
	require.NoError(t, os.WriteFile(w.shadow, []byte(strings.Replace(string(content), "\noff:!", "\noff:", 1)), 0o640))
	require.EqualValues(t, 1, w.verifies("off@example.com", password), "the new password came into force")
}

func TestVerifyPassword(t *testing.T) {
	w := newWorld(t)
	require.EqualValues(t, 1, w.verifies("user@example.com", "Old.passw0rd-1"))
	require.EqualValues(t, 0, w.verifies("user@example.com", "wrong"))
	require.EqualValues(t, 0, w.verifies("none@example.com", "x"))
	require.EqualValues(t, 0, w.verifies("user@example.com", strings.Repeat("x", 300)))
	for email, says := range map[string]string{
		"nobody@example.com": "does not exist", "user@example.org": "You do not have access", "huge@example.com": "does not verify",
	} {
		result := w.call(protocol.UAPI, "verify_password", map[string]any{"email": email, "password": "x"})
		require.NotNil(t, result.Err, email)
		require.Contains(t, result.Err.Message, says)
	}
}

func TestSchemes(t *testing.T) {
	for scheme, prefix := range map[string]string{"SHA512-CRYPT": "$6$", "BLF-CRYPT": "{BLF-CRYPT}$2", "ARGON2ID": "{ARGON2ID}$argon2id$"} {
		w := newWorld(t)
		require.NoError(t, w.configure(map[string]any{"scheme": scheme}))
		require.Nil(t, w.passwdPop("user", "example.com", password).Err)
		content, err := os.ReadFile(w.shadow)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(content), "user:"+prefix), "%s", content)
		require.EqualValues(t, 1, w.verifies("user@example.com", password))
	}
	for _, bad := range []map[string]any{{"scheme": "PLAIN"}, {"scheme": ""}, {"scheme": 5}, {"shceme": "BLF-CRYPT"}} {
		require.Error(t, newWorld(t).configure(bad), "%v", bad)
	}
}

// T4: every function names its roles. A mailbox user may change the own password, and see the own settings.
func TestT04_Roles(t *testing.T) {
	for _, f := range email.Modules()[0].Functions {
		switch f.Name {
		case "passwd_pop", "passwdpop", "account_name", "accountname", "get_pop_quota", "getpopquota", "get_client_settings", "get_webmail_settings":
			require.Equal(t, []protocol.Role{protocol.RoleAccount, protocol.RoleMailbox}, f.Roles)
			continue
		case "verify_password": // The host calls it for sign-ins at the webmail port.
			require.Equal(t, []protocol.Role{protocol.RoleAccount, protocol.RoleMailServer}, f.Roles)
			continue
		}
		require.False(t, f.Changes && slices.Contains(f.Roles, protocol.RoleMailbox) && f.Name != "passwd_pop")
		if f.Name == "mail_server_lookup" { // It returns hashes, so no account may call it.
			require.Equal(t, []protocol.Role{protocol.RoleMailServer}, f.Roles)
			continue
		}
		if f.Name == "unlock_mailboxes" { // Only the host ends an account's suspension.
			require.Equal(t, []protocol.Role{protocol.RoleAdmin}, f.Roles)
			continue
		}
		require.Equal(t, []protocol.Role{protocol.RoleAccount}, f.Roles, f.Name)
	}
}

// API 2 has no default domain, but takes the domain from a whole address. UAPI's default is the main domain.
func TestDefaultDomain(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		args map[string]any
	}{
		{"passwdpop", map[string]any{"email": "user", "password": password}}, {"addpop", map[string]any{"email": "new", "password": password}},
		{"editquota", map[string]any{"email": "new", "quota": "1"}}, {"delpop", map[string]any{"email": "new"}},
	} {
		result := w.call(protocol.API2, c.name, c.args)
		require.NotNil(t, result.Err, c.name)
		require.Equal(t, "Provide the ‘domain’ argument.", result.Err.Message)
		c.args["email"] = c.args["email"].(string) + "@example.net"
		require.Nil(t, w.call(protocol.API2, c.name, c.args).Err, c.name)
	}
	result := w.call(protocol.UAPI, "passwd_pop", map[string]any{"email": "user", "password": password})
	require.Nil(t, result.Err)
	require.EqualValues(t, 1, w.verifies("user@example.com", password))
}

// The user of a mailbox sees the settings of the own mailbox, and of no other.
func TestMailboxUserSeesTheOwnMailbox(t *testing.T) {
	w := newWorld(t)
	require.Nil(t, w.call(protocol.UAPI, "add_pop", map[string]any{"email": "own", "domain": "example.net", "password": password, "quota": "5"}).Err)
	w.mailbox = "own@example.net"
	data := func(name string, args map[string]any) any {
		result := w.call(protocol.UAPI, name, args)
		require.Nil(t, result.Err, "%s: %v", name, result.Err)
		return result.Data
	}
	require.EqualValues(t, 5, data("get_pop_quota", map[string]any{"email": "own"}))
	require.EqualValues(t, 5, data("get_pop_quota", map[string]any{"email": "own@example.net"}))
	require.Equal(t, "own@example.net", data("get_client_settings", nil).(map[string]any)["account"], "the own mailbox is the default")
	require.Equal(t, "own@example.net", data("get_webmail_settings", map[string]any{"account": "own@example.net"}).(map[string]any)["user"])
	require.Equal(t, "own@example.net", data("account_name", map[string]any{"account": "own@example.net"}))
	for name, args := range map[string]map[string]any{
		"get_pop_quota": {"email": "user"}, "get_client_settings": {"account": "user@example.com"}, "get_webmail_settings": {"account": "alice"},
	} {
		result := w.call(protocol.UAPI, name, args)
		require.NotNil(t, result.Err, name)
		require.Equal(t, protocol.KindDenied, result.Err.Kind, "%s: %s", name, result.Err.Message)
	}
}
