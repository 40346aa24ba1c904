package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/admin/doctor"
	"github.com/liveapid/liveapid/host/admin/plugins"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/hosttest"
)

// A sandbox has no problem; each mistake is found and says how to repair it.
func TestExamine(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	examine := func() (string, int) {
		c, err := config.Load(w.Config)
		require.NoError(t, err)
		c.Plugins[0].Path = hosttest.Bin(t, "liveapi-email")
		var out strings.Builder
		problems := 0
		doctor.Examine(t.Context(), c, doctor.Mail{Email: true}, func(f plugins.Finding) {
			doctor.Print(&out, f.Kind, f.Text)
			if f.Kind == plugins.Problem {
				problems++
			}
		})
		require.Equal(t, problems, strings.Count(out.String(), "wrong  "), out.String())
		return out.String(), problems
	}
	said, problems := examine()
	require.Zero(t, problems, said)
	require.Contains(t, said, "well   1 accounts\n")
	require.Contains(t, said, "well   plugin liveapi-email serves Email PasswdStrength NVData Personalization Quota, ")
	require.Contains(t, said, "note   the audit log is off")

	home := filepath.Join(w.Dir, "home")
	require.NoError(t, os.Rename(home, home+".away"))
	said, problems = examine()
	require.Equal(t, 1, problems, said)
	require.Contains(t, said, "wrong  account demo: its home directory "+home)
	require.NoError(t, os.Rename(home+".away", home))

	log := filepath.Join(w.Dir, "audit.log")
	require.NoError(t, os.WriteFile(log, nil, 0o644))
	w.Set(t, "mode ", "audit = \"audit.log\"\nmode ")
	said, problems = examine()
	require.Equal(t, 1, problems, said)
	require.Contains(t, said, "chmod 600")
}

// A host that would not start for want of the mail server's user is found before the start.
func TestMailUser(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Mode, c.DovecotSocket, c.MailUser = config.Server, filepath.Join(t.TempDir(), "mail.sock"), "nobody-like-this"
	var said strings.Builder
	doctor.Examine(t.Context(), c, doctor.Mail{}, func(f plugins.Finding) { doctor.Print(&said, f.Kind, f.Text) })
	require.Contains(t, said.String(), "wrong  mail_user: ")
	require.Contains(t, said.String(), "the host does not start without this user")
	said.Reset()
	c.MailUser = "root"
	doctor.Examine(t.Context(), c, doctor.Mail{Email: true, Database: "nothing"}, func(f plugins.Finding) { doctor.Print(&said, f.Kind, f.Text) })
	require.Contains(t, said.String(), "well   Dovecot asks as root, uid 0")
	require.Contains(t, said.String(), "apt-get install dovecot-nothing")
}
