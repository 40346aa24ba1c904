package account

import (
	"os/user"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOtherDatabases(t *testing.T) {
	for config, want := range map[string]bool{
		"": false, "passwd: files\n": false, "passwd:         files systemd\ngroup: files ldap\n": false, "# passwd: ldap\npasswd: files # sss\n": false,
		"passwd: files [NOTFOUND=return] systemd\n": false, "hosts: dns\npasswd: files sss\n": true, "passwd: compat\n": true, "passwd: ldap files\n": true,
	} {
		require.Equal(t, want, otherDatabases(config), "%q", config)
	}
}

func TestPasswdUser(t *testing.T) {
	u, ok := passwdUser("anna:x:1001:1002:Anna A:/home/anna:/bin/sh")
	require.True(t, ok)
	require.Equal(t, &user.User{Username: "anna", Uid: "1001", Gid: "1002", Name: "Anna A", HomeDir: "/home/anna"}, u)
	_, ok = passwdUser("anna:x:1001")
	require.False(t, ok)
}

func TestUnknownUser(t *testing.T) {
	for _, name := range []string{"no-such-user-here", "", "0", "-x", "a:b"} {
		_, err := lookUp(name)
		require.ErrorAs(t, err, new(user.UnknownUserError), name)
	}
	u, err := lookUp("root")
	require.NoError(t, err)
	require.Equal(t, "0", u.Uid)
}
