package tests

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore/dbtest"
)

// The uids of these tests' accounts. No system user has them.
const aliceUID, bobUID = 20001, 20002

// ask makes a call as an account in a new session.
func ask(t testing.TB, w *hosttest.World, uid int, function, args string) string {
	t.Helper()
	c := w.DialUID(t, uid)
	defer func() { _ = c.Close() }()
	return c.Call("uapi", "Email", function, args)
}

// asRoot runs a tool as root for an account.
func asRoot(t testing.TB, w *hosttest.World, uid int, words ...string) string {
	t.Helper()
	return hosttest.Output(t, w.Command(t, "uapi", append([]string{"--user=" + hosttest.Name(uid), "--output=json", "Email"}, words...)...))
}

// workerPID returns the pid of an account's worker, or 0.
func workerPID(t testing.TB, h *hosttest.Host, uid int) int {
	t.Helper()
	for _, pid := range workersOf(h.Process.Pid) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if strings.Contains(string(status), fmt.Sprintf("Uid:\t%d\t", uid)) {
			return pid
		}
	}
	return 0
}

func TestServerMode(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, aliceUID, bobUID)
	w.Serve(t)
	for _, uid := range []int{aliceUID, bobUID} {
		own := hosttest.Name(uid) + ".example"
		require.Contains(t, asRoot(t, w, uid, "verify_password", "email=user@"+own, "password="+sandboxPassword), `"data":1`)
		require.Contains(t, asRoot(t, w, uid, "add_pop", "email=one", "password=12345luggage", "quota=5"), `"data":"one+`+own+`"`)
		require.Contains(t, ask(t, w, uid, "passwd_pop", `{"email":"user","password":"changed once"}`), `"status":1`)
		require.Contains(t, ask(t, w, uid, "verify_password", `{"email":"user@`+own+`","password":"changed once"}`), `"data":1`)
		require.Contains(t, ask(t, w, uid, "count_pops", `{}`), `"data":2`)
		st, err := os.Stat(filepath.Join(w.Home(uid), "etc", own, "shadow"))
		require.NoError(t, err)
		require.EqualValues(t, uid, st.Sys().(*syscall.Stat_t).Uid)
	}
	const alices = `{"email":"user@u20001.example","password":"stolen"}`
	require.Contains(t, ask(t, w, bobUID, "passwd_pop", alices), "You do not have access to the domain")
	require.Contains(t, ask(t, w, bobUID, "verify_password", alices), "You do not have access to the domain")
	// The helper checks the policy, and its errors reach the caller.
	require.Contains(t, ask(t, w, aliceUID, "passwd_pop", `{"email":"nobody","password":"x"}`), "does not exist")
	require.Contains(t, ask(t, w, aliceUID, "passwd_pop", `{"email":"user","password":"a\u0001b"}`), "contains invalid characters")
	c := w.DialUID(t, aliceUID)
	require.Contains(t, c.Call("2", "PasswdStrength", "get_password_strength", `{"password":"12345luggage"}`), `"strength":`)
	require.Contains(t, c.Call("1", "Email", "delpop", `["one","12345luggage","u20001.example"]`), `"event":{"result":1}`)

	// Only root may name another account.
	cmd := w.Command(t, "uapi", "--user=u20002", "Email", "count_pops")
	out, err := hosttest.As(cmd, aliceUID).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "as root to use --user")
}

// T2: users without an account, and users that must not have one, are rejected, and nothing runs.
func TestT02_WhoIsRefused(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, aliceUID, bobUID)
	w.Set(t, "helper   = ", "refuse = [\"nobody\", \"games\"]\nhelper   = ")
	h := w.Serve(t)
	for uid, says := range map[int]string{
		0: "System users have no account on this host", 1: "System users have no account on this host", 499: "System users have no account on this host",
		65534: "System users have no account on this host", 20003: "Your user has no account on this host",
	} {
		c := w.DialUID(t, uid)
		require.Contains(t, c.Answer(), says, "uid %d", uid)
		c.Ended()
	}
	// User names in a frame or in the environment are ignored.
	c := w.DialUID(t, aliceUID)
	require.Contains(t, c.Call("uapi", "Email", "count_pops", `{"user":"u20002","REMOTE_USER":"root"}`), `"data":1`)
	require.Contains(t, c.Call("uapi", "Email", "list_pops", `{"user":"u20002"}`), "u20001.example")
	require.NotContains(t, h.Log.String(), "20002.example")
}

// scan reports whether a process has a text anywhere in its memory.
func scan(t testing.TB, pid int, text string) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	require.NoError(t, err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	require.NoError(t, err)
	defer func() { _ = mem.Close() }()
	read := 0
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode[0] != 'r' || to > 1<<47 || strings.Contains(line, "[v") {
			continue
		}
		part := make([]byte, to-from)
		n, _ := io.ReadFull(io.NewSectionReader(mem, int64(from), int64(to-from)), part)
		read += n
		if bytes.Contains(part[:n], []byte(text)) {
			return true
		}
	}
	require.Greater(t, read, 1<<20, "the memory could not be read")
	return false
}

// T15, T14: a typed password is never in the memory of a process with the account's uid, and never visible to
// others for any process.
func TestT15_PasswordsStayOutOfTheAccountsProcesses(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, aliceUID)
	w.SetSecret(t, "# scheme", "doveadm = \"http://127.0.0.1:9\"\ndoveadm_key = \"c4n4ry-key\"\n# scheme")
	w.Limits(t, "account_rate = -1")
	h := w.Serve(t)
	const canary = "c4n4ry-Pa55w0rd"
	c := w.DialUID(t, aliceUID)
	for i := range 200 {
		require.Contains(t, c.Call("uapi", "Email", "passwd_pop", fmt.Sprintf(`{"email":"user","password":%q}`, canary+strconv.Itoa(i))), `"status":1`)
		require.Contains(t, c.Call("uapi", "Email", "verify_password", fmt.Sprintf(`{"email":"user@u20001.example","password":%q}`, canary+strconv.Itoa(i))), `"data":1`)
	}
	require.Contains(t, c.Call("uapi", "Email", "add_pop", `{"email":"two","password":"`+canary+`"}`), `"status":1`)
	require.Contains(t, c.Call("2", "PasswdStrength", "get_password_strength", `{"password":"`+canary+`"}`), `"strength"`)
	require.Contains(t, c.Call("1", "Email", "delpop", `["two","`+canary+`","u20001.example"]`), `"event":{"result":1}`)
	worker := workerPID(t, h, aliceUID)
	require.NotZero(t, worker)
	require.False(t, scan(t, worker, "c4n4ry-"), "the account's worker holds a secret")
	require.True(t, scan(t, worker, "u20001.example"), "the look finds what is there")
	helper := workerPID(t, h, 1)
	require.NotZero(t, helper)
	require.True(t, scan(t, helper, "c4n4ry-"), "the look finds secrets where they are")

	for _, pid := range []int{h.Process.Pid, worker, helper} {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			require.NoError(t, err)
			require.NotContains(t, string(text), "c4n4ry")
		}
	}
	audit, err := os.ReadFile(filepath.Join(w.Dir, "audit.log"))
	require.NoError(t, err)
	require.NotContains(t, string(audit)+h.Log.String(), "c4n4ry")
	require.Contains(t, string(audit), `"password":"[secret]"`)

	// T10: other processes of the account can't read its worker's memory.
	for _, what := range []string{
		"cat /proc/%[1]d/environ", "cat /proc/%[1]d/mem", "ls /proc/%[1]d/fd", "cat /proc/%[1]d/maps", "cat /proc/%[1]d/auxv",
		`/usr/bin/python3 -c "import ctypes,sys; sys.exit(ctypes.CDLL(None).ptrace(16,%[1]d,0,0) and 1)"`, // PTRACE_ATTACH
		"cat /proc/%[1]d/exe",
	} {
		out, err := hosttest.As(exec.Command("/bin/sh", "-c", fmt.Sprintf(what, worker)), aliceUID).CombinedOutput()
		require.Error(t, err, "%s: %s", what, out)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", worker))
	require.NoError(t, err)
	for _, line := range []string{"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapInh:\t0000000000000000", "Gid:\t20001\t20001\t20001\t20001", "Umask:\t0077"} {
		require.Contains(t, string(status), line)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", worker))
	require.NoError(t, err)
	require.Regexp(t, `Max core file size +0 +0`, string(limits))
	require.Regexp(t, `Max open files +1024 +1024`, string(limits))
	require.Regexp(t, `Max file size +268435456 +268435456`, string(limits))
}

// A tenant stops all processes of its uid again and again while the host starts workers for it. Other
// accounts are not affected.
func TestR10_AStoppedStartStaysAtHome(t *testing.T) {
	t.Parallel()
	// Only for this test, because it stops all processes of the uid.
	const stoppedUID, otherUID = 20011, 20012
	w := hosttest.Server(t, stoppedUID, otherUID)
	w.Limits(t, "account_rate = -1")
	w.Set(t, fmt.Sprintf("worker_start = %q", hosttest.Patience), `worker_start = "5s"`)
	h := w.Serve(t)
	require.Contains(t, ask(t, w, otherUID, "count_pops", `{}`), `"data":1`)
	stopper := hosttest.As(exec.Command("/usr/bin/perl", "-e", `$| = 1; print "on\n"; while (1) { kill 'STOP', -1; select undef, undef, undef, 0.0002 }`), stoppedUID)
	out, err := stopper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, stopper.Start())
	defer func() {
		_ = stopper.Process.Kill()
		_ = stopper.Wait()
	}()
	_, err = out.Read(make([]byte, 3))
	require.NoError(t, err)

	hers := make(chan string, 1)
	call := func() { hers <- ask(t, w, stoppedUID, "count_pops", `{}`) }
	go call()
	bob := w.DialUID(t, otherUID)
	answered, tries := 0, 0
	for done := false; !done; {
		select {
		case answer := <-hers:
			// Her own worker can't start. He was served the whole time.
			done = strings.Contains(answer, `"status":0`) && answered >= 3
			if !done { // The start succeeded while the stopping process had to wait, or ended before his calls.
				if pid := workerPID(t, h, stoppedUID); pid != 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					require.Eventually(t, func() bool { return workerPID(t, h, stoppedUID) != pid }, hosttest.Patience, time.Millisecond)
				}
				tries++
				require.Less(t, tries, 5, "he waits for her")
				answered = 0
				go call()
			}
		default:
			require.Contains(t, bob.Call("uapi", "Email", "count_pops", `{}`), `"data":1`)
			require.Contains(t, bob.Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"while she stops"}`), `"status":1`)
			if len(hers) == 0 { // Her call still waits.
				answered++
			}
		}
	}
	_ = stopper.Process.Kill()
	require.Eventually(t, func() bool {
		return strings.Contains(ask(t, w, stoppedUID, "count_pops", `{}`), `"data":1`)
	}, hosttest.Patience, 100*time.Millisecond, "and she is, when she lets be")
	require.NoError(t, syscall.Kill(h.Process.Pid, 0))
}

// T7: sessions and workers end with their account. An account with the same name and another uid is another
// account.
func TestT07_EverythingEndsWithTheAccount(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, aliceUID, bobUID)
	h := w.Serve(t)
	open := func(uid int) *hosttest.Conn {
		c := w.DialUID(t, uid)
		require.Contains(t, c.Call("uapi", "Email", "count_pops", `{}`), `"data":`)
		return c
	}
	gone := func(pid int) {
		t.Helper()
		require.NotZero(t, pid)
		require.Eventually(t, func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/mem", pid))
			return os.IsNotExist(err)
		}, hosttest.Patience, 10*time.Millisecond)
	}
	alice, bob := open(aliceUID), open(bobUID)
	pid, bobs := workerPID(t, h, aliceUID), workerPID(t, h, bobUID)
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "suspend", "u20001")), "u20001 is suspended now")
	alice.Ended()
	gone(pid)
	require.Contains(t, w.DialUID(t, aliceUID).Answer(), "Your account is suspended.")
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "account", "list")), "suspended")
	hosttest.Output(t, w.Command(t, "liveapi", "account", "unsuspend", "u20001"))
	welcome := func() bool {
		conn, err := w.TryUID(aliceUID)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "32\n<cpanelxml shutdown=\"1\" />\n     ")
		answer, _ := io.ReadAll(conn)
		return strings.Contains(string(answer), "shutdown")
	}
	require.Eventually(t, welcome, hosttest.Patience, 50*time.Millisecond)

	alice = open(aliceUID)
	pid = workerPID(t, h, aliceUID)
	hosttest.Output(t, w.Command(t, "liveapi", "account", "delete", "u20001"))
	alice.Ended()
	gone(pid)
	// The name comes back with another uid.
	text, err := os.ReadFile(w.AccountFile(bobUID))
	require.NoError(t, err)
	again := strings.NewReplacer("uid = 20002", "uid = 20003", "gid = 20002", "gid = 20003", "u20002", "u20001").Replace(string(text))
	require.NoError(t, os.WriteFile(w.AccountFile(aliceUID), []byte(again), 0o644))
	require.Eventually(t, func() bool {
		return strings.Contains(hosttest.Output(t, w.Command(t, "liveapi", "status")), "accounts  2")
	}, hosttest.Patience, 50*time.Millisecond)
	require.Contains(t, w.DialUID(t, aliceUID).Answer(), "Your user has no account on this host.", "the old uid is nobody's")
	require.Contains(t, bob.Call("uapi", "Email", "count_pops", `{}`), `"data":1`, "and he noticed nothing")
	require.Equal(t, bobs, workerPID(t, h, bobUID))
}

var capEff = regexp.MustCompile(`CapEff:\s([0-9a-f]+)`)

// T12, T43: the host opens no file in a home. It runs with the unit's capabilities, without the one that
// ignores file modes, so that the kernel would reject it.
func TestT12_TheHostOpensNothingInAHome(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, aliceUID)
	cmd := w.Command(t, "/usr/bin/setpriv", "--bounding-set=-all,+setuid,+setgid,+chown,+kill", "--inh-caps=-all", "--no-new-privs",
		filepath.Join(filepath.Dir(w.Dir), "bin", "liveapid"), "serve")
	h := w.ServeCommand(t, cmd)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Process.Pid))
	require.NoError(t, err)
	caps, err := strconv.ParseUint(capEff.FindStringSubmatch(string(status))[1], 16, 64)
	require.NoError(t, err)
	require.EqualValues(t, 1<<0|1<<5|1<<6|1<<7, caps, "CHOWN, KILL, SETGID, SETUID")
	c := w.DialUID(t, aliceUID)
	for call, args := range map[string]string{
		"add_pop": `{"email":"one","password":"12345luggage"}`, "passwd_pop": `{"email":"user","password":"x y z"}`, "list_pops_with_disk": `{}`,
		"suspend_login": `{"email":"user@u20001.example"}`, "edit_pop_quota": `{"email":"user","domain":"u20001.example","quota":"7"}`,
	} {
		require.Contains(t, c.Call("uapi", "Email", call, args), `"status":1`, "%s: %s", call, h.Log)
	}
	require.Contains(t, c.Call("uapi", "Email", "delete_pop", `{"email":"user"}`), `"status":1`)
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "status")), "u20001")
	h.Stop(t)
	left, err := filepath.Glob(filepath.Join(w.Dir, "run", "liveapid-*"))
	require.NoError(t, err)
	require.Empty(t, left, "and it can clean up after itself")
}

// Errors name the limit, and limits apply to a single account.
func TestLimitsAreFair(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, aliceUID, bobUID)
	w.Limits(t, "account_rate = 1\naccount_sessions = 3\nworkers = 1")
	w.Serve(t)
	c := w.DialUID(t, aliceUID)
	require.Eventually(t, func() bool {
		return strings.Contains(c.Call("uapi", "Email", "count_pops", `{}`), "more than 1 calls per second, which is its limit (limits.account_rate)")
	}, hosttest.Patience, time.Millisecond)
	require.Contains(t, ask(t, w, bobUID, "count_pops", `{}`), `"data":1`, "he has made none yet; and her worker made room for his")
	require.Contains(t, hosttest.Output(t, w.Command(t, "liveapi", "status")), "workers   1 of at most 1")
	for range 2 {
		require.Contains(t, w.DialUID(t, aliceUID).Ask(`<cpaneljson enable="1">`), "json")
	}
	require.Contains(t, w.DialUID(t, aliceUID).Answer(), "The account has 3 sessions, which is its limit")
}

// An account that makes many changes with passwords delays only itself.
func TestR19_HashingIsShared(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, aliceUID, bobUID)
	w.Set(t, "# scheme", "scheme = \"ARGON2ID\"\n# scheme") // ARGON2ID is slow.
	w.Serve(t)
	var flood sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	answers := map[string]int{}
	for range 40 {
		flood.Go(func() {
			c := w.DialUID(t, aliceUID)
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer := c.Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"again and again"}`)
				kind := "done"
				if strings.Contains(answer, "calls with passwords in flight, which is its limit. Nothing was changed") {
					kind = "refused"
				} else if !strings.Contains(answer, `"status":1`) {
					kind = answer
				}
				mu.Lock()
				answers[kind]++
				mu.Unlock()
			}
		})
	}
	bob := w.DialUID(t, bobUID)
	for range 10 {
		require.Contains(t, bob.Call("uapi", "Email", "passwd_pop", `{"email":"user","password":"only now and then"}`), `"status":1`)
	}
	close(stop)
	flood.Wait()
	require.Positive(t, answers["done"])
	require.Positive(t, answers["refused"])
	delete(answers, "done")
	delete(answers, "refused")
	for other := range answers {
		require.Contains(t, other, "account_rate", "and nothing else is said")
	}
}

// With a database, the helper runs everything: no process of an account ever has the database's password, and
// accounts can't reach each other's mailboxes.
func TestServerModeOnADatabase(t *testing.T) {
	t.Parallel()
	w := hosttest.Server(t, 20051, 20052)
	secret := filepath.Join(w.Dir, "database")
	require.NoError(t, os.WriteFile(secret, []byte(dbtest.PostgreSQL(t).Database()), 0o600))
	require.NoError(t, os.Chown(secret, 1, 1)) // Owned by the helper.
	w.Set(t, "# scheme", fmt.Sprintf("store = \"postgresql\"\ndatabase_file = %q\n# scheme", secret))
	hosttest.Output(t, w.Command(t, "liveapi", "store", "init"))
	h := w.Serve(t)
	require.Contains(t, ask(t, w, 20051, "add_pop", `{"email":"one","password":"12345luggage"}`), `"data":"one+u20051.example"`)
	require.Contains(t, ask(t, w, 20051, "passwd_pop", `{"email":"one","password":"another one"}`), `"status":1`)
	require.Contains(t, ask(t, w, 20051, "verify_password", `{"email":"one@u20051.example","password":"another one"}`), `"data":1`)
	require.Contains(t, ask(t, w, 20052, "count_pops", `{}`), `"data":0`)
	require.Contains(t, ask(t, w, 20052, "passwd_pop", `{"email":"one@u20051.example","password":"stolen"}`), "You do not have access")
	require.Contains(t, ask(t, w, 20052, "delete_pop", `{"email":"one@u20051.example"}`), "You do not have access")
	require.Zero(t, workerPID(t, h, 20051), "no worker of an account's")
	require.NotZero(t, workerPID(t, h, 1))
	require.NotContains(t, h.Log.String(), dbtest.Password)
}
