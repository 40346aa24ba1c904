package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
	"github.com/liveapid/liveapid/tests/ports"
)

// archived describes a mailbox of an archive, and what must come out.
type archived struct {
	field string // In shadow; "" for no line.
	quota string // In quota; "" for no line.
	flag  string // A suspension file with a line, or "".
	works bool   // The password "first" is right.
	login string // In the report.
}

// archivedBoxes are the mailboxes of the archive.
var archivedBoxes = map[string]archived{
	"plain":     {field: firstHash, works: true, login: "works"},
	"limited":   {field: "{CRYPT}" + firstHash, quota: "1048576", works: true, login: "works"},
	"incoming":  {field: firstHash, quota: "2097152", flag: "suspended_incoming", works: true, login: "works"},
	"held":      {field: firstHash, flag: "hold_outgoing", works: true, login: "works"},
	"suspended": {field: "!" + firstHash, quota: "5", flag: "suspended_outgoing", login: "suspended"},
	"starred":   {field: "*" + firstHash, login: "suspended"},
	"locked":    {field: "*LOCKED*" + firstHash, login: "locked with the account"},
	"both":      {field: "*LOCKED*!" + firstHash, quota: "7", login: "locked with the account"},
	"empty":     {field: "*", login: "no password"},
	"nothing":   {login: "no password"},
	"twice":     {field: "!" + firstHash + ":1::::::\ntwice:" + firstHash, login: "suspended"},
	"other":     {field: secondHash, login: "works"},
}

// archiveOf writes an archive with the mailboxes of alice.example, one message each, one of them compressed.
func archiveOf(t *testing.T) string {
	t.Helper()
	var b, passwd, shadow, quota bytes.Buffer
	flags := make(map[string]string)
	w := tar.NewWriter(&b)
	add := func(name, text string) {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "backup-11.27.2026_17-37-04_alice/" + name, Mode: 0o640, Size: int64(len(text)), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	for name, box := range archivedBoxes {
		fmt.Fprintf(&passwd, "%s:x:1:1::/home/alice/mail/alice.example/%s:/bin/false\n", name, name)
		if box.field != "" {
			fmt.Fprintf(&shadow, "%s:%s:1::::::\n", name, box.field)
		}
		if box.quota != "" {
			fmt.Fprintf(&quota, "%s:%s\n", name, box.quota)
		}
		if box.flag != "" {
			flags[box.flag] += name + ":\n"
		}
	}
	message := "Subject: kept\r\n\r\nthe text of the message\r\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(message))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	add("cp/alice", "DNS=alice.example\nSUSPENDED=1\n")
	add("homedir/etc/alice.example/passwd", passwd.String()+"Info:x:1:1::/x:/bin/false\no'brien:x:1:1::/x:/bin/false\n")
	add("homedir/etc/alice.example/shadow", shadow.String())
	add("homedir/etc/alice.example/quota", quota.String())
	add("homedir/etc/a_b.example/shadow", "user:"+firstHash+":1::::::\n")
	for name, text := range flags {
		add("homedir/etc/alice.example/"+name, text)
	}
	add(fmt.Sprintf("homedir/mail/alice.example/plain/cur/1.a,S=%d:2,S", len(message)), message)
	add(fmt.Sprintf("homedir/mail/alice.example/limited/cur/1.a,S=%d:2,S", len(message)), packed.String())
	add("homedir/mail/alice.example/other/storage/m.1", "mdbox")
	add("va/alice.example", "info@alice.example: plain@alice.example\n*: :fail: no such user\n")
	add("vad/alice.example", "alice.example: bob.example\n")
	require.NoError(t, w.Close())
	file := filepath.Join(t.TempDir(), "backup-11.27.2026_17-37-04_alice.tar")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(file), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(file)), 0o755))
	return file
}

// reportOf is the JSON that "liveapi account import" prints.
type reportOf struct {
	Account    string
	Suspended  bool
	DryRun     bool `json:"dry_run"`
	Registered string
	Mailboxes  []struct {
		Address, Login, Format string
		Quota                  int64
		Suspended, Problems    []string
		Messages               *int64
	}
	NotTaken   []store.Odd `json:"not_taken"`
	Forwarders []struct{ Address, To, File string }
}

// An archive with mailboxes of all kinds is imported on files, and moved to PostgreSQL, to MariaDB and back. No
// hash, suspension or quota changes on the way, and a real Dovecot lets in, or refuses, alike at each step.
func TestImportedMailboxesStayTheSame(t *testing.T) {
	t.Parallel()
	w := hosttest.SandboxAs(t, vmailUID(t))
	file := archiveOf(t)
	home := filepath.Join(w.Dir, "home", "alice")
	load := func(words ...string) (r reportOf) {
		t.Helper()
		text := hosttest.Output(t, w.Command(t, "liveapi", append([]string{"account", "import", "--json", "--home=" + home, file}, words...)...))
		require.NoError(t, json.Unmarshal([]byte(text), &r), text)
		return r
	}
	before := load("--dry-run")
	require.NoDirExists(t, home)
	report := load()
	require.NotEmpty(t, report.Registered)
	before.DryRun, before.Registered = report.DryRun, report.Registered
	require.Equal(t, before, report, "the dry run says the same")
	require.Equal(t, "alice", report.Account)
	require.True(t, report.Suspended)
	require.Len(t, report.Mailboxes, len(archivedBoxes))
	for _, m := range report.Mailboxes {
		name, _, _ := strings.Cut(m.Address, "@")
		want := archivedBoxes[name]
		require.Equal(t, want.login, m.Login, name)
		require.Equal(t, want.flag == "suspended_incoming", strings.Contains(strings.Join(m.Suspended, " "), "incoming"), name)
		problems := strings.Join(m.Problems, "\n")
		require.Equal(t, name == "other", m.Format == "mdbox" && strings.Contains(problems, "mdbox"), name)
		require.Equal(t, m.Login != "no password", strings.Contains(problems, "weak scheme MD5-CRYPT"), name)
	}
	var odd []string
	for _, o := range report.NotTaken {
		odd = append(odd, o.Name)
	}
	require.Equal(t, []string{"a_b.example", "Info", "o'brien"}, odd)
	require.Len(t, report.Forwarders, 3)
	for _, f := range report.Forwarders {
		require.FileExists(t, filepath.Join(home, f.File))
	}

	// The account stays suspended, and its mailboxes with it, until the suspension ends.
	s := files.NewFor(home, vmailUID(t), vmailUID(t))
	imported, _, err := s.Entries(t.Context(), "alice.example")
	require.NoError(t, err)
	w.Set(t, `account  = "demo"`, `account  = "alice"`)
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "list")), "suspended")

	// Through the databases and back, while the account is suspended.
	configs := make(map[string]string) // The configuration for each store.
	plain, err := os.ReadFile(w.Config)
	require.NoError(t, err)
	for kind, start := range map[string]func(testing.TB) *dbtest.Server{"postgresql": dbtest.PostgreSQL, "mariadb": dbtest.MariaDB} {
		dsn := start(t).Database()
		w.SetSecret(t, "# scheme", fmt.Sprintf("store = %q\ndatabase = %q\n# scheme", kind, dsn))
		text, err := os.ReadFile(w.Config)
		require.NoError(t, err)
		configs[kind] = strings.Replace(string(text), "# scheme", bySocket(filepath.Join(w.Dir, "doveadm-"+kind))+"# scheme", 1)
		hosttest.Output(t, w.Command(t, "liveapi", "store", "init"))
		run := func(status int, words ...string) string {
			t.Helper()
			cmd := w.Command(t, "liveapi", append([]string{"store", "migrate"}, words...)...)
			out, err := cmd.CombinedOutput()
			require.Equal(t, status, cmd.ProcessState.ExitCode(), "%s %v", out, err)
			return string(out)
		}
		// The names that no store takes are reported, so the stores are not the same.
		require.Contains(t, run(1, "--from=files", "--to=sql", "--domain=alice.example"), "could not be copied: Info@alice.example: the name has upper-case letters")
		require.Contains(t, run(1, "--from=files", "--to=sql", "--domain=none.example"), "has the domain none.example")
		db, err := sqlstore.Open(sqlstore.Driver(kind), dsn, 0)
		require.NoError(t, err)
		inDatabase, strange, err := db.Entries(t.Context(), "alice.example")
		require.NoError(t, err)
		require.Empty(t, strange)
		require.Equal(t, imported, inDatabase, kind)
		require.NoError(t, db.Close())

		// Into new files, which are the same as the old ones, except for what was never a mailbox.
		etc := filepath.Join(home, "etc", "alice.example")
		require.NoError(t, os.Rename(etc, etc+"-"+kind))
		require.Contains(t, run(0, "--from=sql", "--to=files"), fmt.Sprintf("%d copied, 0 existed already, 0 differ\n", len(archivedBoxes)))
		again, strange, err := s.Entries(t.Context(), "alice.example")
		require.NoError(t, err)
		require.Empty(t, strange)
		require.Equal(t, imported, again, kind)
		require.Contains(t, run(0, "--from=files", "--to=sql"), fmt.Sprintf("0 copied, %d existed already, 0 differ\n", len(archivedBoxes)))
		require.Equal(t, 2, exitOf(t, w.Command(t, "liveapi", "store", "migrate", "--from=files", "--to=sql", "--mirror")), "--yes is missing")

		require.NoError(t, os.RemoveAll(etc))
		require.NoError(t, os.Rename(etc+"-"+kind, etc))
		require.NoError(t, os.WriteFile(w.Config, plain, 0o600))
	}

	// A real Dovecot, with the configuration that is printed for each store, before and after the unsuspension.
	mail := t.TempDir()
	require.NoError(t, os.Chown(mail, vmailUID(t), vmailUID(t)))
	for _, dir := range []string{mail, filepath.Dir(mail)} {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	servers := make(map[string]*mailServer)
	servers["files"] = startMailServer(t, writtenDovecot(t, w), ports.Free(t))
	for kind, text := range configs {
		require.NoError(t, os.WriteFile(w.Config, []byte(text), 0o600))
		servers[kind] = startMailServer(t, writtenDovecot(t, w, "--mail="+mail, "--owner="+vmailUser), ports.Free(t))
	}
	same := func(unlocked bool) {
		t.Helper()
		want := make(map[string][3]bool) // For the passwords first and second, and a third.
		for name, box := range archivedBoxes {
			want[name+"@alice.example"] = [3]bool{box.works || unlocked && name == "locked", name == "other"}
		}
		for kind, m := range servers {
			require.Eventually(t, func() bool { // Dovecot reads a changed file within a second.
				return reflect.DeepEqual(want, m.verifier().all(slices.Collect(maps.Keys(want))))
			}, hosttest.Patience, 100*time.Millisecond, "in %s: %v", kind, want)
		}
	}
	same(false)

	// The limit of the archive is enforced without any change, and the compressed message can be read.
	m := servers["files"]
	require.Contains(t, m.deliver("limited@alice.example", 10), "Saved")
	require.Contains(t, m.deliver("limited@alice.example", 2_000_000), "Quota exceeded")
	require.Contains(t, m.deliver("incoming@alice.example", 10), "550 5.1.1")
	require.Contains(t, m.text("limited@alice.example", "first"), "the text of the message")

	for kind, text := range configs {
		require.NoError(t, os.WriteFile(w.Config, []byte(text), 0o600))
		require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "unsuspend", "alice")), "2 mailboxes that were locked with the account", kind)
	}
	require.NoError(t, os.WriteFile(w.Config, plain, 0o600))
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "unsuspend", "alice")), "2 mailboxes that were locked")
	same(true)
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "list")), "active")
}

// text returns the texts of all messages in the inbox.
func (m *mailServer) text(user, password string) string {
	m.t.Helper()
	return m.imap(fmt.Sprintf("a LOGIN %q %q\r\nb SELECT INBOX\r\nc FETCH 1:* BODY[TEXT]\r\nd LOGOUT\r\n", user, password))
}
