package email_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/protocol"
)

type args = map[string]any

// emptyWorld is an account without mailboxes.
func emptyWorld(t *testing.T) *world {
	w := newWorld(t)
	require.NoError(t, os.RemoveAll(filepath.Join(w.account.Home, "etc")))
	w.account.Domains = append(w.account.Domains, "xn--bcher-kva.example")
	return w
}

// must makes a call that must succeed, and returns its data.
func (w *world) must(api protocol.API, name string, a args) any {
	w.t.Helper()
	result := w.call(api, name, a)
	require.Nil(w.t, result.Err, "%s %v: %v", name, a, result.Err)
	return result.Data
}

func (w *world) refused(api protocol.API, name string, a args) string {
	w.t.Helper()
	result := w.call(api, name, a)
	require.NotNil(w.t, result.Err, "%s %v", name, a)
	require.NotEqual(w.t, protocol.KindInternal, result.Err.Kind, "%s %v", name, a)
	return result.Err.Message
}

// tree returns all files in the account's home except lock files.
func (w *world) tree() string {
	var b strings.Builder
	require.NoError(w.t, filepath.Walk(w.account.Home, func(path string, info os.FileInfo, err error) error {
		require.NoError(w.t, err)
		if info.Name() == ".liveapid.lock" {
			return nil
		}
		b.WriteString(path + " " + info.Mode().String() + "\n")
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(w.t, err)
			b.Write(text)
		}
		return nil
	}))
	return b.String()
}

// done is API 2's record of success.
var done = []any{args{"reason": "", "result": int64(1)}}

// number converts the small numbers of a decoded answer to int64.
func number(v any) any {
	switch v := v.(type) {
	case uint64:
		return int64(v)
	case []any:
		for i := range v {
			v[i] = number(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = number(v[k])
		}
	}
	return v
}

func TestAddAndDelete(t *testing.T) {
	w := emptyWorld(t)
	require.Equal(t, "one+example.com", w.must(protocol.UAPI, "add_pop", args{"email": "one", "password": password}))
	require.Equal(t, "two+example.net", w.must(protocol.UAPI, "add_pop", args{"email": "Two@Example.NET", "password": password, "quota": "unlimited"}))
	require.Equal(t, "three+xn--bcher-kva.example", w.must(protocol.UAPI, "add_pop", args{"email": "three", "domain": "Bücher.example", "password": password, "quota": "5"}))
	require.Equal(t, done, number(w.must(protocol.API2, "addpop", args{"email": "four", "domain": "example.com", "password": password})))
	require.Equal(t, "five@example.com", w.must(protocol.API1, "addpop", args{"email": "five", "password": password, "quota": "7", "domain": "example.com"}))
	require.Equal(t, "six+example.com", w.must(protocol.UAPI, "add_pop", args{"email": "six", "password_hash": oldHash, "skip_update_db": "1"}))
	for address, quota := range map[string]any{"one": int64(32768), "two@example.net": "unlimited", "three@bücher.example": int64(5), "four": int64(250), "five": int64(7)} {
		require.Equal(t, quota, number(w.must(protocol.UAPI, "get_pop_quota", args{"email": address})), address)
	}
	require.EqualValues(t, 5<<20, w.must(protocol.UAPI, "get_pop_quota", args{"email": "three@bücher.example", "as_bytes": "1"}))
	require.EqualValues(t, 0, w.must(protocol.UAPI, "get_pop_quota", args{"email": "two@example.net", "as_bytes": "1"}))
	require.Equal(t, "7", w.must(protocol.API1, "getpopquota", args{"email": "five", "domain": "example.com"}))
	require.Equal(t, "unlimited", w.must(protocol.API1, "getpopquota", args{"email": "two", "domain": "example.net"}))
	require.EqualValues(t, 1, w.verifies("one@example.com", password))
	require.EqualValues(t, 1, w.verifies("six@example.com", "Old.passw0rd-1"), "a hash from elsewhere")
	require.EqualValues(t, 6, w.must(protocol.UAPI, "count_pops", nil))

	result := w.call(protocol.UAPI, "add_pop", args{"email": "seven", "password": password, "send_welcome_email": "1"})
	require.Nil(t, result.Err)
	require.Len(t, result.Warnings, 1)

	mail := filepath.Join(w.account.Home, "mail", "example.com")
	require.DirExists(t, filepath.Join(mail, "one", "cur"))
	require.Nil(t, w.must(protocol.UAPI, "delete_pop", args{"email": "one"}))
	require.NoDirExists(t, filepath.Join(mail, "one"))
	require.Nil(t, w.must(protocol.UAPI, "delete_pop", args{"email": "six@example.com", "flags": "passwd", "skip_quota": "1"}))
	require.DirExists(t, filepath.Join(mail, "six", "cur"))
	quota, err := os.ReadFile(filepath.Join(w.account.Home, "etc", "example.com", "quota"))
	require.NoError(t, err)
	require.Contains(t, string(quota), "six:")
	require.NotContains(t, string(quota), "one:")
	require.Equal(t, []any{args{"raw": "", "reason": "", "result": int64(1)}}, number(w.must(protocol.API2, "delpop", args{"email": "four", "domain": "example.com"})))
	require.Equal(t, "", w.must(protocol.API1, "delpop", args{"email": "five", "domain": "example.com"}))
	require.EqualValues(t, 3, w.must(protocol.UAPI, "count_pops", nil))
	require.Contains(t, w.refused(protocol.UAPI, "delete_pop", args{"email": "one"}), "“one@example.com” does not exist")
}

// An account's limits come from its file, with the names of cPanel's keys.
func TestLimitsOfAnAccount(t *testing.T) {
	w := emptyWorld(t)
	w.account.Data = map[string]string{"MAXPOP": "2", "MAX_EMAILACCT_QUOTA": "100"}
	for name, want := range map[string]int64{
		"get_default_email_quota": 100 << 20, "get_default_email_quota_mib": 100, "get_max_email_quota": 100 << 20, "get_max_email_quota_mib": 100,
	} {
		require.EqualValues(t, want, w.must(protocol.UAPI, name, nil), name)
	}
	w.must(protocol.UAPI, "add_pop", args{"email": "one", "password": password})
	require.EqualValues(t, 100, w.must(protocol.UAPI, "get_pop_quota", args{"email": "one"}))
	for _, quota := range []string{"0", "unlimited", "101", "99999999999999999999"} {
		require.Contains(t, w.refused(protocol.UAPI, "add_pop", args{"email": "two", "password": password, "quota": quota}), "‘quota’ argument may be at most 100 MB", quota)
		w.must(protocol.UAPI, "edit_pop_quota", args{"email": "one", "domain": "example.com", "quota": "1"})
		w.must(protocol.UAPI, "edit_pop_quota", args{"email": "one", "domain": "example.com", "quota": quota})
		require.EqualValues(t, 100, w.must(protocol.UAPI, "get_pop_quota", args{"email": "one"}), "the highest instead of %s", quota)
	}
	w.must(protocol.API2, "addpop", args{"email": "two", "domain": "example.net", "password": password})
	require.EqualValues(t, 100, w.must(protocol.UAPI, "get_pop_quota", args{"email": "two@example.net"}), "API 2's default is within the limit")
	require.Contains(t, w.refused(protocol.UAPI, "add_pop", args{"email": "three", "password": password}), "maximum number of email accounts (2)")

	// Also for concurrent calls.
	w.account.Data["MAXPOP"] = "4"
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			w.call(protocol.UAPI, "add_pop", args{"email": "many" + string(rune('a'+i)), "password": password})
		})
	}
	all.Wait()
	require.EqualValues(t, 4, w.must(protocol.UAPI, "count_pops", nil))

	w.account.Data = nil
	for name, want := range map[string]int64{
		"get_default_email_quota": 34359738368, "get_default_email_quota_mib": 32768, "get_max_email_quota": 4503599627370496, "get_max_email_quota_mib": 4294967296,
	} {
		require.EqualValues(t, want, w.must(protocol.UAPI, name, nil), name)
	}
	require.Equal(t, []any{args{"get_default_email_quota": int64(32768)}}, number(w.must(protocol.API2, "get_default_email_quota", nil)))
	require.Equal(t, []any{args{"get_max_email_quota": int64(4294967296)}}, number(w.must(protocol.API2, "get_max_email_quota", nil)))
}

func TestLists(t *testing.T) {
	w := emptyWorld(t)
	main := args{"email": "alice", "login": "Main Account", "suspended_incoming": int64(0), "suspended_login": int64(0)}
	require.Equal(t, []any{main}, number(w.must(protocol.UAPI, "list_pops", nil)))
	w.must(protocol.UAPI, "add_pop", args{"email": "b", "password": password, "quota": "1"})
	w.must(protocol.UAPI, "add_pop", args{"email": "a@example.net", "password": password, "quota": "0"})
	w.must(protocol.UAPI, "suspend_login", args{"email": "b@example.com"})
	w.must(protocol.UAPI, "suspend_incoming", args{"email": "a@example.net"})
	b := args{"email": "b@example.com", "login": "b@example.com", "suspended_incoming": int64(0), "suspended_login": int64(1)}
	a := args{"email": "a@example.net", "login": "a@example.net", "suspended_incoming": int64(1), "suspended_login": int64(0)}

	result := w.call(protocol.UAPI, "list_pops", nil)
	require.Equal(t, []any{main, b, a}, number(result.Data), "the domains in their order, and the account's own first")
	require.EqualValues(t, 1, result.Metadata["transformed"])
	require.Equal(t, []any{b, a}, number(w.must(protocol.UAPI, "list_pops", args{"skip_main": "1", "no_validate": "1"})))
	require.Equal(t, []any{a}, number(w.must(protocol.API2, "listpops", args{"regex": `^(?=a@)`})), "Perl's expressions")
	require.Equal(t, []any{b}, number(w.must(protocol.API2, "listpopssingle", args{"regex": `example\.com$`})))
	require.Contains(t, w.refused(protocol.UAPI, "list_pops", args{"regex": "("}), "‘regex’")
	w.must(protocol.UAPI, "add_pop", args{"email": strings.Repeat("a", 60), "password": password})
	require.Contains(t, w.refused(protocol.UAPI, "list_pops", args{"regex": `^(a+)+$`}), "‘regex’ argument takes too long")
	w.must(protocol.UAPI, "delete_pop", args{"email": strings.Repeat("a", 60)})
	image := number(w.must(protocol.API2, "listpopswithimage", args{"regex": "^b"})).([]any)[0].(args)
	require.Equal(t, "", image["image"])

	require.NoError(t, os.WriteFile(filepath.Join(w.account.Home, "mail/example.com/b/maildirsize"), []byte("1048576S\n430000 2\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(w.account.Home, "mail/example.net/a/cur/1,S=483:2,"), []byte("x"), 0o600))
	list := number(w.must(protocol.UAPI, "list_pops_with_disk", nil)).([]any)
	require.Len(t, list, 3)
	own := list[0].(args)
	require.Equal(t, []any{"Main Account", "alice", "unlimited", "None"}, []any{own["email"], own["login"], own["diskquota"], own["humandiskused"]})
	box := list[1].(args)
	require.NotZero(t, box["mtime"])
	delete(box, "mtime")
	require.Equal(t, args{
		"user": "b", "domain": "example.com", "email": "b@example.com", "login": "b@example.com",
		"diskquota": "1.00", "txtdiskquota": "1.00", "_diskquota": "1048576", "humandiskquota": "1\u00a0MB",
		"diskused": "0.41", "_diskused": "430000", "humandiskused": "419.92\u00a0KB",
		"diskusedpercent": int64(41), "diskusedpercent20": int64(40), "diskusedpercent_float": 430000.0 / 1048576 * 100,
		"suspended_login": int64(1), "suspended_incoming": int64(0),
	}, box)
	box = list[2].(args)
	require.Equal(t, []any{"unlimited", "unlimited", "0", "None", "483\u00a0bytes", int64(0)},
		[]any{box["diskquota"], box["txtdiskquota"], box["_diskquota"], box["humandiskquota"], box["humandiskused"], box["diskusedpercent"]})
	require.NotContains(t, box, "has_suspended")

	only := func(a args) args {
		list := number(w.must(protocol.UAPI, "list_pops_with_disk", a)).([]any)
		require.Len(t, list, 1, "%v", a)
		return list[0].(args)
	}
	require.Equal(t, "a@example.net", only(args{"domain": "example.net"})["email"])
	require.Equal(t, "b@example.com", only(args{"email": "b", "domain": "example.com"})["email"])
	require.Equal(t, "Main Account", only(args{"maxaccounts": "1"})["email"])
	require.Equal(t, "a@example.net", only(args{"regex": "^a@"})["email"])
	for _, regex := range []string{"/^a@/", "/^A@EXAMPLE/i", "^a$", "example\\.net$", "/^a$/"} { // The name alone, and the whole address.
		require.Equal(t, "a@example.net", only(args{"regex": regex})["email"], regex)
	}
	w.must(protocol.UAPI, "hold_outgoing", args{"email": "b@example.com"})
	require.EqualValues(t, 1, only(args{"email": "b", "domain": "example.com", "get_restrictions": "1"})["has_suspended"], "held mail is a restriction")
	w.must(protocol.UAPI, "release_outgoing", args{"email": "b@example.com"})
	require.Equal(t, "0", only(args{"regex": "^b", "no_disk": "1"})["_diskused"])
	box = only(args{"regex": "^a@", "get_restrictions": "1", "infinitylang": "1"})
	require.Equal(t, []any{"∞", "unlimited", int64(1), int64(0), int64(0)}, []any{box["diskquota"], box["txtdiskquota"], box["has_suspended"], box["suspended_outgoing"], box["hold_outgoing"]})
	box = only(args{"regex": "^a@", "infinityimg": `/i"<.gif`, "infinitylang": "1"})
	require.Equal(t, []any{`<img src="/i&#34;&lt;.gif" alt="unlimited" />`, "unlimited"}, []any{box["diskquota"], box["txtdiskquota"]})
	require.Empty(t, w.must(protocol.API2, "listpopswithdisk", args{"nearquotaonly": "1"}))
	require.Len(t, w.must(protocol.API2, "listpopswithdisk", args{"domain": "example.com"}), 2)
	require.Contains(t, w.refused(protocol.UAPI, "list_pops_with_disk", args{"domain": "example.org"}), "You do not have access")
	require.Contains(t, w.refused(protocol.UAPI, "list_pops_with_disk", args{"maxaccounts": "0"}), "‘maxaccounts’")

	require.Equal(t, args{"diskused": 0.41, "domain": "example.com", "login": "b@example.com", "user": "b"}, number(w.must(protocol.UAPI, "get_disk_usage", args{"user": "b", "domain": "example.com"})))
	require.Len(t, w.must(protocol.API2, "getdiskusage", args{"user": "b", "domain": "example.com"}), 1)
	require.Len(t, w.must(protocol.API2, "getdiskusage", args{"login": "b", "domain": "example.com"}), 1, "as older documentation names it")
	require.Equal(t, "b@example.com", w.must(protocol.UAPI, "get_disk_usage", args{"user": "b@example.com"}).(args)["login"])
	require.Contains(t, w.refused(protocol.UAPI, "get_disk_usage", args{"user": "b"}), "‘domain’")
	require.Contains(t, w.refused(protocol.API2, "getdiskusage", args{"domain": "example.com"}), "‘user’")
	require.Contains(t, w.refused(protocol.UAPI, "get_disk_usage", args{"user": "no", "domain": "example.com"}), "does not exist")
	for _, a := range []args{{"user": "alice"}, {"user": "Alice", "domain": "example.com"}, {"user": "alice@example.com"}} {
		require.Equal(t, "alice", w.must(protocol.UAPI, "get_disk_usage", a).(args)["login"], "the account's own mailbox")
	}
	require.Equal(t, []any{args{"status": int64(1)}}, number(w.must(protocol.API2, "clearpopcache", args{"username": "b@example.com"})))
	require.Contains(t, w.refused(protocol.API2, "clearpopcache", args{"username": "no@example.com"}), "does not exist")
	require.NoError(t, os.MkdirAll(filepath.Join(w.account.Home, "mail/cur"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(w.account.Home, "mail/cur/1"), make([]byte, 3076), 0o600))
	require.EqualValues(t, 3076, w.must(protocol.UAPI, "get_main_account_disk_usage_bytes", nil))
	require.Equal(t, "3\u00a0KB", w.must(protocol.UAPI, "get_main_account_disk_usage", nil))
}

func TestDomainsAndNames(t *testing.T) {
	w := emptyWorld(t)
	domain := func(names ...string) []any {
		var list []any
		for _, n := range names {
			list = append(list, args{"domain": n})
		}
		return list
	}
	w.account.Domains = []string{"example.com", "example.net", "*.example.net"}
	require.Equal(t, domain("example.com", "example.net"), w.must(protocol.UAPI, "list_mail_domains", nil))
	require.Equal(t, domain("example.com", "www.example.com", "example.net", "www.example.net"), w.must(protocol.UAPI, "list_mail_domains", args{"add_www": "1"}))
	require.Equal(t, domain("example.com", "*.example.com", "example.net", "*.example.net"), w.must(protocol.UAPI, "list_mail_domains", args{"include_wildcard": "1"}))
	require.Equal(t, []any{args{"domain": "example.com"}, args{"domain": "example.net", "select": int64(1)}}, number(w.must(protocol.UAPI, "list_mail_domains", args{"select": "Example.NET"})))
	require.Equal(t, domain("example.net"), w.must(protocol.API2, "listmaildomains", args{"skipmain": "1"}))

	for _, c := range []struct {
		account, display any
		api2, uapi       string
	}{
		{"user@example.net", nil, "user", "user@example.net"},
		{"user", nil, "user@example.com", "user"},
		{nil, "1", "All Mail On Your Account", "All Mail On The Account"},
		{"user", "1", "user@example.com", "user"},
		{nil, nil, "", ""},
	} {
		require.Equal(t, []any{args{"account": c.api2}}, w.must(protocol.API2, "accountname", args{"account": c.account, "display": c.display}))
		require.Equal(t, c.uapi, w.must(protocol.UAPI, "account_name", args{"account": c.account, "display": c.display}))
	}
}

func TestQuotas(t *testing.T) {
	w := emptyWorld(t)
	w.must(protocol.UAPI, "add_pop", args{"email": "b", "password": password})
	for text, want := range map[string]any{"1": int64(1), " 20 ": int64(20), "4294967296": int64(4294967296), "4294967297": int64(4294967296), "0": "unlimited", "unlimited": "unlimited"} {
		require.Nil(t, w.must(protocol.UAPI, "edit_pop_quota", args{"email": "b", "domain": "example.com", "quota": text}))
		require.Equal(t, want, number(w.must(protocol.UAPI, "get_pop_quota", args{"email": "b"})), text)
		require.Equal(t, done, number(w.must(protocol.API2, "editquota", args{"email": "b", "domain": "example.com", "quota": text})))
	}
	before := w.tree()
	for _, text := range []string{"-1", "1.5", "1e3", "x", "unlimitedd", "+", "0x10", "1 2", "\x00"} {
		require.Contains(t, w.refused(protocol.UAPI, "edit_pop_quota", args{"email": "b", "domain": "example.com", "quota": text}), "‘quota’ argument must be", text)
		require.Contains(t, w.refused(protocol.UAPI, "add_pop", args{"email": "c", "password": password, "quota": text}), "‘quota’ argument must be", text)
	}
	require.Contains(t, w.refused(protocol.UAPI, "add_pop", args{"email": "c", "password": password, "quota": "4294967297"}), "at most 4294967296 MB")
	require.Equal(t, before, w.tree())
}

func TestSuspensions(t *testing.T) {
	w := emptyWorld(t)
	w.must(protocol.UAPI, "add_pop", args{"email": "b", "password": password})
	before := w.tree()
	for _, c := range []struct {
		on, off       string
		answer, clear any
		column        string
	}{
		{"suspend_login", "unsuspend_login", nil, nil, "suspended_login"},
		{"suspend_incoming", "unsuspend_incoming", nil, int64(1), "suspended_incoming"},
		{"suspend_outgoing", "unsuspend_outgoing", int64(1), nil, "suspended_outgoing"},
		{"hold_outgoing", "release_outgoing", nil, nil, "hold_outgoing"},
	} {
		column := func() any {
			return number(w.must(protocol.UAPI, "list_pops_with_disk", args{"email": "b@example.com", "get_restrictions": "1"})).([]any)[0].(args)[c.column]
		}
		require.EqualValues(t, 0, column())
		require.Equal(t, c.answer, number(w.must(protocol.UAPI, c.on, args{"email": "b@example.com"})), c.on)
		require.EqualValues(t, 1, column(), c.on)
		require.EqualValues(t, map[bool]int{true: 0, false: 1}[c.on == "suspend_login"], w.verifies("b@example.com", password))
		require.Equal(t, c.clear, number(w.must(protocol.UAPI, c.off, args{"email": "b@example.com"})), c.off)
		require.EqualValues(t, 0, column(), c.off)
		require.EqualValues(t, 1, w.verifies("b@example.com", password))
	}
	after := w.tree()
	for _, name := range []string{"suspended_incoming", "suspended_outgoing", "hold_outgoing"} {
		after = strings.Replace(after, filepath.Join(w.account.Home, "etc/example.com", name)+" -rw-r-----\n", "", 1)
	}
	require.Equal(t, before, after, "but for empty files")
}

// badBoxes are mailboxes that no function accepts, with the expected error.
func badBoxes() map[string]args {
	return map[string]args{
		"Provide the ‘email’ argument.":                       {"email": ""},
		"“example.org”":                                       {"email": "user", "domain": "example.org"},
		"different domains":                                   {"email": "user@example.com", "domain": "example.net"},
		"has no domain after the @":                           {"email": "user@", "domain": "example.com"},
		"may not contain '/'":                                 {"email": "a/b"},
		"ends with a dot or contains two dots in a row":       {"email": "a..b"},
		"may not begin with '.'":                              {"email": ".."},
		"may not contain ':'":                                 {"email": "a:b"},
		`may not contain '\n'`:                                {"email": "a\nb"},
		`may not contain '\x00'`:                              {"email": "a\x00b"},
		"is longer than 64 characters":                        {"email": strings.Repeat("a", 65)},
		"may not contain 'Ã'":                                 {"email": "ü"},
		"may not contain ' '":                                 {"email": "a b"},
		"You do not have access to the domain “..”.":          {"email": "user@.."},
		"You do not have access to the domain “exämple.com”.": {"email": "user@exämple.com"},
	}
}

// Invalid mailboxes, in every function with a mailbox: the error names the parameter, and nothing is written.
func TestBadMailboxes(t *testing.T) {
	w := emptyWorld(t)
	w.must(protocol.UAPI, "add_pop", args{"email": "user", "password": password})
	before := w.tree()
	for _, f := range email.Modules()[0].Functions {
		takes := map[string]protocol.Param{}
		for _, p := range f.Params {
			takes[p.Name] = p
		}
		if takes["email"].Name == "" || !takes["email"].Required {
			continue
		}
		_, domain := takes["domain"]
		for says, bad := range badBoxes() {
			a := args{"quota": "1", "password": password}
			for k, v := range bad {
				a[k] = v
			}
			if a["domain"] != nil && !domain {
				continue
			}
			if a["domain"] == nil && (takes["domain"].Required || f.API == protocol.API2) {
				if strings.Contains(a["email"].(string), "@") {
					continue
				}
				a["domain"] = "example.com"
			}
			require.Contains(t, w.refused(f.API, f.Name, a), says, "%s %s %v", f.API, f.Name, bad)
		}
		// The account's own mailbox belongs to the system.
		if f.Changes && f.Name != "getpopquota" {
			w.refused(f.API, f.Name, args{"email": "alice", "domain": "example.com", "quota": "1", "password": password})
			w.refused(f.API, f.Name, args{"email": "Alice@example.com", "domain": "example.com", "quota": "1", "password": password})
		}
		// A mailbox that does not exist, or exists already.
		if f.Name != "add_pop" && f.Name != "addpop" {
			require.Contains(t, w.refused(f.API, f.Name, args{"email": "nobody@example.com", "domain": "example.com", "quota": "1", "password": password}), "“nobody@example.com” does not exist")
		} else {
			require.Contains(t, w.refused(f.API, f.Name, args{"email": "USER", "domain": "example.com", "password": password}), "“user@example.com” already exists!")
			require.Contains(t, w.refused(f.API, f.Name, args{"email": "cpanel", "domain": "example.com", "password": password}), "“cpanel”")
		}
	}
	for _, a := range []args{{}, {"password": password, "password_hash": oldHash}, {"password_hash": "plain"}, {"password_hash": "$6$a:b"}, {"password_hash": "$2y$31$" + strings.Repeat("a", 53)}, {"password": "a\nb"}, {"password": strings.Repeat("x", 300)}} {
		a["email"] = "new"
		w.refused(protocol.UAPI, "add_pop", a)
	}
	require.Equal(t, before, w.tree())
}

// A list that is too long for the caller is rejected, and the error says what to do.
func TestLongLists(t *testing.T) {
	w := emptyWorld(t)
	dir := filepath.Join(w.account.Home, "etc", "example.com")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	var lines strings.Builder
	for i := range 20_000 {
		lines.WriteString("box" + strconv.Itoa(i) + ":x:1::::::\n")
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shadow"), []byte(lines.String()), 0o640))
	require.Len(t, w.must(protocol.UAPI, "list_pops", nil), 20_001)
	require.Len(t, w.must(protocol.UAPI, "list_pops_with_disk", args{"no_disk": "1"}), 20_001)
	require.Len(t, w.must(protocol.UAPI, "list_pops_with_disk", args{"no_disk": "1", "maxaccounts": "4000"}), 4000)
	require.Len(t, w.must(protocol.UAPI, "list_pops", args{"regex": "^box1"}), 11_111)
	for i := 20_000; i < 130_000; i++ {
		lines.WriteString("box" + strconv.Itoa(i) + ":x:1::::::\n")
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shadow"), []byte(lines.String()), 0o640))
	require.Contains(t, w.refused(protocol.UAPI, "list_pops_with_disk", args{"no_disk": "1"}), "There are 130001 mailboxes, which are too many for one list.")
	require.Len(t, w.must(protocol.UAPI, "list_pops_with_disk", args{"no_disk": "1", "maxaccounts": "4000"}), 4000)
	require.EqualValues(t, 130_000, w.must(protocol.UAPI, "count_pops", nil))
}

// Every new password is checked against the policy, and a rejected password changes nothing.
func TestPolicy(t *testing.T) {
	w := emptyWorld(t)
	w.must(protocol.UAPI, "add_pop", args{"email": "user", "password": password})
	require.NoError(t, w.configure(map[string]any{"required_strength": 25}))
	before := w.tree()
	const says = "Sorry, the password you selected cannot be used because it is too weak. Choose a password with a strength rating of 25 or higher."
	require.Equal(t, says, w.refused(protocol.API2, "passwdpop", args{"email": "user", "domain": "example.com", "password": "password"}))
	require.Equal(t, says, w.refused(protocol.UAPI, "passwd_pop", args{"email": "user", "password": "password"}))
	require.Equal(t, says, w.refused(protocol.UAPI, "add_pop", args{"email": "new", "password": "password"}))
	require.Equal(t, says, w.refused(protocol.UAPI, "passwd_pop", args{"email": "user", "password": "user@example.com"}))
	require.Contains(t, w.refused(protocol.UAPI, "passwd_pop", args{"email": "nobody", "password": "12345luggage"}), "does not exist")
	require.Equal(t, before, w.tree())
	w.must(protocol.API2, "passwdpop", args{"email": "user", "domain": "example.com", "password": "12345luggage"})

	list := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(list, []byte("0000000000000000000000000000000000000000:1\n"), 0o644))
	require.NoError(t, w.configure(map[string]any{"required_strength": 1, "breached": list}))
	require.NoError(t, os.WriteFile(list, []byte("gone bad\n"), 0o644))
	w.must(protocol.UAPI, "passwd_pop", args{"email": "user", "password": "12345luggage"}) // The log has the reason.
	for _, bad := range []map[string]any{{"required_strength": 101}, {"required_strength": -1}, {"required_strength": "65"}, {"breached": list}, {"breached": 1},
		{"mail_timeout": "0s"}, {"mail_timeout": "2m"}, {"mail_timeout": "soon"}, {"mail_timeout": 3}} {
		require.Error(t, w.configure(bad), "%v", bad)
	}
}

// The time limit for the mail server is a setting.
func TestMailTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 3 * time.Second, "200ms": 200 * time.Millisecond, "1m": time.Minute} {
		raw := map[string]any{"mail_timeout": text}
		if text == "" {
			raw = nil
		}
		settings, err := email.ParseSettings(raw)
		require.NoError(t, err)
		require.Equal(t, want, settings.MailTimeout)
	}
}

func TestPasswdStrength(t *testing.T) {
	w := emptyWorld(t)
	require.NoError(t, w.configure(map[string]any{"required_strength": 65}))
	ask := func(api protocol.API, name string, a args) *protocol.Result {
		w.module = "PasswdStrength"
		defer func() { w.module = "" }()
		return w.call(api, name, a)
	}
	require.Equal(t, args{"strength": int64(65)}, number(ask(protocol.UAPI, "get_required_strength", args{"app": "pop"}).Data))
	require.Equal(t, []any{args{"strength": int64(65)}}, number(ask(protocol.API2, "get_required_strength", args{"app": "virtual"}).Data))
	require.Contains(t, ask(protocol.UAPI, "get_required_strength", args{"app": "mail"}).Err.Message, "‘app’")
	require.Len(t, ask(protocol.API2, "appstrengths", nil).Data, 12)
	strength := func(p string) int64 {
		return number(ask(protocol.API2, "get_password_strength", args{"password": protocol.NewSecret(p)}).Data).([]any)[0].(args)["strength"].(int64)
	}
	require.Less(t, strength("12345678"), int64(10))
	require.Greater(t, strength("cP4n3LIsGr3aT"), int64(85))
	w.account.Data = map[string]string{"REQUIRED_STRENGTH": "5"}
	require.Equal(t, args{"strength": int64(5)}, number(ask(protocol.UAPI, "get_required_strength", args{"app": "pop"}).Data))
}
