// Package config is the configuration of a host: one documented struct, one reader,
// one check that names every mistake at once. It opens the configuration file and
// nothing else.
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
	// DefaultPath is where an installation keeps its configuration.
	DefaultPath = "/etc/liveapid/liveapid.toml"
	// DefaultSocket is where an installation listens.
	DefaultSocket = "/run/liveapid/liveapi.sock"
	// DefaultBindings is where an installation keeps the Perl and PHP libraries.
	DefaultBindings = "/usr/share/liveapid/bindings"
	// DefaultLibrary is where an installation keeps the plugins' programs.
	DefaultLibrary = "/usr/lib/liveapid"
	// DefaultState is where an installation's host keeps what it has to remember.
	DefaultState = "/var/lib/liveapid"
	// DefaultWorkers and DefaultWorkerMemory, in MiB, bound workers where nothing is said.
	DefaultWorkers      = 500
	DefaultWorkerMemory = 512
	// Env names the configuration for every command and shim.
	Env = "LIVEAPID_CONFIG"
)

// Mode is how many accounts a host serves.
type Mode string

const (
	// Personal serves one account as the host's own user, to peers of that user alone.
	Personal Mode = "personal"
	// Server serves many accounts, each by a worker with its own uid. It needs root.
	Server Mode = "server"
)

// Config is a host's configuration. Relative paths are taken from the file's folder.
type Config struct {
	Mode     Mode   `toml:"mode"`     // personal or server.
	Account  string `toml:"account"`  // Personal mode: the account's name; "" is the host's own user.
	Socket   string `toml:"socket"`   // Where serve listens.
	RunDir   string `toml:"run_dir"`  // For the sockets between host and workers.
	Accounts string `toml:"accounts"` // Folder of NAME.toml files; "" has none.
	// Server mode: further sources of accounts, a cPanel server's own files and the system.
	CPanelUsers string `toml:"cpanel_users"` // Such as /var/cpanel/users; "" has none.
	UserDomains string `toml:"userdomains"`  // Such as /etc/userdomains; "" goes by the users files.
	SystemUsers int    `toml:"system_users"` // System users from this uid on are accounts without domains; 0 has none.
	// State is the directory in which the host remembers whose each domain was. Server mode; "" is
	// DefaultState for the configuration at DefaultPath, and else has none.
	State string `toml:"state"`
	// Refuse names system users that are refused although they have an account's uid: the web
	// server's. Server mode.
	Refuse []string `toml:"refuse"`
	// Helper is the system user as whom plugins do what accounts must not see: hashing, secrets.
	// Server mode; "" is liveapid.
	Helper   string `toml:"helper"`
	Modules  string `toml:"modules"`  // Folder of script modules; "" has none.
	Bindings string `toml:"bindings"` // Folder of the Perl and PHP libraries; "" looks beside the program.
	// ScriptWorker is the program that serves script modules; "" is liveapi-script beside the
	// host's own program.
	ScriptWorker string   `toml:"script_worker"`
	Plugins      []Plugin `toml:"plugin"`
	PluginDir    string   `toml:"plugin_dir"` // Folder of NAME.toml files, a plugin each; "" has none.
	Audit        string   `toml:"audit"`      // File of the audit log; "" has none.
	Metrics      string   `toml:"metrics"`    // Loopback address of Prometheus' page, such as 127.0.0.1:9187; "" has none.
	// DovecotSocket is the socket on which Dovecot asks for the mailboxes of all accounts; "" has none.
	// MailUser is the system user as whom it asks; "" is dovecot. Server mode.
	DovecotSocket string `toml:"mail_door"`
	MailUser      string `toml:"mail_user"`
	Control       string `toml:"control"` // Socket for liveapi status and top; "" has none.
	Web           Web    `toml:"web"`     // The HTTPS API; without a state folder there is none.
	Limits        Limits `toml:"limits"`

	path string
}

// Plugin is one plugin program.
type Plugin struct {
	Name     string         `toml:"-"`        // Its file's in plugin_dir; "" for one of [[plugin]].
	Modules  []string       `toml:"modules"`  // The modules it serves; none asks it.
	Path     string         `toml:"path"`     // "" is liveapi-email beside the host's own program.
	Args     []string       `toml:"args"`     // For a path that is an interpreter: the plugin's own file.
	SHA256   string         `toml:"sha256"`   // Hex; "" checks nothing.
	Settings map[string]any `toml:"settings"` // The plugin's own.
}

// Limits are the ones an operator may move. Zero means the default, which docs/protocol.md and
// docs/operations.md have.
type Limits struct {
	Frame           int      `toml:"frame"`            // Bytes.
	FrameTime       Duration `toml:"frame_time"`       //
	Idle            Duration `toml:"idle"`             //
	Call            Duration `toml:"call"`             //
	Sessions        int      `toml:"sessions"`         //
	AccountSessions int      `toml:"account_sessions"` //
	WorkerStart     Duration `toml:"worker_start"`     // A worker that takes longer to start is given up.
	WorkerIdle      Duration `toml:"worker_idle"`      // Default 5m; a worker stops after so long without calls.
	Workers         int      `toml:"workers"`          // At once, of all plugins.
	WorkerMemory    int      `toml:"worker_memory"`    // MiB that a worker may hold. Server mode.
	Calls           int      `toml:"calls"`            // Under way at once, in all.
	AccountCalls    int      `toml:"account_calls"`    // Under way at once, of one account.
	AccountRate     float64  `toml:"account_rate"`     // Calls of one account in a second; -1 sets no bound.
}

// Duration is a time in Go's spelling: "90s", "5m".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err == nil && v < 0 {
		err = errors.New("must not be negative")
	}
	*d = Duration(v)
	return err
}

// MarshalText writes a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Default is the configuration of a program that is given none: the caller's own
// account, for itself.
func Default() *Config {
	c := &Config{Mode: Personal}
	c.fill()
	return c
}

// Find loads the configuration that path names, or LIVEAPID_CONFIG, or DefaultPath if it exists, or else
// Default. If the file at DefaultPath may not be read, the result is in server mode and names the
// default socket.
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
		// The operator's, which may hold secrets: everybody else is served by the host that runs by it.
		c = Default()
		c.Mode = Server
		return c, nil
	}
	return c, err
}

// Load reads and checks the configuration at path.
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

// Owners is the file in which the host remembers whose each domain was; "" if it has none.
func (c *Config) Owners() string {
	if c.State == "" {
		return ""
	}
	return filepath.Join(c.State, "domains.json")
}

// Path is the file the configuration came from; "" for Default.
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
	for _, path := range []*string{&c.State, &c.Socket, &c.RunDir, &c.Accounts, &c.CPanelUsers, &c.UserDomains, &c.PluginDir, &c.Audit, &c.Control, &c.DovecotSocket} {
		*path = c.absolute(*path)
	}
	if c.Bindings == "" {
		c.Bindings = findBindings()
	}
	if c.ScriptWorker == "" {
		c.ScriptWorker = siblingProgram("liveapi-script")
	}
	c.ScriptWorker = c.absolute(c.ScriptWorker)
	c.Modules, c.Bindings = c.absolute(c.Modules), c.absolute(c.Bindings)
}

// findBindings returns the libraries of a checkout, whose programs lie in bin, or else
// the place of an installation's.
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

// siblingProgram returns the path of a program in the folder of the running one, or in that where an
// installation keeps programs that are not for people.
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

// Validate reports every mistake.
func (c *Config) Validate() error {
	var all []error
	add := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	switch c.Mode {
	case Personal:
		if c.DovecotSocket != "" {
			add("mail_door: it is for the many accounts of server mode; one account's files Dovecot reads itself")
		}
	case Server:
		if c.Accounts == "" && c.CPanelUsers == "" && c.SystemUsers == 0 {
			add("accounts: server mode needs the folder of the accounts' files, or cpanel_users, or system_users")
		}
		if c.UserDomains != "" && c.CPanelUsers == "" {
			add("userdomains: it goes with cpanel_users, which is not set")
		}
		if c.SystemUsers != 0 && c.SystemUsers < 500 {
			add("system_users: at least 500")
		}
		if c.Account != "" {
			add("account: only personal mode serves one account")
		}
	default:
		add("mode: %q is neither personal nor server", c.Mode)
	}
	if c.Account != "" && c.Accounts == "" {
		add("account: %q needs the folder accounts in which its file lies", c.Account)
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
		add("metrics: %.60q is no loopback address and port, such as 127.0.0.1:9187", c.Metrics)
	}
	for _, err := range c.Web.validate() {
		add("web.%w", err)
	}
	if c.Limits.Frame > 16<<20 {
		add("limits.frame: at most %d", 16<<20)
	}
	return errors.Join(all...)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
