package email

import (
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

// Settings are what an operator may set, as the table [plugin.settings] of the configuration
// has them.
type Settings struct {
	Scheme           string // SHA512-CRYPT, BLF-CRYPT or ARGON2ID.
	RequiredStrength int    // 0 to 100; 0 is no policy.
	Breached         string // Path of a list of stolen passwords; "" has none.
	Store            string // files, postgresql or mariadb.
	Database         string // Its address, with user and password.
	Pool             int    // Connections at most.
	Doveadm          string // URL of Dovecot's HTTP API; "" tells nobody.
	DoveadmKey       string // Its doveadm_api_key.
	Kick             bool   // End a mailbox's sessions, too.
	MailHost         string // The server's name for mail programs; "" is mail. and the domain.
	PlaintextLogin   bool   // The mail server takes passwords without TLS.
	SMTP             string // host:port of the server that takes this module's messages; "" sends none.
	MailFrom         string // Their sender; "" is no-reply at the account's main domain.
	Queue            string // Socket of the agent that works on the mail queue; "" has none.
	// MailTimeout is how long the mail server may take to be told of a change, or to take a message.
	MailTimeout time.Duration
}

// FilesStore is the default store.
const FilesStore = "files"

const defaultMailTimeout = 3 * time.Second

// ParseSettings reads the settings. Its errors name the setting and quote no value of those that
// hold passwords.
func ParseSettings(raw map[string]any) (Settings, error) {
	s := Settings{Scheme: string(password.SHA512Crypt), RequiredStrength: policy.DefaultRequired, Store: FilesStore, MailTimeout: defaultMailTimeout}
	for name, value := range raw {
		var ok bool
		want := ""
		switch name {
		case "scheme":
			s.Scheme, ok = value.(string)
			want, ok = "SHA512-CRYPT, BLF-CRYPT or ARGON2ID, as text", ok && s.Scheme != ""
		case "required_strength":
			s.RequiredStrength, ok = integer(value)
			want, ok = "a whole number from 0 (no policy) to 100", ok && s.RequiredStrength >= 0 && s.RequiredStrength <= 100
		case "breached":
			s.Breached, ok = value.(string)
			want, ok = "the path of a list of SHA-1 sums", ok && s.Breached != ""
		case "store":
			s.Store, ok = value.(string)
			want, ok = "files, postgresql or mariadb", ok && (s.Store == FilesStore || s.Store == string(sqlstore.PostgreSQL) || s.Store == string(sqlstore.MariaDB))
		case "database":
			s.Database, ok = value.(string)
			want = "a database's address, as text"
		case "database_file":
			var path string
			if path, ok = value.(string); ok {
				text, err := os.ReadFile(path)
				if err != nil {
					return s, fmt.Errorf("setting database_file: %w", err)
				}
				s.Database = strings.TrimSpace(string(text))
			}
			want = "the path of a file with a database's address"
		case "pool":
			s.Pool, ok = integer(value)
			want, ok = "a whole number from 1 to 100", ok && s.Pool >= 1 && s.Pool <= 100
		case "doveadm":
			s.Doveadm, ok = value.(string)
			u, err := url.Parse(s.Doveadm)
			want, ok = "an address such as http://127.0.0.1:8080", ok && err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
		case "doveadm_key":
			s.DoveadmKey, ok = value.(string)
			want = "Dovecot's doveadm_api_key, as text"
		case "mail_host":
			s.MailHost, ok = value.(string)
			s.MailHost = ascii(s.MailHost)
			_, err := store.NewAddress("x", s.MailHost)
			want, ok = "the mail server's name, such as mail.example.com", ok && err == nil
		case "plaintext_login":
			s.PlaintextLogin, ok = value.(bool)
			want = "true or false"
		case "smtp":
			s.SMTP, ok = value.(string)
			_, _, err := net.SplitHostPort(s.SMTP)
			want, ok = "a mail server's address, such as 127.0.0.1:25", ok && err == nil
		case "queue":
			s.Queue, ok = value.(string)
			want, ok = "the path of the socket of liveapi postfix agent", ok && filepath.IsAbs(s.Queue) && len(s.Queue) <= protocol.MaxSocketPath
		case "mail_from":
			s.MailFrom, ok = value.(string)
			_, err := recipient(s.MailFrom)
			want, ok = "an address, such as no-reply@example.com", ok && err == nil
		case "mail_timeout":
			var text string
			text, ok = value.(string)
			d, err := time.ParseDuration(text)
			s.MailTimeout = d
			want, ok = "a time up to a minute, such as 3s", ok && err == nil && d > 0 && d <= time.Minute
		case "kick":
			s.Kick, ok = value.(bool)
			want = "true or false"
		default:
			return s, fmt.Errorf("unknown setting %.40q", name)
		}
		if !ok {
			return s, sdk.ErrSetting(name, want)
		}
	}
	switch {
	case s.Store != FilesStore && s.Database == "":
		return s, fmt.Errorf("setting database: the store %s needs the database's address", s.Store)
	case s.Store == FilesStore && s.Database != "":
		return s, fmt.Errorf("setting database: the store files has none; set store to postgresql or mariadb")
	case s.Doveadm == "" && (s.DoveadmKey != "" || s.Kick):
		return s, fmt.Errorf("setting doveadm: the address of Dovecot's HTTP API is missing")
	case s.SMTP == "" && s.MailFrom != "":
		return s, fmt.Errorf("setting smtp: the address of the mail server is missing")
	}
	return s, nil
}

// integer reads a setting that is a small whole number.
func integer(value any) (int, bool) {
	n, ok := protocol.WholeNumber(value)
	return int(max(-1<<31, min(n, 1<<31))), ok
}

// Open returns what opens an account's store, and what closes all of them.
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

// build makes of the settings what the module works with.
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
		a.notifier = newDoveadm(s.Doveadm, protocol.NewSecret(s.DoveadmKey), s.Kick, s.MailTimeout)
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
