package account

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// An account's file may describe the sites, and contain the facts under names of its own.
func TestFactsInTheAccountFile(t *testing.T) {
	dir := t.TempDir()
	d := NewDir(filepath.Join(dir, "accounts"), true)
	write(t, filepath.Join(dir, "accounts/demo.toml"), `home = "/home/demo"
domains = ["example.com", "Addon.example"]
contact = "me@example.net"
plan = "large"
theme = "jupiter"
locale = "de"
lacks = ["ftpaccts"]
[data]
PLAN = "small"
OWNER = "root"
[sites."addon.example"]
kind = "addon"
document_root = "sites/addon"
subdomain = "addon.example.com"
`)
	a, err := d.ByName("demo")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"CONTACTEMAIL": "me@example.net", "PLAN": "large", "THEME": "jupiter", "LOCALE": "de", "OWNER": "root"}, a.Data)
	require.Equal(t, protocol.Site{Kind: protocol.AddonSite, Root: "/home/demo/sites/addon", Sub: "addon.example.com"}, a.Site("addon.example"))
	require.False(t, a.HasFeature("ftpaccts"))
	require.True(t, a.HasFeature("popaccts"))
	for _, c := range []struct{ text, says string }{
		{"[sites.\"example.com\"]\nkind = \"own\"\n", "kind: must be addon, parked or sub"},
		{"[sites.\"other.example\"]\nkind = \"sub\"\n", "the domain is not in the list domains"},
	} {
		write(t, filepath.Join(dir, "accounts/bad.toml"), "home = \"/h\"\ndomains = [\"example.com\"]\n"+c.text)
		_, err := d.ByName("bad")
		require.ErrorContains(t, err, c.says)
	}
}

// A cPanel server's files: users files, userdatadomains and feature lists.
func TestFactsOfACPanelServer(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("users/demo"), "USER=demo\nDNS=example.com\nDNS1=addon.example\nDNS2=addon.example.com\nDNS3=alias.example\nFEATURELIST=small\nFEATURE-CRON=0\nFEATURE-BACKUP=1\nMAXSUB=5\nCONTACTEMAIL=me@example.net\n")
	write(t, path("features/small"), "popaccts=1\nftpaccts=0\nbackup=0\n\nnot a line\n")
	write(t, path("features/disabled"), "apitokens=0\n")
	write(t, path("userdatadomains"), "example.com: demo==root==main==example.com==/home/demo/public_html==192.0.2.1:80======0==\n"+
		"addon.example: demo==root==addon==addon.example.com==/home/demo/addon==192.0.2.1:80======0==\n"+
		"addon.example.com: demo==root==sub==example.com==/home/demo/addon==192.0.2.1:80======0==\n"+
		"alias.example: demo==root==parked==example.com==/home/demo/public_html==192.0.2.1:80======0==\nbroken line\nx.example: y==z\n")
	c := cpanel{users: path("users"), userdata: path("userdatadomains"), features: path("features")}
	find := func(name string) (protocol.Account, error) {
		return protocol.Account{Name: name, UID: 1001, GID: 1001, Home: "/home/" + name}, nil
	}
	r, err := c.all(find)
	require.NoError(t, err)
	require.Empty(t, r.errs)
	a := r.accounts[0]
	require.Equal(t, []string{"apitokens", "cron", "ftpaccts"}, a.Lacks, "of the list, of the users file, and of the list of disabled features")
	require.True(t, a.HasFeature("backup"), "the users file turns it on")
	require.Equal(t, "5", a.Data["MAXSUB"])
	require.Equal(t, protocol.Site{Kind: protocol.AddonSite, Root: "/home/demo/addon", Sub: "addon.example.com"}, a.Site("addon.example"))
	require.Equal(t, []string{"alias.example"}, a.DomainsOf(protocol.ParkedSite))
	require.Equal(t, []string{"addon.example.com"}, a.DomainsOf(protocol.SubSite))

	// A feature list that can't be read makes the account unusable: it might lack a feature.
	require.NoError(t, os.Remove(path("features/small")))
	require.NoError(t, os.Mkdir(path("features/small"), 0o755))
	r, err = c.all(find)
	require.NoError(t, err)
	require.Empty(t, r.accounts)
	require.Len(t, r.errs, 1)
	// A missing list turns nothing off, and a name can't lead out of the directory.
	require.NoError(t, os.Remove(path("features/small")))
	r, err = c.all(find)
	require.NoError(t, err)
	require.Equal(t, []string{"apitokens", "cron"}, r.accounts[0].Lacks)
	write(t, path("users/demo"), "DNS=example.com\nFEATURELIST=../users/demo\n")
	r, err = c.all(find)
	require.NoError(t, err)
	require.ErrorContains(t, r.errs[0], "not a name of a feature list")
}

func TestUserData(t *testing.T) {
	files := map[string]string{
		"main":              "---\nmain_domain: Example.com\naddon_domains:\n  addon.example: addon.example.com\nparked_domains:\n  - alias.example\nsub_domains:\n  - addon.example.com\n  - shop.example.com\n",
		"Example.com":       "documentroot: /home/demo/public_html\n",
		"addon.example.com": "documentroot: /home/demo/addon\nother: [1, 2]\n",
		"shop.example.com":  "documentroot: [not, a, text]\n",
	}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	sites, err := UserData(read)
	require.NoError(t, err)
	require.Equal(t, map[string]protocol.Site{
		"example.com":       {Kind: protocol.MainSite, Root: "/home/demo/public_html"},
		"addon.example":     {Kind: protocol.AddonSite, Root: "/home/demo/addon", Sub: "addon.example.com"},
		"addon.example.com": {Kind: protocol.SubSite, Root: "/home/demo/addon"},
		"shop.example.com":  {Kind: protocol.SubSite},
		"alias.example":     {Kind: protocol.ParkedSite},
	}, sites)
	files["addon.example.com"] += "homedir: /home/demo\n"
	sites, err = UserData(read)
	require.NoError(t, err)
	require.Equal(t, "addon", sites["addon.example"].Root, "below the home")
	files["main"] = "main_domain: ["
	_, err = UserData(read)
	require.ErrorContains(t, err, "userdata: main")
	delete(files, "main")
	sites, err = UserData(read)
	require.NoError(t, err)
	require.Empty(t, sites)
}
