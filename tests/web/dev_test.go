package web

import (
	"bufio"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/tests/ports"
)

// devPages are pages with the mistakes that authors make, and pages without.
var devPages = map[string]string{
	"exception.live.php": `<?php
require_once '/usr/local/cpanel/php/cpanel.php';
$cpanel = new CPANEL();
print $cpanel->header('Half');
$cpanel->uapi('Email', 'list_pops', array());
echo '<form><textarea>half a page';
function inner($password) {
    throw new RuntimeException('It broke: ö.');
}
inner('c4n4ry');
`,
	"syntax.live.php": "<?php\n$x = ;\n",
	"fatal.live.php":  "<!DOCTYPE html><html><body><p>before</p>\n<?php\nrequire 'missing.php';\n",
	"die.live.pl":     "use strict;\nprint \"Content-Type: text/html\\r\\n\\r\\n<p>half\";\nsub inner { die 'It broke.' }\ninner('c4n4ry');\n",
	"syntax.live.pl":  "use strict;\nmy $x = ;\n",
	"good.live.php": `<?php
require_once '/usr/local/cpanel/php/cpanel.php';
$cpanel = new CPANEL();
$cpanel->api2('Email', 'passwdpop', array('domain' => 'example.com', 'email' => 'user', 'password' => 'Fresh.' . 'passw0rd-7'));
$cpanel->uapi('Email', 'count_pops', array());
$cpanel->uapi('Email', 'passwd_pop', array('domain' => 'example.com', 'email' => 'nobody', 'password' => 'Fresh.' . 'passw0rd-7'));
echo '<!DOCTYPE html><html lang="en"><head><title>Good</title></head><body><h1>Good</h1>', $undefined, '</body></html>';
`,
	"data.live.php": "<?php header('Content-Type: application/json'); echo '{\"a\":1}'; throw new Exception('x');\n",
	"plain.php":     "<?php echo '<p>', 'plain ', 'runs';\n",
	"old.php.bak":   "<?php $secret = 'c4n4ry';\n",
}

// serveDev runs liveapi dev and returns the address to open first.
func serveDev(t *testing.T) (w *hosttest.World, dir, address string) {
	t.Helper()
	w = hosttest.Sandbox(t)
	dir = t.TempDir()
	for name, text := range devPages {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	cmd := w.Command(t, "liveapi", "dev", "--config", w.Config, "--listen", ports.Address(ports.Free(t)), dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	_, address, found := strings.Cut(strings.TrimSpace(line), "http://")
	require.True(t, found, line)
	return w, dir, "http://" + address
}

// overlayText is a script that returns the text of the overlay, or "".
const overlayText = `(document.querySelector("liveapi-error")?.shadowRoot.querySelector(".panel")?.innerText ?? "")`

// The error that ends a page is shown over the page, with its file, line, excerpt and stack, also if half the page was
// sent. An edit that repairs the page removes it.
func TestDevOverlay(t *testing.T) {
	w, dir, address := serveDev(t)
	b := newTab(t, 1200, 900, false)
	b.do(chromedp.Navigate(address))
	at, err := url.Parse(address)
	require.NoError(t, err)
	show := func(name string) {
		t.Helper()
		b.do(chromedp.Navigate("http://" + at.Host + "/" + name))
	}
	for name, has := range map[string][]string{
		"exception.live.php": {"RuntimeException", "It broke: ö.", "exception.live.php:8", "throw new RuntimeException", "inner", "exception.live.php:10"},
		"syntax.live.php":    {"Parse error", "unexpected token", "syntax.live.php:2", "$x = ;"},
		"fatal.live.php":     {"Failed opening required", "fatal.live.php:3", "require 'missing.php'"},
		"die.live.pl":        {"It broke.", "die.live.pl:3", "sub inner", "main::inner", "die.live.pl:4"},
		"syntax.live.pl":     {"syntax error", "syntax.live.pl:2", "my $x = ;"},
	} {
		show(name)
		b.until(overlayText + `!== ""`)
		for _, text := range has {
			require.Contains(t, b.js(overlayText), text, name)
		}
		require.NotContains(t, b.js(`document.querySelector("liveapi-error").shadowRoot.querySelector(".stack")?.innerText ?? ""`), "c4n4ry", "arguments are not shown")
	}
	show("exception.live.php")
	b.until(overlayText + `!== ""`)
	b.accessibleIn("the overlay", `document.querySelector("liveapi-error")`)
	b.picture("dev-overlay")
	require.Contains(t, b.js(`document.querySelector("textarea").value`), "half a page", "what was sent is still there")
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(overlayText + `=== ""`)

	// The page is loaded again when the author repairs it, or edits a module.
	show("syntax.live.php")
	b.until(overlayText + `!== ""`)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "syntax.live.php"), []byte("<!DOCTYPE html><title>Repaired</title><p>Repaired"), 0o644))
	b.until(`document.title === "Repaired"`)
	b.until(overlayText + `=== ""`)
	b.do(chromedp.Evaluate(`window.before = true; 0`, nil))
	module := filepath.Join(w.Dir, "modules", "New")
	require.NoError(t, os.MkdirAll(module, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(module, "module.pl"), []byte("1;"), 0o644))
	b.until(`window.before === undefined`)

	// Other answers are left alone, and no source is shown.
	for name, want := range map[string]string{"data.live.php": `{"a":1}`, "plain.php": "plain runs"} {
		show(name)
		b.until(`document.body.innerText.includes(` + quote(want) + `)`)
	}
	show("old.php.bak")
	require.NotContains(t, b.js(`document.documentElement.outerHTML`), "c4n4ry")
	fetched := `fetch("/exception.live.php").then((r) => r.text())`
	show("plain.php")
	var text string
	b.do(chromedp.Evaluate(fetched, &text, await))
	require.NotContains(t, text, "page.js", "an answer for a program is not changed")

	for scheme, width := range map[bool]int64{true: 360, false: 360} {
		phone := newTab(t, width, 740, scheme)
		phone.do(chromedp.Navigate(address), chromedp.Navigate("http://"+at.Host+"/die.live.pl"))
		phone.until(overlayText + `!== ""`)
		phone.until(`document.documentElement.scrollWidth <= innerWidth`)
		phone.accessibleIn("the overlay on a telephone", `document.querySelector("liveapi-error")`)
		if scheme {
			phone.picture("dev-overlay-telephone")
		}
	}
}

// The list of calls opens each call, repeats it, copies it as code, filters and empties the list, and shows no secret.
func TestDevCalls(t *testing.T) {
	w, _, address := serveDev(t)
	at, err := url.Parse(address)
	require.NoError(t, err)
	b := newTab(t, 1200, 900, false)
	b.do(chromedp.Navigate(address), chromedp.Navigate("http://"+at.Host+"/.liveapi/"))
	b.until(`document.getElementById("state").innerText.includes("No page has run yet.")`)
	b.picture("dev-calls-empty")
	b.do(chromedp.Navigate("http://"+at.Host+"/exception.live.php"), chromedp.Navigate("http://"+at.Host+"/good.live.php"), chromedp.Navigate("http://"+at.Host+"/.liveapi/"))
	b.until(`document.querySelectorAll(".run").length === 2`)
	require.True(t, verifies(t, w, "Fresh.passw0rd-7"))
	all := b.text("body")
	require.Contains(t, all, "Email::passwdpop API 2")
	require.Contains(t, all, "It broke: ö.")
	require.Contains(t, all, "Undefined variable $undefined")
	require.NotEqual(t, b.js(`getComputedStyle(document.querySelector(".call.failed .name")).color`), b.js(`getComputedStyle(document.querySelector(".call:not(.failed) .name")).color`), "errors are coloured")
	require.Equal(t, "/good.live.php", b.js(`document.querySelector(".run h2 a").getAttribute("href")`))

	call := `[...document.querySelectorAll(".call")].find((c) => c.innerText.includes("passwdpop"))`
	b.do(chromedp.Evaluate(call+`.querySelector("summary").click(); 0`, nil))
	b.until(call + `.innerText.includes("domain: ")`)
	require.Contains(t, b.js(call+`.innerText`), `password: "[masked]"`)
	b.do(chromedp.Evaluate(`for (const b of `+call+`.querySelectorAll("button")) if (b.textContent === "Raw") b.click(); 0`, nil))
	require.Contains(t, b.js(call+`.innerText`), `"password": "[masked]"`)
	require.Contains(t, b.js(call+`.innerText`), `"result": 1`)
	b.accessible("the list of calls")
	b.picture("dev-calls")
	for language, has := range map[string]string{"PHP": `$cpanel->api2('Email', 'passwdpop', array(`, "Perl": `$cpanel->api2('Email', 'passwdpop', {`, "shell": "cpapi2 --user=demo Email passwdpop domain=example.com"} {
		b.do(chromedp.Evaluate(`[...`+call+`.querySelectorAll("button")].find((b) => b.textContent === `+quote("Copy as "+language)+`).id = "copy-`+language+`"; 0`, nil),
			chromedp.Click("#copy-"+language))
		b.until(`document.querySelector(".code")?.innerText.includes(` + quote(has) + `)`)
		require.Contains(t, b.text(".code"), "Copied.")
		var copied string
		b.do(chromedp.Evaluate(`navigator.clipboard.readText()`, &copied, await))
		require.Contains(t, copied, has)
		require.NotContains(t, copied, "Fresh.passw0rd")
	}

	// A repeated call is made with its secrets, which never reached the browser.
	b.do(chromedp.Evaluate(`[...`+call+`.querySelectorAll("button")].find((b) => b.textContent === "Repeat the call").click(); 0`, nil),
		chromedp.WaitVisible("#sure"), chromedp.Click(`#sure button[value=yes]`))
	b.until(`document.querySelectorAll(".run").length === 3`)
	require.Contains(t, b.text(".run"), "REPLAY")
	require.NotContains(t, b.text(".run"), "failed")
	require.NotContains(t, b.js(`document.documentElement.outerHTML`), "Fresh.passw0rd")

	b.do(chromedp.SendKeys("#words", "count_pops"))
	b.until(`document.querySelectorAll(".call").length === 1`)
	b.do(fill("#words", "nothing like this"))
	b.until(`document.getElementById("state").innerText === "No run matches the filter."`)
	b.do(fill("#words", "e"), chromedp.Click("#only-failed"))
	b.until(`document.querySelectorAll(".call").length === 1 && document.querySelector(".call").className.includes("failed")`)
	b.do(chromedp.Click("#clear"))
	b.until(`document.querySelectorAll(".run").length === 0`)

	phone := newTab(t, 360, 740, true)
	phone.do(chromedp.Navigate(address), chromedp.Navigate("http://"+at.Host+"/good.live.php"), chromedp.Navigate("http://"+at.Host+"/.liveapi/"))
	phone.until(`document.querySelectorAll(".call").length === 3`)
	phone.do(chromedp.Evaluate(`document.querySelector(".call summary").click(); 0`, nil))
	phone.until(`document.documentElement.scrollWidth <= innerWidth`)
	phone.accessible("the list of calls on a telephone")
	phone.picture("dev-calls-telephone")
}
