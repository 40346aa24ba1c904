// Package dbtest starts real database servers for tests: PostgreSQL and MariaDB from Debian's packages. Each
// server has its own directory and its own loopback port, and runs until the test ends. Only tests import
// this package.
package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // Registers the driver mysql.
	_ "github.com/jackc/pgx/v5/stdlib" // Registers the driver pgx.
	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/tests/ports"
)

// patience is the maximum time to wait for a server. It is long, so that only a server that hangs exceeds it.
const patience = 120 * time.Second

// Server is a running database server.
type Server struct {
	// Port is the server's port on 127.0.0.1.
	Port int

	t       testing.TB
	kind    string
	dir     string
	id      *syscall.Credential
	program string
	args    []string
	cmd     *exec.Cmd
	log     *buffer
	count   int
}

// buffer collects a server's output. It may be used concurrently.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Password is the password of the user liveapi on all servers. It is not a secret, because the servers only
// run in tests.
const Password = "test-password.1"

// PostgreSQL starts a PostgreSQL server, which ends with the test.
func PostgreSQL(t testing.TB) *Server {
	t.Helper()
	s := newServer(t, "postgresql", "postgres")
	bin, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	require.NoError(t, err)
	require.NotEmpty(t, bin, "install postgresql (make deps)")
	secret := filepath.Join(s.dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte(Password), 0o644))
	data := filepath.Join(s.dir, "data")
	s.run(filepath.Join(bin[0], "initdb"), "-D", data, "-U", "liveapi", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--no-locale", "-N")
	s.program = filepath.Join(bin[0], "postgres")
	s.args = []string{"-D", data, "-p", strconv.Itoa(s.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.dir, "-c", "max_connections=200"}
	s.Start()
	return s
}

// MariaDB starts a MariaDB server, which ends with the test.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	s := newServer(t, "mariadb", "mysql")
	_, err := exec.LookPath("mariadbd")
	require.NoError(t, err, "install mariadb-server (make deps)")
	data := filepath.Join(s.dir, "data")
	s.run("mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	s.program = "/usr/sbin/mariadbd"
	s.args = []string{
		"--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.Port),
		"--socket=" + filepath.Join(s.dir, "sock"), "--pid-file=" + filepath.Join(s.dir, "pid"), "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M",
		"--tmpdir=" + s.dir, "--max-connections=200",
	}
	s.Start()
	db := s.open("root@tcp(127.0.0.1:" + strconv.Itoa(s.Port) + ")/")
	defer func() { _ = db.Close() }()
	_, err = db.Exec("CREATE USER 'liveapi'@'%' IDENTIFIED BY '" + Password + "'")
	require.NoError(t, err)
	_, err = db.Exec("GRANT ALL ON *.* TO 'liveapi'@'%'")
	require.NoError(t, err)
	return s
}

func newServer(t testing.TB, kind, owner string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "db")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{t: t, kind: kind, dir: dir, log: &buffer{}, Port: ports.Free(t)}
	if os.Geteuid() == 0 { // The servers refuse to run as root.
		u, err := user.Lookup(owner)
		require.NoError(t, err, "install %s (make deps)", kind)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		require.NoError(t, os.Chown(dir, uid, gid))
		s.id = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return s
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + s.dir}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.id}
	return cmd
}

func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	require.NoError(s.t, s.command(program, args...).Run(), "%s", s.log)
}

// Start starts the server and waits until it accepts connections. It can be called again after Stop.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = s.command(s.program, s.args...)
	require.NoError(s.t, s.cmd.Start())
	cmd := s.cmd
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Log(s.log)
		}
	})
	ports.Wait(s.t, ports.Address(s.Port))
	if s.kind == "postgresql" {
		require.Eventually(s.t, func() bool {
			return strings.Contains(s.log.String(), "ready to accept connections")
		}, patience, 20*time.Millisecond, "the server takes no connections")
	}
}

// Stop ends the server immediately, without a clean shutdown, to simulate a crash.
func (s *Server) Stop() {
	s.t.Helper()
	if s.kind == "postgresql" {
		require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGQUIT))
	} else {
		require.NoError(s.t, s.cmd.Process.Kill())
	}
	_ = s.cmd.Wait()
}

// Database creates an empty database and returns its address, in the form that sqlstore accepts.
func (s *Server) Database() string {
	s.t.Helper()
	s.count++
	name := fmt.Sprintf("mail%d", s.count)
	db := s.open(s.dsn(map[string]string{"postgresql": "postgres", "mariadb": ""}[s.kind]))
	defer func() { _ = db.Close() }()
	_, err := db.Exec("CREATE DATABASE " + name)
	require.NoError(s.t, err)
	return s.dsn(name)
}

// dsn returns the address of the database called name.
func (s *Server) dsn(name string) string {
	if s.kind == "postgresql" {
		return fmt.Sprintf("host=127.0.0.1 port=%d user=liveapi password='%s' dbname=%s sslmode=disable connect_timeout=60", s.Port, Password, name)
	}
	return fmt.Sprintf("liveapi:%s@tcp(127.0.0.1:%d)/%s?timeout=60s", Password, s.Port, name)
}

// open connects to a database and waits until it answers.
func (s *Server) open(dsn string) *sql.DB {
	s.t.Helper()
	driver := map[string]string{"postgresql": "pgx", "mariadb": "mysql"}[s.kind]
	db, err := sql.Open(driver, dsn)
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil {
			return db
		}
		select {
		case <-ctx.Done():
			require.NoError(s.t, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Exec executes a statement in the database at dsn.
func (s *Server) Exec(dsn, statement string) {
	s.t.Helper()
	db := s.open(dsn)
	defer func() { _ = db.Close() }()
	_, err := db.Exec(statement)
	require.NoError(s.t, err)
}

// Value executes query, which must select a single value, and returns that value as text.
func (s *Server) Value(dsn, query string) string {
	s.t.Helper()
	db := s.open(dsn)
	defer func() { _ = db.Close() }()
	var v sql.NullString
	require.NoError(s.t, db.QueryRow(query).Scan(&v))
	return v.String
}
