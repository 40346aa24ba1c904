package config_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/config"
)

// T52: only the owner can read a configuration with a secret.
func TestT52_Exposed(t *testing.T) {
	dir, err := os.MkdirTemp("", "lc") // Everyone can enter this directory, unlike the test's own.
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "liveapid.toml")
	plugins := filepath.Join(dir, "plugins.d")
	require.NoError(t, os.Mkdir(plugins, 0o755))
	exposed := func(text string, mode os.FileMode) error {
		require.NoError(t, os.WriteFile(path, []byte(fmt.Sprintf("accounts = \"a\"\nplugin_dir = %q\n[[plugin]]\npath = \"/usr/lib/x/liveapi-email\"\n[plugin.settings]\n%s\n", plugins, text)), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		c, err := config.Load(path)
		require.NoError(t, err)
		return c.Exposed()
	}
	secrets := []string{
		`database = "postgres://mail:s3cret@localhost/mail"`, `database = "mail:s3cret@tcp(127.0.0.1:3306)/mail"`, `database = "host=/run user=mail password=s3cret"`,
		`database = "postgres://localhost/mail?user=x&password=s3cret"`, `doveadm_key = "s3cret"`, `doveadm_password = "s3cret"`, `token = "s3cret"`, `api-key = "s3cret"`, `key = "s3cret"`,
		"[plugin.settings.remote]\nclient_secret = \"s3cret\"", `database = "mail:s3/cr@et@unix(/run/mysqld.sock)/mail"`, `database = "POSTGRES://mail:s3cret@localhost/mail"`,
		`dsns = ["x", "postgres://mail:s3cret@localhost/mail"]`, "[[plugin.settings.servers]]\npassword = \"s3cret\"", `database = "host=x sslpassword=s3cret"`,
		`database = "mail:s3cret@/mail"`, `database = ":s3cret@tcp(127.0.0.1)/mail"`, `pw = "s3cret"`, `psk = "s3cret"`, `private_key_pem = "s3cret"`, `authorization = "Bearer s3cret"`, `header = "Bearer s3cret"`,
	}
	for _, text := range secrets {
		err := exposed(text, 0o644)
		require.ErrorContains(t, err, "every user can read the file", text)
		require.NotContains(t, err.Error(), "s3cret")
		require.NoError(t, exposed(text, 0o600), text)
	}
	require.ErrorContains(t, exposed(secrets[0], 0o604), "database")
	for _, text := range []string{
		`database = "postgres:///mail?host=/run/postgresql"`, `database = "mail@unix(/run/mysqld/mysqld.sock)/mail"`, `database_file = "/etc/liveapid/database"`, `key_file = "/etc/k"`,
		`doveadm_key = ""`, `required_strength = 65`, `scheme = "SHA512-CRYPT"`, `doveadm = "http://127.0.0.1:8080"`, `dsn = "mail@/mail"`, `auth = "pam"`, `author = "x"`,
	} {
		require.NoError(t, exposed(text, 0o644), text)
	}
	require.NoError(t, os.WriteFile(path, []byte("accounts = \"a\"\n[[plugin]]\npath = \"/usr/bin/php\"\nargs = [\"/opt/x.php\", \"--password=s3cret\"]\n"), 0o644))
	withArgs, err := config.Load(path)
	require.NoError(t, err)
	require.ErrorContains(t, withArgs.Exposed(), "args[1]")
	// A plugin's file.
	own := filepath.Join(plugins, "billing.toml")
	require.NoError(t, os.WriteFile(own, []byte("path = \"/opt/x\"\n[settings]\napi_token = \"s3cret\"\n"), 0o644))
	require.ErrorContains(t, exposed("", 0o644), "billing.toml contains secrets of the plugin billing (api_token)")
	require.NoError(t, os.Remove(own))
	// The group of a system user is accepted; the group of a person is not.
	if os.Geteuid() == 0 {
		require.NoError(t, exposed(secrets[0], 0o640))
		c, err := config.Load(path)
		require.NoError(t, err)
		require.NoError(t, os.Chown(path, 0, 1001))
		require.ErrorContains(t, c.Exposed(), "the group 1001")
		require.NoError(t, os.Chown(path, 0, 0))
		require.NoError(t, os.Chmod(path, 0o600))
		out, err := exec.Command("setfacl", "-m", "u:65534:r", path).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.ErrorContains(t, c.Exposed(), "the file's ACL")
	}
	require.NoError(t, os.Remove(path)) // Removes its access list too.
	// A file in a directory that others can't enter is not exposed.
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, exposed(secrets[0], 0o644))
}
