package mailconf_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/mailconf"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
)

func all(t *testing.T, s mailconf.SQL) string {
	t.Helper()
	dovecot, err := s.Dovecot()
	require.NoError(t, err)
	postfix, err := s.Postfix()
	require.NoError(t, err)
	var b strings.Builder
	for _, f := range append(dovecot, postfix...) {
		b.WriteString(f.Text)
		if !f.Secret {
			require.NotContains(t, f.Text, "s3cret", f.Name)
		}
	}
	return b.String()
}

func TestSQL(t *testing.T) {
	in23, in24 := mailconf.Options{Version: mailconf.Dovecot23}, mailconf.Options{Version: mailconf.Dovecot24}
	s := mailconf.SQL{
		Options: in23, Driver: sqlstore.PostgreSQL, Database: "postgres://vm:s3cret@db.example:5433/mail?sslmode=require",
		Dir: "/etc/x", Mail: "/var/vmail", Owner: "vmail", UID: 5000, GID: 5000,
	}
	text := all(t, s)
	require.Contains(t, text, "connect = host=db.example port=5433 dbname=mail user=vm password=s3cret sslmode=require\n")
	require.Contains(t, text, "hosts = postgresql://vm:s3cret@db.example:5433/mail?sslmode=require\n")
	s.Options = in24
	text = all(t, s)
	require.Contains(t, text, "pgsql db.example {\n  parameters {\n    port = 5433\n    dbname = mail\n    user = vm\n    password = s3cret\n    sslmode = require\n  }\n}\n")
	require.Contains(t, text, "!include /etc/x/liveapi-dovecot-sql.conf.ext\n")
	s.Mask = true
	require.NotContains(t, all(t, s), "s3cret")
	s.Options = in23
	require.NotContains(t, all(t, s), "s3cret")
	s = mailconf.SQL{Options: in23, Driver: sqlstore.MariaDB, Database: "vm:s3cret@tail@unix(/run/db.sock)/mail", Dir: "/etc/x", Mail: "/var/vmail", Owner: "vmail", UID: 5000, GID: 5000, Mask: true}
	text = all(t, s)
	require.NotContains(t, text, "s3cret")
	require.NotContains(t, text, "tail")
	require.Contains(t, text, "hosts = unix:/run/db.sock\n")
	require.Contains(t, text, "connect = host=/run/db.sock dbname=mail")
	s.Options = in24
	text = all(t, s)
	require.NotContains(t, text, "tail")
	require.Contains(t, text, "mysql /run/db.sock {\n  dbname = mail\n  user = vm\n  password = *****\n}\n")

	for _, database := range []string{
		"postgres://vm:s3cret@db/mail?sslcert=/x", "postgres://vm:with%20space@db/mail", "vm:s3cret@tcp(db:1)/mail?tls=true", "vm:a#b@tcp(db:1)/mail", "nonsense",
		"vm:$ENV:HOME@tcp(db:1)/mail", "vm:<x@tcp(db:1)/mail", "vm:a%{user}@tcp(db:1)/mail",
	} {
		s := mailconf.SQL{Options: in24, Driver: sqlstore.PostgreSQL, Database: database, Dir: "/etc/x", Mail: "/m", Owner: "vmail", UID: 5000}
		if strings.Contains(database, "tcp(") {
			s.Driver = sqlstore.MariaDB
		}
		_, err := s.Dovecot()
		require.ErrorContains(t, err, "database: ", database)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestRefused(t *testing.T) {
	good := mailconf.Files{Options: mailconf.Options{Version: mailconf.Dovecot23}, Dir: "/etc/x", Account: "a", Home: "/home/a", User: "a", UID: 1000, GID: 1000, Domains: []string{"a.example"}}
	files, err := good.Dovecot()
	require.NoError(t, err)
	require.Contains(t, files[0].Text, "override_fields = user=%{orig_user} login_user=%{orig_user} userdb_mail_plugin_dir=")
	require.NotContains(t, files[0].Text, "user = root")
	good.Version = mailconf.Dovecot24
	files, err = good.Dovecot()
	require.NoError(t, err)
	require.Contains(t, files[0].Text, "fields_import_all = no\n")
	require.NotContains(t, files[0].Text, "user = root")
	for _, spoil := range []func(*mailconf.Files){
		func(f *mailconf.Files) { f.UID = 0 },
		func(f *mailconf.Files) { f.Home = "/home/a b" },
		func(f *mailconf.Files) { f.Home = "/home/%d" },
		func(f *mailconf.Files) { f.Home = "/home/a\n}" },
		func(f *mailconf.Files) { f.User = "" },
		func(f *mailconf.Files) { f.Dir = "/etc/a b" },
		func(f *mailconf.Files) { f.Doveadm = "/run/x" },
	} {
		bad := good
		spoil(&bad)
		_, err := bad.Dovecot()
		require.Error(t, err)
	}
}

// T49: Postfix accepts more than domains in its list of domains, so only domains are written.
func TestT49_DomainsAlone(t *testing.T) {
	for _, bad := range []string{"/home/x/list", "!c.example", "pcre:/etc/x", "*", "../x", "a b.example", "A.example", "localhost", "", "a.example\nrelayhost = x", "static:all.example", "$mydomain.example"} {
		_, err := mailconf.Many{Domains: []string{"good.example", bad}}.Postfix()
		require.ErrorContains(t, err, "can't be used in Postfix's list", bad)
		_, err = mailconf.Files{Account: "x", Domains: []string{bad}}.Postfix()
		require.Error(t, err, bad)
	}
	files, err := mailconf.Many{Domains: []string{"good.example", "xn--bcher-kva.example"}}.Postfix()
	require.NoError(t, err)
	require.Contains(t, files[0].Text, "virtual_mailbox_domains = good.example xn--bcher-kva.example\n")
}
