// Package config reads and validates a host's configuration: a documented struct, a reader, and a check that
// reports all mistakes at once. It opens the configuration's files and nothing else.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/liveapid/liveapid/host/config/strictoml"
)

const (
	// DefaultPath is the path of the configuration file of an installation.
	DefaultPath = "/etc/liveapid/liveapid.toml"
	// DefaultSocket is the path of the socket of an installation.
	DefaultSocket = "/run/liveapid/liveapi.sock"
	// DefaultBindings is the directory of the Perl and PHP libraries of an installation.
	DefaultBindings = "/usr/share/liveapid/bindings"
	// DefaultLibrary is the directory of the plugins' programs of an installation.
	DefaultLibrary = "/usr/lib/liveapid"
	// DefaultState is the directory in which the host of an installation keeps its state.
	DefaultState = "/var/lib/liveapid"
	// DefaultWorkers and DefaultWorkerMemory (in MiB) are the default limits of workers.
	DefaultWorkers      = 500
	DefaultWorkerMemory = 512
	// Env is the environment variable that contains the path of the configuration file, for every command and
	// binding.
	Env = "LIVEAPID_CONFIG"
)

// Mode is the mode of a host. The mode determines whether the host serves one account or many accounts.
type Mode string

const (
	// Personal is the mode in which a host serves a single account, as the user that runs the host. Only this
	// user may connect.
	Personal Mode = "personal"
	// Server is the mode in which a host serves many accounts. The workers of each account run with the
	// account's uid, so the host must run as root.
	Server Mode = "server"
)

//go:generate go run ./gen

// Config is a host's configuration. Relative paths are relative to the file's directory.
//
// The comments of its fields, and of Web, Limits and Plugin, are the only description of the keys: gen writes
// the packaged configuration and liveapid.toml(5) from them. The tag "example" is a value for the manual;
// "packaged" is the value that the packaged configuration sets.
type Config struct {
	// personal: the host serves a single account, as the user that runs the host. server: the host runs as root
	// and serves many accounts, each as its own user. Default: personal.
	Mode Mode `toml:"mode" packaged:"\"server\""`
	// Personal mode: the name of the account. Without it the host serves its own user.
	Account string `toml:"account" example:"\"demo\""`
	// The directory of the accounts' files, NAME.toml; liveapi account writes them.
	Accounts string `toml:"accounts" packaged:"\"/etc/liveapid/accounts\""`
	// Server mode: a directory with users files of a cPanel server, from which accounts are also read.
	CPanelUsers string `toml:"cpanel_users" example:"\"/var/cpanel/users\""`
	// Server mode: the userdomains file of a cPanel server. Without it, domains are read from the users files.
	UserDomains string `toml:"userdomains" example:"\"/etc/userdomains\""`
	// Server mode: the userdatadomains file of a cPanel server, which contains the kind and the document root of
	// each domain. It is read again every minute.
	UserData string `toml:"userdatadomains" example:"\"/etc/userdatadomains\""`
	// Server mode: the directory of a cPanel server's feature lists. Without it, only the users files turn
	// features off. It is read again every minute.
	Features string `toml:"cpanel_features" example:"\"/var/cpanel/features\""`
	// Server mode: a directory into which the host writes the files userdomains and trueuserdomains, which
	// programs for cPanel read at /etc/userdomains and /etc/trueuserdomains: create links there. Not for a
	// cPanel server, which writes them itself.
	WriteUserDomains string `toml:"write_userdomains" example:"\"/var/cache/liveapid\""`
	// Server mode: system users with this uid or a higher uid are accounts without domains.
	SystemUsers int `toml:"system_users" example:"1000"`
	// Server mode: the system user for the plugins' helpers, which handle passwords and secret settings, so that
	// accounts can't read them. Default: liveapid.
	Helper string `toml:"helper" packaged:"\"liveapid\""`
	// Server mode: system users that are rejected even if an account has their uid, such as the web server's.
	Refuse []string `toml:"refuse" packaged:"[]" example:"[\"www-data\"]"`
	// The socket on which the host listens. Default: /run/liveapid/liveapi.sock.
	Socket string `toml:"socket" packaged:"\"/run/liveapid/liveapi.sock\""`
	// The directory for the sockets between the host and its workers. Default: a new directory in the system's
	// directory for temporary files.
	RunDir string `toml:"run_dir" packaged:"\"/run/liveapid\""`
	// The socket for liveapi status and liveapi top.
	Control string `toml:"control" packaged:"\"/run/liveapid/control.sock\""`
	// Server mode: a directory in which the host stores the account of each domain, for the next start. Default:
	// /var/lib/liveapid if the configuration is /etc/liveapid/liveapid.toml, otherwise none.
	State string `toml:"state" packaged:"\"/var/lib/liveapid\""`
	// The audit log. liveapi audit verify checks it.
	Audit string `toml:"audit" packaged:"\"/var/log/liveapid/audit.log\""`
	// A loopback address and port for Prometheus.
	Metrics string `toml:"metrics" example:"\"127.0.0.1:9187\""`
	// Server mode: the socket on which the host answers Dovecot's look-ups of mailboxes; see liveapi dovecot. For Dovecot
	// 2.4 there is a second socket in the same directory, .s.PGSQL.5432.
	DovecotSocket string `toml:"mail_door" example:"\"/run/liveapid/mail.sock\""`
	// Server mode: the system user that may connect to mail_door. Default: dovecot.
	MailUser string `toml:"mail_user" example:"\"dovecot\""`
	// The directory of the plugins' files, NAME.toml; liveapi module add writes them.
	PluginDir string `toml:"plugin_dir" packaged:"\"/etc/liveapid/plugins.d\""`
	// The directory of modules in Perl, PHP and other scripts.
	Modules string `toml:"modules" packaged:"\"/etc/liveapid/modules\""`
	// The directory of the Perl and PHP libraries. Default: the directory of the installation.
	Bindings string `toml:"bindings" example:"\"/usr/share/liveapid/bindings\""`
	// The program that serves script modules. Default: liveapi-script of the installation.
	ScriptWorker string `toml:"script_worker" example:"\"/usr/lib/liveapid/liveapi-script\""`

	// Personal mode: the directory of mocks, which answer calls in place of modules: NAME.toml and NAME.json.
	Mocks string `toml:"mocks" example:"\"mocks\""`

	Plugins []Plugin `toml:"plugin"`
	Replays []Mock   `toml:"mock"`
	Web     Web      `toml:"web"`
	Limits  Limits   `toml:"limits"`

	path string
}

// Limits are the limits that an operator may change. Zero means the default.
type Limits struct {
	// Maximum size of a frame in bytes. Default: 1048576.
	Frame int `toml:"frame" example:"1048576"`
	// Maximum time from the first byte of a frame to its last. Default: 30s.
	FrameTime Duration `toml:"frame_time" example:"\"30s\""`
	// A session without calls ends after this time. Default: 1h.
	Idle Duration `toml:"idle" example:"\"1h\""`
	// Maximum time of a call. Default: 60s.
	Call Duration `toml:"call" example:"\"60s\""`
	// Maximum number of sessions. Default: 4096, or half of the host's limit of open files if that is less.
	Sessions int `toml:"sessions" example:"4096"`
	// Maximum number of sessions of an account. Default: 256.
	AccountSessions int `toml:"account_sessions" example:"256"`
	// Maximum time that a worker may take to start. Default: 5s.
	WorkerStart Duration `toml:"worker_start" example:"\"5s\""`
	// A worker without calls is stopped after this time. Default: 5m.
	WorkerIdle Duration `toml:"worker_idle" example:"\"5m\""`
	// Maximum number of workers of all plugins. Default: 500.
	Workers int `toml:"workers" example:"500"`
	// Server mode: maximum memory of a worker in MiB. Default: 512.
	WorkerMemory int `toml:"worker_memory" example:"512"`
	// Maximum number of running calls. Default: 1024. Takes effect on reload.
	Calls int `toml:"calls" example:"1024"`
	// Maximum number of running calls of an account. Default: 64. Takes effect on reload.
	AccountCalls int `toml:"account_calls" example:"64"`
	// Maximum number of calls of an account in a second; -1 means no limit. Default: 50 in server mode, no limit
	// in personal mode. Takes effect on reload.
	AccountRate float64 `toml:"account_rate" example:"50.0"`
}

// Duration is a time in Go's syntax, such as "90s" or "5m".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler: it parses a duration in Go's syntax.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err == nil && v < 0 {
		err = errors.New("must not be negative")
	}
	*d = Duration(v)
	return err
}

// MarshalText implements encoding.TextMarshaler: it returns the duration in Go's syntax.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Default returns the configuration of a program without a configuration file: it serves the running user's
// own account.
func Default() *Config {
	c := &Config{Mode: Personal}
	c.fill()
	return c
}

// Find loads the configuration at path or, if path is empty, at the path in the environment variable
// LIVEAPID_CONFIG. If neither is set, Find loads the configuration at DefaultPath. If DefaultPath does not
// exist, Find returns Default. If the running user may not read DefaultPath, Find returns Default with the
// mode changed to Server; its socket is the default socket.
func Find(path string) (*Config, error) {
	if path == "" {
		path = os.Getenv(Env)
	}
	if path != "" {
		return Load(path)
	}
	c, err := Load(DefaultPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Default(), nil
	case errors.Is(err, fs.ErrPermission):
		// The file may contain secrets of the operator, so other users may be unable to read it. They can
		// still connect to the host through the default socket.
		c = Default()
		c.Mode = Server
		return c, nil
	}
	return c, err
}

// Load reads and validates the configuration at path.
func Load(path string) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	text, err := os.ReadFile(abs)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c := &Config{path: abs}
	if err := strictoml.Decode(text, c); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	c.fill()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Owners returns the path of the file in which the host stores the account of each domain, or "" if the host
// does not store the accounts of domains.
func (c *Config) Owners() string {
	if c.State == "" {
		return ""
	}
	return filepath.Join(c.State, "domains.json")
}

// Path returns the path of the file from which the configuration was loaded, or "" if it was not loaded from
// a file.
func (c *Config) Path() string { return c.path }

// fill sets defaults and makes paths absolute.
func (c *Config) fill() {
	if c.Mode == "" {
		c.Mode = Personal
	}
	if c.Socket == "" {
		c.Socket = DefaultSocket
	}
	if len(c.Plugins) == 0 && c.PluginDir == "" {
		c.Plugins = []Plugin{{}}
	}
	for i := range c.Plugins {
		if c.Plugins[i].Path == "" {
			c.Plugins[i].Path = siblingProgram("liveapi-email")
		}
		c.Plugins[i].fill(c.absolute)
	}
	if c.MailUser == "" {
		c.MailUser = "dovecot"
	}
	if c.Helper == "" {
		c.Helper = "liveapid"
	}
	if c.Limits.Workers == 0 {
		c.Limits.Workers = DefaultWorkers
	}
	if c.Limits.WorkerMemory == 0 {
		c.Limits.WorkerMemory = DefaultWorkerMemory
	}
	if c.Limits.WorkerIdle == 0 {
		c.Limits.WorkerIdle = Duration(5 * time.Minute)
	}
	c.Web.fill(c.absolute)
	if c.State == "" && c.path == DefaultPath && c.Mode == Server {
		c.State = DefaultState
	}
	for _, path := range []*string{&c.State, &c.Socket, &c.RunDir, &c.Accounts, &c.CPanelUsers, &c.UserDomains, &c.UserData, &c.Features, &c.WriteUserDomains, &c.PluginDir, &c.Audit, &c.Control, &c.DovecotSocket} {
		*path = c.absolute(*path)
	}
	if c.Bindings == "" {
		c.Bindings = findBindings()
	}
	if c.ScriptWorker == "" {
		c.ScriptWorker = siblingProgram("liveapi-script")
	}
	c.ScriptWorker = c.absolute(c.ScriptWorker)
	c.Modules, c.Bindings, c.Mocks = c.absolute(c.Modules), c.absolute(c.Bindings), c.absolute(c.Mocks)
	for i := range c.Replays {
		c.Replays[i].Cassette = c.absolute(c.Replays[i].Cassette)
	}
}

// findBindings returns the directory of the Perl and PHP libraries. In a checkout of the source code this is
// the directory bindings next to the directory of the programs. If that directory does not exist,
// findBindings returns DefaultBindings.
func findBindings() string {
	if dir := siblingProgram("../bindings"); dirExists(dir) {
		return dir
	}
	return DefaultBindings
}

func fileExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (c *Config) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) || c.path == "" {
		return path
	}
	return filepath.Join(filepath.Dir(c.path), path)
}

// siblingProgram returns the path of a program in the directory of the running program, or else in
// DefaultLibrary.
func siblingProgram(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	path := filepath.Join(filepath.Dir(self), name)
	if installed := filepath.Join(DefaultLibrary, name); !fileExists(path) && fileExists(installed) {
		return installed
	}
	return path
}

// Validate returns an error that lists all mistakes in the configuration, or nil if there are none.
func (c *Config) Validate() error {
	var all []error
	add := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	switch c.Mode {
	case Personal:
		if c.DovecotSocket != "" {
			add("mail_door: this key is allowed only in server mode; in personal mode Dovecot reads the account's files itself")
		}
	case Server:
		if c.Accounts == "" && c.CPanelUsers == "" && c.SystemUsers == 0 {
			add("accounts: not set; server mode needs at least one of the keys accounts (the directory of the account files), cpanel_users and system_users")
		}
		if c.UserDomains != "" && c.CPanelUsers == "" {
			add("userdomains: this key needs the key cpanel_users, which is not set")
		}
		if (c.UserData != "" || c.Features != "") && c.CPanelUsers == "" {
			add("userdatadomains, cpanel_features: these keys need the key cpanel_users, which is not set")
		}
		if c.WriteUserDomains != "" && c.CPanelUsers != "" {
			add("write_userdomains: must not be set together with cpanel_users, because a cPanel server writes these files itself")
		}
		if c.SystemUsers != 0 && c.SystemUsers < 500 {
			add("system_users: must be at least 500")
		}
		if c.Account != "" {
			add("account: this key is allowed only in personal mode, which serves a single account")
		}
	default:
		add("mode: %q is neither personal nor server", c.Mode)
	}
	if c.Mode == Server && (c.Mocks != "" || len(c.Replays) > 0) {
		add("mocks and [[mock]]: a host in server mode never answers with mocks; remove the keys, or set mode = \"personal\"")
	}
	for i, m := range c.Replays {
		if m.Cassette == "" {
			add("[[mock]] %d: cassette is missing: name the file of a cassette", i+1)
		}
	}
	if c.Account != "" && c.Accounts == "" {
		add("account: %q needs the key accounts, the directory that contains the account's file", c.Account)
	}
	for i, p := range c.Plugins {
		if _, err := p.Sum(); err != nil {
			add("plugin %d: %w", i+1, err)
		}
	}
	for name, n := range map[string]int{"frame": c.Limits.Frame, "sessions": c.Limits.Sessions, "account_sessions": c.Limits.AccountSessions,
		"workers": c.Limits.Workers, "worker_memory": c.Limits.WorkerMemory, "calls": c.Limits.Calls, "account_calls": c.Limits.AccountCalls} {
		if n < 0 {
			add("limits.%s: must not be negative", name)
		}
	}
	if c.Metrics != "" && !isLoopback(c.Metrics) {
		add("metrics: %.60q is not a loopback address and port, such as 127.0.0.1:9187", c.Metrics)
	}
	for _, err := range c.Web.validate() {
		add("web.%w", err)
	}
	if c.Limits.Frame > 16<<20 {
		add("limits.frame: must be at most %d", 16<<20)
	}
	return errors.Join(all...)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
