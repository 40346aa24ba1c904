package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// hostileModule has markup in every text of its description, and returns its arguments.
const hostileModule = `use strict; use warnings; use utf8; use LiveAPI::Module;
my $evil = q{<img src=x onerror=alert(1)><script>alert(2)</script>};
my $m = LiveAPI::Module->new(name => 'Hostile', help => $evil);
$m->uapi('give', help => $evil, returns => $evil, open => 1, params => [{name => 'text', help => $evil}],
    do => sub { my ($call) = @_; my %args = %{$call->args}; delete $args{password}; return [{ $evil => $evil, exact => 9007199254740993, args => \%args }] });
$m->serve;
`

// The API Shell for authors of modules: descriptions and results are shown as text; undescribed parameters
// can be added by name; history and code contain none of their secrets, and have the call that was made. The
// copied code runs.
func TestShellOfAModulesAuthor(t *testing.T) {
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	dir := filepath.Join(w.Dir, "modules", "Hostile")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "module.pl"), []byte(hostileModule), 0o755))
	password := w.SetPassword(t, "demo")
	host := w.Serve(t)
	web.Wait(t)
	b := newTab(t, 1280, 900, false)
	b.signIn(web.CPanel, "demo", password)
	b.do(chromedp.Submit("#pass"), chromedp.WaitVisible("#boxes .card"))
	b.choose("hostile")
	require.Contains(t, b.text("#fn-help"), "<script>alert(2)</script>")

	const text = `it's "quoted" & <b>bold</b> 100% $HOME \n +1 ü`
	b.do(fill("#p-text", text), fill("#more", "list=@one\nlist=two's\npassword=further secret 1"),
		chromedp.Click("#options summary"), fill("#o-columns", "args, exact"), run)
	b.until(`document.getElementById("confirm").open || document.getElementById("verdict").textContent.startsWith("Done.")`)
	if b.js(`String(document.getElementById("confirm").open)`) == "true" {
		b.do(chromedp.Click("#confirm-yes"))
	}
	b.until(`document.getElementById("verdict").textContent.startsWith("Done.")`)
	require.Contains(t, b.js(`document.getElementById("raw").textContent`), `"exact": 9007199254740993`, "as it was sent")
	require.Contains(t, b.js(`document.getElementById("raw").textContent`), `"list": [`)
	require.Equal(t, "0", b.js(`String(document.querySelectorAll("main img, main script").length)`))

	require.Contains(t, b.js(`document.getElementById("tree").textContent`), "exact: 9007199254740993")

	// It closes, and opens again.
	const folded = `String([...document.querySelectorAll("#tree details details")].some((d) => d.open))`
	b.do(chromedp.Click("#as-tree"))
	require.Equal(t, "true", b.js(folded))
	b.do(chromedp.Evaluate(`document.querySelectorAll("#tree details details > summary").forEach((s) => s.click()); 0`, nil))
	b.until(folded + ` === "false"`)

	// The history has the call without its secret, and restores the other arguments.
	require.Contains(t, b.text("#calls"), "list=@one list=two's password=PASSWORD api.columns=1 api.columns_0=args api.columns_1=exact")
	require.NotContains(t, b.js(`document.documentElement.outerHTML + document.getElementById("more").value`), "further secret")
	b.do(fill("#more", "another=1"), fill("#o-columns", ""), chromedp.Click("#calls button"))
	require.Equal(t, text, b.js(`document.getElementById("p-text").value`))
	require.Equal(t, "list=@one\nlist=two's", b.js(`document.getElementById("more").value`))
	require.Equal(t, "args, exact", b.js(`document.getElementById("o-columns").value`))
	require.Equal(t, "true", b.js(`String(document.getElementById("options").open)`))

	// Each of the copied codes runs as it was copied.
	token := w.Token(t, "demo")
	file := func(s string) string {
		path := filepath.Join(w.Dir, "snippet")
		require.NoError(t, os.WriteFile(path, []byte(s), 0o644))
		return path
	}
	bash := func(script string) *exec.Cmd {
		cmd := w.Command(t, "bash", "-c", script)
		cmd.Env = slices.DeleteFunc(cmd.Env, func(pair string) bool {
			return strings.HasPrefix(pair, "LIVEAPID_CONFIG=") || strings.HasPrefix(pair, "PERL5LIB=")
		})
		cmd.Env = append(cmd.Env, "TOKEN="+token)
		return cmd
	}
	// run returns the command that the snippet's comment names.
	run := func(s string) *exec.Cmd {
		_, command, ok := strings.Cut(s, "Run it with: ")
		require.True(t, ok, s)
		command, _, _ = strings.Cut(command, "\n")
		return bash(strings.Replace(command, "FILE", file(s), 1))
	}
	for language, start := range map[string]func(snippet string) *exec.Cmd{
		"PHP": run, "Perl": run, "Command line": bash, "curl": bash,
		"URL": func(s string) *exec.Cmd { // It is for the browser; here it is sent with the browser's cookie.
			require.Regexp(t, `^https://[^/]+/cpsess[0-9]{10}/`, s)
			return w.Command(t, "curl", "-sk", "-H", "Authorization: cpanel demo:"+token, s)
		},
	} {
		b.do(chromedp.Click(`//div[@id="snippet-tabs"]//button[text()="` + language + `"]`))
		snippet := b.js(`document.getElementById("snippet").textContent`)
		require.NotContains(t, snippet, token)
		out := hosttest.Output(t, start(snippet))
		for _, part := range []string{`it's`, `$HOME`, `100%`, `+1`, "two's", "@one"} {
			require.Contains(t, out, part, "%s\n%s", language, snippet)
		}
		require.NotContains(t, out, "onerror", "%s: the columns were asked for", language)
	}
	host.Stop(t)
	require.NotContains(t, host.Log.String(), "further secret")
}
