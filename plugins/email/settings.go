package email

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/policy"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// Settings are the settings of the Email plugin, the table [plugin.settings] of the configuration. The
// comments of the fields with a tag are their only description: liveapid.toml(5) is generated from them.
type Settings struct {
	// How passwords are hashed: SHA512-CRYPT, BLF-CRYPT or ARGON2ID. Default: SHA512-CRYPT.
	Scheme string `setting:"scheme" example:"\"SHA512-CRYPT\""`
	// The strength that a password needs, from 0 to 100; 0 turns the policy off. Default: 65.
	RequiredStrength int `setting:"required_strength" packaged:"65"`
	// A list of stolen passwords: a download of Have I Been Pwned, SHA-1, in order. The helper reads it.
	Breached string `setting:"breached" example:"\"/var/lib/liveapid/pwned.txt\""`
	// Where mailboxes are kept: files, postgresql or mariadb. Default: files.
	Store string `setting:"store" example:"\"postgresql\""`
	// The database's address, with user and password.
	Database string `setting:"database" example:"\"postgres://user:password@127.0.0.1/mail\""`
	// A file with the database's address, instead of database.
	DatabaseFile string `setting:"database_file" example:"\"/etc/liveapid/database\""`
	// Connections to the database at most, from 1 to 100.
	Pool int `setting:"pool" example:"8"`
	// Dovecot, which is told of changes: the path of a socket of its service doveadm, or the address of its HTTP API,
	// http://127.0.0.1:8080, which can't be used with Dovecot 2.4. Without it Dovecot is not told.
	Doveadm string `setting:"doveadm" example:"\"/run/dovecot/liveapi\""`
	// For the HTTP API: Dovecot's doveadm_api_key.
	DoveadmKey string `setting:"doveadm_key" example:"\"...\""`
	// Whether a changed password also ends the mailbox's sessions. It needs doveadm. Default: false.
	Kick bool `setting:"kick" example:"true"`
	// The server's name for mail programs. Default: mail. and the mailbox's domain.
	MailHost string `setting:"mail_host" example:"\"mail.example.com\""`
	// Whether the mail server accepts passwords without TLS. Default: false.
	PlaintextLogin bool `setting:"plaintext_login" example:"true"`
	// The mail server that takes this module's messages. Without it no message is sent.
	SMTP string `setting:"smtp" example:"\"127.0.0.1:25\""`
	// The sender of this module's messages. Default: no-reply at the account's main domain.
	MailFrom string `setting:"mail_from" example:"\"no-reply@example.com\""`
	// The socket of liveapi postfix agent, which works on Postfix's queue.
	Queue string `setting:"queue" example:"\"/run/liveapid/queue.sock\""`
	// How long the mail server may take to be told of a change or to take a message, up to 1m. Default: 3s.
	MailTimeout time.Duration `setting:"mail_timeout" example:"\"3s\""`
}

// FilesStore is the name of the default store, which keeps mailboxes in files.
const FilesStore = "files"

const defaultMailTimeout = 3 * time.Second

// setting describes how a setting is read and validated.
type setting struct {
	want string // The valid values, as the error message describes them.
	set  func(s *Settings, value any) bool
}

// textSetting returns the setting for a text. field returns a pointer to the field of Settings that stores
// the text, ok reports whether a text is valid, and want describes the valid texts for the error message.
func textSetting(want string, field func(*Settings) *string, ok func(string) bool) setting {
	return setting{want, func(s *Settings, value any) bool {
		text, isText := value.(string)
		*field(s) = text
		return isText && ok(text)
	}}
}

func numberSetting(want string, field func(*Settings) *int, least, most int64) setting {
	return setting{want, func(s *Settings, value any) bool {
		n, isNumber := protocol.WholeNumber(value)
		if !isNumber || n < least || n > most {
			return false
		}
		*field(s) = int(n)
		return true
	}}
}

func flagSetting(field func(*Settings) *bool) setting {
	return setting{"true or false", func(s *Settings, value any) (ok bool) {
		*field(s), ok = value.(bool)
		return ok
	}}
}

func anyText(string) bool    { return true }
func notEmpty(t string) bool { return t != "" }
func isStore(t string) bool {
	return t == FilesStore || t == string(sqlstore.PostgreSQL) || t == string(sqlstore.MariaDB)
}
func isSocket(t string) bool  { return filepath.IsAbs(t) && len(t) <= protocol.MaxSocketPath }
func isAddress(t string) bool { _, err := recipient(t); return err == nil }

func isHostPort(t string) bool {
	_, _, err := net.SplitHostPort(t)
	return err == nil
}

func isDoveadm(t string) bool { return isSocket(t) || isURL(t) }

func isURL(t string) bool {
	u, err := url.Parse(t)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// readers returns the setting that reads and validates each value, by the setting's name.
func readers() map[string]setting {
	return map[string]setting{
		"scheme":            textSetting("SHA512-CRYPT, BLF-CRYPT or ARGON2ID, as text", func(s *Settings) *string { return &s.Scheme }, notEmpty),
		"required_strength": numberSetting("a whole number from 0 (no policy) to 100", func(s *Settings) *int { return &s.RequiredStrength }, 0, 100),
		"breached":          textSetting("the path of a list of SHA-1 sums", func(s *Settings) *string { return &s.Breached }, notEmpty),
		"store":             textSetting("files, postgresql or mariadb", func(s *Settings) *string { return &s.Store }, isStore),
		"database":          textSetting("a database's address, as text", func(s *Settings) *string { return &s.Database }, anyText),
		"database_file":     textSetting("the path of a file with a database's address", func(s *Settings) *string { return &s.DatabaseFile }, notEmpty),
		"pool":              numberSetting("a whole number from 1 to 100", func(s *Settings) *int { return &s.Pool }, 1, 100),
		"doveadm":           textSetting("the path of a socket, such as /run/dovecot/liveapi, or an address such as http://127.0.0.1:8080", func(s *Settings) *string { return &s.Doveadm }, isDoveadm),
		"doveadm_key":       textSetting("Dovecot's doveadm_api_key, as text", func(s *Settings) *string { return &s.DoveadmKey }, anyText),
		"kick":              flagSetting(func(s *Settings) *bool { return &s.Kick }),
		"mail_host":         {"the mail server's name, such as mail.example.com", setMailHost},
		"plaintext_login":   flagSetting(func(s *Settings) *bool { return &s.PlaintextLogin }),
		"smtp":              textSetting("a mail server's address, such as 127.0.0.1:25", func(s *Settings) *string { return &s.SMTP }, isHostPort),
		"mail_from":         textSetting("an address, such as no-reply@example.com", func(s *Settings) *string { return &s.MailFrom }, isAddress),
		"queue":             textSetting("the path of the socket of liveapi postfix agent", func(s *Settings) *string { return &s.Queue }, isSocket),
		"mail_timeout":      {"a time up to a minute, such as 3s", setMailTimeout},
	}
}

func setMailHost(s *Settings, value any) bool {
	name, ok := value.(string)
	s.MailHost = ascii(name)
	_, err := store.NewAddress("x", s.MailHost)
	return ok && err == nil
}

func setMailTimeout(s *Settings, value any) bool {
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	s.MailTimeout = d
	return err == nil && d > 0 && d <= time.Minute
}

// ParseSettings reads and validates the settings. Its errors contain the name of the setting, but never a
// value that contains a password.
func ParseSettings(raw map[string]any) (Settings, error) {
	s := Settings{Scheme: string(password.SHA512Crypt), RequiredStrength: policy.DefaultRequired, Store: FilesStore, MailTimeout: defaultMailTimeout}
	known := readers()
	for name, value := range raw {
		reader, ok := known[name]
		if !ok {
			return s, fmt.Errorf("unknown setting %.40q", name)
		}
		if !reader.set(&s, value) {
			return s, sdk.ErrSetting(name, reader.want)
		}
	}
	if s.DatabaseFile != "" {
		text, err := os.ReadFile(s.DatabaseFile)
		if err != nil {
			return s, fmt.Errorf("setting database_file: %w", err)
		}
		s.Database = strings.TrimSpace(string(text))
	}
	return s, s.check()
}

// check returns an error if settings contradict each other or a setting that others need is missing.
func (s Settings) check() error {
	switch {
	case s.Store != FilesStore && s.Database == "":
		return fmt.Errorf("setting database: must be set, because the store %s needs the database's address", s.Store)
	case s.Store == FilesStore && s.Database != "":
		return errors.New("setting database: must not be set, because the store files does not use a database; to use the database, set store to postgresql or mariadb")
	case s.Doveadm == "" && (s.DoveadmKey != "" || s.Kick):
		return errors.New("setting doveadm: must be set to the address of Dovecot's HTTP API, because doveadm_key or kick is set")
	case s.SMTP == "" && s.MailFrom != "":
		return errors.New("setting smtp: must be set to the address of the mail server, because mail_from is set")
	}
	return nil
}

// Open returns a function that opens an account's store, and a function that closes all stores. With a
// database, all accounts share a store.
func (s Settings) Open() (open func(protocol.Account) store.Store, closeAll func() error, err error) {
	if s.Store == FilesStore {
		return func(account protocol.Account) store.Store { return files.New(account.Home) }, func() error { return nil }, nil
	}
	db, err := sqlstore.Open(sqlstore.Driver(s.Store), s.Database, s.Pool)
	if err != nil {
		return nil, nil, fmt.Errorf("setting database: %w", err)
	}
	return func(protocol.Account) store.Store { return db }, db.Close, nil
}

// build opens what the settings refer to, and returns the resulting state. It opens the list of stolen
// passwords, but does not connect to the database yet.
func (s Settings) build() (*active, error) {
	a := &active{settings: s}
	var err error
	if a.hasher, err = password.NewHasher(password.Scheme(s.Scheme)); err != nil {
		return nil, fmt.Errorf("setting scheme: %w", err)
	}
	var list *policy.List
	if s.Breached != "" {
		if list, err = policy.OpenList(s.Breached); err != nil {
			return nil, fmt.Errorf("setting breached: %w", err)
		}
	}
	a.policy = policy.New(s.RequiredStrength, list)
	if s.Doveadm != "" {
		a.notifier = s.mailServer()
	}
	if s.Queue != "" {
		a.queue = &queue{socket: s.Queue}
	}
	if s.SMTP != "" {
		a.relay = &relay{address: s.SMTP}
	}
	a.open, a.close, err = s.Open()
	return a, err
}
