package tests

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/migrate"
)

// verifier asks a Dovecot's auth process whether passwords are right, over the protocol of Dovecot's own services.
type verifier struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func (d *dovecot) verifier() *verifier {
	d.t.Helper()
	var conn net.Conn
	require.Eventually(d.t, func() bool { // The login process listens before the auth process does.
		var err error
		conn, err = net.Dial("unix", filepath.Join(filepath.Dir(d.conf), "base", "auth-client"))
		return err == nil
	}, hosttest.Patience, hosttest.Tick)
	d.t.Cleanup(func() { _ = conn.Close() })
	v := &verifier{t: d.t, conn: conn, r: bufio.NewReader(conn)}
	_, err := fmt.Fprintf(conn, "VERSION\t1\t2\nCPID\t%d\n", os.Getpid())
	require.NoError(d.t, err)
	for v.line() != "DONE" {
	}
	return v
}

func (v *verifier) line() string {
	require.NoError(v.t, v.conn.SetDeadline(time.Now().Add(hosttest.Patience)))
	line, err := v.r.ReadString('\n')
	require.NoError(v.t, err)
	return strings.TrimSuffix(line, "\n")
}

// oddPasswords are the passwords that verifier tries.
var oddPasswords = []string{"first", "second", "Changed 1!"}

// all returns for each user which of the three passwords are right. It asks about all of them at once, because
// Dovecot delays the answer about a wrong password.
func (v *verifier) all(users []string) map[string][3]bool {
	v.t.Helper()
	type question struct {
		user     string
		password int
	}
	asked := make(map[string]question)
	var text strings.Builder
	for _, user := range users {
		for i, password := range oddPasswords {
			v.n++
			asked[strconv.Itoa(v.n)] = question{user, i}
			plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
			fmt.Fprintf(&text, "AUTH\t%d\tPLAIN\tservice=imap\tsecured\tresp=%s\n", v.n, plain)
		}
	}
	written := make(chan error, 1)
	go func() {
		_, err := v.conn.Write([]byte(text.String()))
		written <- err
	}()
	out := make(map[string][3]bool)
	for len(asked) > 0 {
		words := strings.Split(v.line(), "\t")
		require.GreaterOrEqual(v.t, len(words), 2)
		q, known := asked[words[1]]
		require.True(v.t, known, "%q", words)
		require.Contains(v.t, []string{"OK", "FAIL"}, words[0])
		works := out[q.user]
		works[q.password] = words[0] == "OK"
		out[q.user] = works
		delete(asked, words[1])
	}
	require.NoError(v.t, <-written)
	return out
}

// The passwords first and second with MD5 crypt, which is quick.
const (
	firstHash  = "$1$abcdefgh$fOvfIxCwX1O8SZZ9T482C0"
	secondHash = "$1$ijklmnop$QLFconmG.E8iIF1oIe22v0"
)

// oddNames are the names that the generated files contain, besides odd ones; a mailbox can have each.
var oddNames = []string{"user", "info", "a.b", "us", "userx"}

// oddFile returns the content of one of the store's files, with lines that people and other programs write.
func oddFile(r *rand.Rand, fields []string) string {
	names := append(slices.Repeat(oddNames, 3), "user", "user", "user", "user", "user", "Info", "o'brien", "user ", " user", "\tinfo ", "USER", "", "#user", "info\x00x", "-x")
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	for range r.IntN(7) {
		switch r.IntN(12) {
		case 0:
			b.WriteString(pick("", "# comment", "no colon", "user", ":", "::", " "))
		default:
			b.WriteString(pick(names...) + ":" + pick("", "", "", "", "", "", " ", "\t") + pick(fields...) + pick("", "", "", "", "", "", "", " ", "\x00x"))
			b.WriteString(pick("", ":", ":19000::::::", ":1:2:3", " :x", ":19000:0:99999:7:::"))
		}
		b.WriteString(pick("\n", "\n", "\n", "\n", "\r\n", " \n"))
	}
	text := b.String()
	if r.IntN(5) == 0 {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

// oddWorld is a sandbox whose account has many domains with odd files.
type oddWorld struct {
	*hosttest.World
	domains []string
	home    string
	text    map[string]map[string]string // By domain and file.
}

func newOddWorld(t *testing.T, n int, seed uint64) *oddWorld {
	t.Helper()
	w := &oddWorld{World: hosttest.Sandbox(t), text: make(map[string]map[string]string)}
	w.home = filepath.Join(w.Dir, "home", "demo")
	r := rand.New(rand.NewPCG(seed, 1))
	hashes := []string{
		firstHash, firstHash, firstHash, secondHash, "!" + firstHash, "*" + firstHash, "!!" + firstHash, "*LOCKED*" + firstHash, "*LOCKED*!" + secondHash,
		"{CRYPT}" + firstHash, "{MD5-CRYPT}" + secondHash, "{CRYPT}!" + firstHash, "{md5-crypt}*" + firstHash, "{CRYPT} " + firstHash, "! " + firstHash,
		"", "!", "*", "x", "*LOCKED*", "!*", "{CRYPT}", "first",
	}
	hashes = append(slices.Repeat([]string{firstHash, secondHash}, 8), hashes...)
	quotas := []string{"0", "1048576", "5242880", "1e6", "10S", "-1", "99999999999999999999", "", "unlimited", "007", "+5", "1 2"}
	for i := range n {
		domain := fmt.Sprintf("d%d.example", i)
		w.domains = append(w.domains, domain)
		dir := filepath.Join(w.home, "etc", domain)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		w.text[domain] = map[string]string{
			"shadow": oddFile(r, hashes), "passwd": oddFile(r, []string{"x"}), "quota": oddFile(r, quotas),
			"suspended_incoming": oddFile(r, []string{""}), "suspended_outgoing": oddFile(r, []string{""}), "hold_outgoing": oddFile(r, []string{""}),
		}
		for name, text := range w.text[domain] {
			if text != "" || r.IntN(2) == 0 {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
		}
		w.link(t, domain, dir)
	}
	list, err := json.Marshal(w.domains)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "accounts", "demo.toml"), []byte("home = \"home/demo\"\ndomains = "+string(list)+"\n"), 0o600))
	return w
}

// link lets Dovecot read the store in dir as the domain.
func (w *oddWorld) link(t *testing.T, domain, dir string) {
	t.Helper()
	require.NoError(t, os.Symlink(dir, filepath.Join(w.Dir, "vmail", domain)))
}

// expected is what a file means for a mailbox, read in the simplest way.
func expected(text, name string) (field string, found bool) {
	inexact := ""
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\r"), "\x00")
		first, rest, _ := strings.Cut(line, ":")
		if strings.Trim(first, " \t\r") != name {
			continue
		}
		value, _, _ := strings.Cut(rest, ":")
		if first == name {
			return value, true
		}
		if !found {
			inexact, found = value, true
		}
	}
	return inexact, found
}

// Every reader and a real Dovecot agree about every file: which mailboxes there are, which passwords are right,
// and which quotas and suspensions they have; before and after changes by the API, and after a migration.
func TestOddFiles(t *testing.T) {
	t.Parallel()
	const n = 1000
	w := newOddWorld(t, n, 1)
	w.Start(t)
	d := startDovecot(t, w.World, "0")
	v := d.verifier()
	c := w.Dial(t)
	s := files.New(w.home)

	// The lists, in two calls.
	var pops struct {
		Data []struct {
			Email    string
			Login    int `json:"suspended_login"`
			Incoming int `json:"suspended_incoming"`
		}
	}
	result := func(function, args string, into any) {
		t.Helper()
		answer := c.Call("uapi", "Email", function, args)
		var envelope struct{ Result json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(answer), &envelope), answer)
		require.NoError(t, json.Unmarshal(envelope.Result, into), answer)
	}
	result("list_pops", `{"skip_main":"1"}`, &pops)
	listed := make(map[string][2]int)
	for _, p := range pops.Data {
		listed[p.Email] = [2]int{p.Login, p.Incoming}
	}
	var disk struct {
		Data []struct {
			Email string
			Quota string `json:"_diskquota"`
			Login int    `json:"suspended_login"`
		}
		Warnings []string
	}
	result("list_pops_with_disk", `{"no_disk":"1"}`, &disk)
	quotas := make(map[string]string)
	for _, p := range disk.Data {
		quotas[p.Email] = p.Quota
		if at, ok := listed[p.Email]; ok {
			require.Equal(t, at[0], p.Login, p.Email)
		}
	}
	require.Len(t, disk.Warnings, 1)
	require.Contains(t, disk.Warnings[0], "The store has no valid quota for ")

	var users []string
	for _, domain := range w.domains {
		for _, name := range oddNames {
			users = append(users, name+"@"+domain)
		}
	}
	worked := v.all(users)
	logins, refused := 0, 0
	for _, domain := range w.domains {
		text := w.text[domain]
		what := fmt.Sprintf("%q", text)
		entries, odd, err := s.Entries(t.Context(), domain)
		require.NoError(t, err, what)
		for _, o := range odd {
			require.NotContains(t, oddNames, o.Name, what)
			require.NotEmpty(t, o.Reason)
		}
		if strings.Contains("\n"+text["shadow"], "\nInfo:") {
			require.True(t, slices.ContainsFunc(odd, func(o store.Odd) bool { return o.Name == "Info" }), what)
		}
		byName := make(map[string]store.Entry)
		for _, e := range entries {
			byName[e.Localpart] = e
		}
		for _, name := range oddNames {
			box := store.Address{Localpart: name, Domain: domain}
			_, inShadow := expected(text["shadow"], name)
			_, inPasswd := expected(text["passwd"], name)
			e, exists := byName[name]
			require.Equal(t, inShadow || inPasswd, exists, "%s in %s", name, what)
			one, err := s.Mailbox(t.Context(), box)
			hash, suspended, hashErr := s.Hash(t.Context(), box)
			at, isListed := listed[box.String()]
			require.Equal(t, exists, isListed, what)
			if !exists {
				require.ErrorIs(t, err, store.ErrNoMailbox, what)
				require.ErrorIs(t, hashErr, store.ErrNoMailbox, what)
				require.Zero(t, worked[box.String()], what)
				continue
			}
			require.NoError(t, err, what)
			require.NoError(t, hashErr, what)
			require.Equal(t, e.Mailbox, one, "%s in %s", name, what)
			require.Equal(t, e.Suspended.Has(store.NoLogin), suspended, what)
			require.Equal(t, suspended, at[0] == 1, what)
			require.Equal(t, e.Suspended.Has(store.Incoming), at[1] == 1, what)
			if e.Hash != store.NoPassword {
				require.Equal(t, e.Hash, hash, what)
			}
			field, _ := expected(text["quota"], name)
			_, hasQuota := expected(text["quota"], name)
			wantQuota, numberErr := strconv.ParseUint(strings.Trim(field, " \t\r"), 10, 63)
			switch {
			case !hasQuota:
				require.Empty(t, e.BadQuota, what)
				require.Equal(t, "0", quotas[box.String()], what)
			case numberErr != nil:
				require.NotEmpty(t, e.BadQuota, what)
				require.Equal(t, "unknown", quotas[box.String()], what)
			default:
				require.EqualValues(t, wantQuota, e.Quota, what)
				require.Equal(t, strconv.FormatUint(wantQuota, 10), quotas[box.String()], what)
			}
			for i, password := range oddPasswords[:2] {
				works := worked[box.String()][i]
				var verified struct {
					Data   any
					Status int
				}
				result("verify_password", fmt.Sprintf(`{"email":%q,"password":%q}`, box.String(), password), &verified)
				require.Equal(t, works, verified.Status == 1 && fmt.Sprint(verified.Data) == "1", "%s with %s in %s", name, password, what)
				if works {
					require.False(t, suspended, "%s in %s", name, what)
					logins++
				} else {
					refused++
				}
			}
		}
	}
	require.Greater(t, logins, 300)
	require.Greater(t, refused, 1000)

	w.migrateOdd(t, s, v, worked)
	w.changeOdd(t, s, v, c, worked)
}

// migrateOdd copies all domains to another home. No login that was refused works there, and no other is lost,
// unless the report names it.
func (w *oddWorld) migrateOdd(t *testing.T, s *files.Store, v *verifier, worked map[string][3]bool) {
	t.Helper()
	home := t.TempDir()
	require.NoError(t, os.Chmod(home, 0o755))
	target := files.New(home)
	want := make(map[string][3]bool) // By address in the other home.
	where := make(map[string]string)
	for i, domain := range w.domains {
		what := fmt.Sprintf("%q", w.text[domain])
		report, err := migrate.Domain(t.Context(), s, target, domain, migrate.Options{}, func(string, int, int) {})
		require.NoError(t, err, what)
		left := make(map[string]bool)
		for _, item := range report.Items {
			require.Contains(t, []migrate.Outcome{migrate.Copied, migrate.Refused}, item.Outcome, "%v in %s", item, what)
			left[item.Mailbox] = item.Outcome == migrate.Refused
		}
		require.Equal(t, len(left) > 0 && slices.ContainsFunc(report.Items, func(i migrate.Item) bool { return i.Outcome == migrate.Refused }), !report.Equal())
		dir := filepath.Join(home, "etc", domain)
		if _, err := os.Stat(dir); err != nil {
			continue // Nothing was copied.
		}
		moved := fmt.Sprintf("m%d.example", i)
		w.link(t, moved, dir)
		for _, name := range oddNames {
			if !left[name+"@"+domain] {
				want[name+"@"+moved] = worked[name+"@"+domain]
			} else {
				want[name+"@"+moved] = [3]bool{}
			}
			where[name+"@"+moved] = what
		}
	}
	for user, works := range v.all(slices.Collect(maps.Keys(want))) {
		require.Equal(t, want[user], works, "%s in %s", user, where[user])
	}
}

// changeOdd makes a change of the mailbox user in each domain by the API. Dovecot sees its result, and no other
// mailbox changes.
func (w *oddWorld) changeOdd(t *testing.T, s *files.Store, v *verifier, c *hosttest.Conn, worked map[string][3]bool) {
	t.Helper()
	changes := []string{"passwd_pop", "edit_pop_quota", "suspend_login", "unsuspend_login", "delete_pop"}
	done := make(map[string]int)
	want := make(map[string][3]bool) // By address, after the change.
	where := make(map[string]string)
	for i, domain := range w.domains {
		what := fmt.Sprintf("%q", w.text[domain])
		before, _, err := s.Entries(t.Context(), domain)
		require.NoError(t, err)
		at := slices.IndexFunc(before, func(e store.Entry) bool { return e.Localpart == "user" })
		if at < 0 {
			continue
		}
		change := changes[i%len(changes)]
		user := before[at]
		answer := c.Call("uapi", "Email", change, fmt.Sprintf(`{"email":"user@%s","password":"Changed 1!","quota":"7"}`, domain))
		ok := strings.Contains(answer, `"status":1`)
		locked := user.Suspended.Has(store.Locked) && (change == "passwd_pop" || change == "unsuspend_login")
		require.Equal(t, !locked, ok, "%s of %s: %s", change, what, answer)
		if !ok {
			require.Contains(t, answer, "This account is suspended.")
			continue
		}
		done[change]++
		after, _, err := s.Entries(t.Context(), domain)
		require.NoError(t, err)
		// Dovecot reads a file again at most once in a second, so it sees the changed one by another name.
		changed := fmt.Sprintf("c%d.example", i)
		w.link(t, changed, filepath.Join(w.home, "etc", domain))
		others := slices.DeleteFunc(slices.Clone(before), func(e store.Entry) bool { return e.Localpart == "user" })
		require.Equal(t, others, slices.DeleteFunc(slices.Clone(after), func(e store.Entry) bool { return e.Localpart == "user" }), what)
		expect := func(name string, works [3]bool) {
			want[name+"@"+changed] = works
			where[name+"@"+changed] = change + " of " + what
		}
		for _, e := range others {
			expect(e.Localpart, worked[e.String()])
		}
		if change == "delete_pop" {
			require.Len(t, after, len(others), what)
			expect("user", [3]bool{})
			continue
		}
		now := after[slices.IndexFunc(after, func(e store.Entry) bool { return e.Localpart == "user" })]
		shadow, err := os.ReadFile(filepath.Join(w.home, "etc", domain, "shadow"))
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		field, _ := expected(string(shadow), "user")
		switch change {
		case "passwd_pop":
			// A suspended login stays suspended; one that only waited for a password, or whose line Dovecot could
			// not read, works now.
			expect("user", [3]bool{2: !now.Suspended.Has(store.NoLogin)})
			require.Equal(t, strings.HasPrefix(field, "!") || strings.HasPrefix(field, "*"), now.Suspended.Has(store.Login), what)
		case "edit_pop_quota":
			require.EqualValues(t, 7<<20, now.Quota, what)
			expect("user", worked["user@"+domain])
		case "suspend_login":
			require.True(t, now.Suspended.Has(store.Login), what)
			expect("user", [3]bool{})
		case "unsuspend_login":
			hash, suspended, err := s.Hash(t.Context(), now.Address)
			require.NoError(t, err)
			require.Equal(t, hash == "", suspended, what)
			expect("user", [3]bool{hash == firstHash || hash == "{CRYPT}"+firstHash || hash == "{md5-crypt}"+firstHash, hash == secondHash || hash == "{MD5-CRYPT}"+secondHash})
			require.Equal(t, suspended, strings.Contains(answer, "The mailbox has no password"), "%s in %s", answer, what)
		}
	}
	for user, works := range v.all(slices.Collect(maps.Keys(want))) {
		require.Equal(t, want[user], works, "%s after %s", user, where[user])
	}
	for _, change := range changes {
		require.Greater(t, done[change], 30, change)
	}
}
