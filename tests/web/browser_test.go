package web

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// tab is a tab of Chromium with a page.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// newTab starts a Chromium.
func newTab(t *testing.T, width, height int64, dark bool) *tab {
	t.Helper()
	// Chromium's children write there for a moment after its end.
	profile, err := os.MkdirTemp("", "lwchrome")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.RemoveAll(profile) == nil }, hosttest.Patience, hosttest.Tick)
	})
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("/usr/bin/chromium"), chromedp.WSURLReadTimeout(hosttest.Patience), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.UserDataDir(profile), chromedp.Env("TMPDIR="+profile), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	ctx, late := context.WithTimeout(ctx, 4*hosttest.Patience)
	t.Cleanup(late)
	b := &tab{t, ctx}
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.do(chromedp.EmulateViewport(width, height),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		browser.SetPermission(&browser.PermissionDescriptor{Name: "clipboard-read"}, browser.PermissionSettingGranted),
		browser.SetPermission(&browser.PermissionDescriptor{Name: "clipboard-write"}, browser.PermissionSettingGranted))
	return b
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, actions...))
}

// js runs a script and returns its result.
func (b *tab) js(script string) (out string) {
	b.t.Helper()
	b.do(chromedp.Evaluate(script, &out, chromedp.EvalAsValue))
	return out
}

// until waits until a script returns true.
func (b *tab) until(script string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		var is bool
		return chromedp.Run(b.ctx, chromedp.Evaluate(script, &is)) == nil && is
	}, hosttest.Patience, hosttest.Tick, "%s\n%s", script, b.text("body"))
}

// text returns the visible text of an element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return b.js("document.querySelector(" + quote(selector) + ")?.innerText ?? ''")
}

// choose opens the API Shell with the only function that matches a search.
func (b *tab) choose(search string) {
	b.t.Helper()
	b.do(chromedp.Click(`a[data-view=shell]`), chromedp.WaitVisible("#functions button"), chromedp.SendKeys("#search", search))
	b.until(`document.getElementById("found").textContent.startsWith("One function.")`)
	b.do(chromedp.Click("#functions button"), chromedp.WaitVisible("#call"))
}

// run clicks the API Shell's button.
var run = chromedp.Click("#call button[type=submit]")

// fill replaces the text of a field, with the same events as typing.
func fill(selector, text string) chromedp.Action {
	return chromedp.Tasks{
		chromedp.Evaluate("{const e = document.querySelector("+quote(selector)+"); e.value = ''; e.dispatchEvent(new Event('input', {bubbles: true})); 0}", nil),
		chromedp.SendKeys(selector, text),
	}
}

// await waits for a script's promise.
func await(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

func quote(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

// picture stores a screenshot, for people to look at.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := filepath.Join(hosttest.Root(b.t), "artifacts")
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	var shot []byte
	b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		shot, err = page.CaptureScreenshot().WithCaptureBeyondViewport(false).Do(ctx)
		return err
	}))
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644))
}

// accessible checks the page with axe-core. Serious findings fail the test.
func (b *tab) accessible(where string) {
	b.t.Helper()
	b.accessibleIn(where, "document")
}

// accessibleIn does the same as accessible for the part of the page that the script root returns.
func (b *tab) accessibleIn(where, root string) {
	b.t.Helper()
	axe, err := os.ReadFile(filepath.Join(hosttest.Root(b.t), "bin", "tools", "npm", "node_modules", "axe-core", "axe.min.js"))
	require.NoError(b.t, err)
	var found []struct {
		ID, Impact, Help string
		Nodes            []struct{ HTML string }
	}
	// Through the debugging protocol, because the page's policy allows no foreign script.
	b.do(chromedp.Evaluate(string(axe)+";0", nil),
		chromedp.Evaluate(`axe.run(`+root+`, {resultTypes: ["violations"]}).then((r) => r.violations)`, &found, await))
	for _, f := range found {
		require.NotContains(b.t, []string{"serious", "critical"}, f.Impact, "%s: %+v", where, f)
	}
}

func (b *tab) signIn(address, user, password string) {
	b.t.Helper()
	b.do(chromedp.Navigate("https://"+address+"/"), chromedp.WaitVisible("#user"),
		chromedp.SendKeys("#user", user), chromedp.SendKeys("#pass", password))
}

// All pages, used like a person would. These tests run one after another, because a browser needs the whole
// machine.
func TestPagesInChromium(t *testing.T) {
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	password := w.SetPassword(t, "demo")
	w.Start(t)
	web.Wait(t)
	hosttest.Output(t, w.Command(t, "uapi", "--user=demo", "Email", "add_pop", "email=archive", "password=For the archive 1", "quota=10"))
	mail := filepath.Join(w.Dir, "home", "demo", "mail", "example.com", "archive", "cur", "1.M1.x,S=9437184:2,S")
	require.NoError(t, os.WriteFile(mail, make([]byte, 9<<20), 0o600))
	hosttest.Output(t, w.Command(t, "cpapi2", "--user=demo", "Email", "clearpopcache", "username=archive@example.com"))
	b := newTab(t, 1280, 900, false)

	b.signIn(web.CPanel, "demo", "wrong")
	b.accessible("sign in")
	b.picture("sign-in")
	b.do(chromedp.Submit("#pass"), chromedp.WaitVisible(".alert"))
	require.Contains(t, b.text(".alert"), "wrong")
	require.Equal(t, "demo", b.js(`document.getElementById("user").value`))
	b.do(chromedp.SendKeys("#pass", password), chromedp.SendKeys("#pass", kb.Enter), chromedp.WaitVisible("#boxes .card"))
	require.Regexp(t, `^https://127\.0\.0\.1:\d+/cpsess\d{10}/$`, b.js("location.href"))
	// The tab finds its session again from the bare address. Another tab, which has only the cookie, does
	// not.
	here := b.js("location.href")
	b.do(chromedp.Navigate("https://"+web.CPanel+"/"), chromedp.WaitVisible("#boxes .card"))
	require.Equal(t, here, b.js("location.href"))
	b.do(chromedp.Evaluate("sessionStorage.clear()", nil),
		chromedp.Navigate("https://"+web.CPanel+"/"), chromedp.WaitVisible("#user"))
	require.NotContains(t, b.js("document.documentElement.outerHTML"), "cpsess")
	b.do(chromedp.Navigate(here), chromedp.WaitVisible("#boxes .card"))
	require.Contains(t, b.text("#boxes"), "user@example.com")
	require.Contains(t, b.text("#boxes"), "no quota")
	require.Contains(t, b.text("#boxes"), "9.0 MiB of 10.0 MiB used (90 %)")
	require.Equal(t, "0.9", b.js(`{const m = document.querySelector("#boxes meter"); String(m.value / m.max)}`))
	b.accessible("dashboard")
	b.picture("dashboard")

	// Changing a password on the dashboard: a weak one is shown as weak, a better one is accepted.
	b.do(chromedp.Click(`button[aria-label$=" user@example.com"]`), chromedp.WaitVisible("#password"), chromedp.SendKeys("#new", "password"))
	b.until(`/^Strength \d+ of 100/.test(document.getElementById("strength-text").textContent)`)
	weak := b.text("#strength-text")
	b.accessible("password")
	b.do(fill("#new", "a long <b>& better</b> one: 7"))
	b.until(`document.getElementById("strength-text").textContent.includes("good enough") && Number(document.getElementById("strength").value) > 60`)
	require.NotEqual(t, weak, b.text("#strength-text"))
	b.picture("password")
	b.do(chromedp.Click("#password-form .primary"), chromedp.WaitNotVisible("#password"))
	b.until(`document.getElementById("boxes-note").textContent.includes("is changed")`)
	require.True(t, verifies(t, w, "a long <b>& better</b> one: 7"))

	// The API Shell with the keyboard only: search, choose, fill in, run, confirm.
	b.do(chromedp.Click(`a[data-view=shell]`), chromedp.WaitVisible("#functions button"),
		chromedp.Click(`input[name=api][value="2"]`), chromedp.Focus("#search"), chromedp.KeyEvent("passwdpop"))
	b.until(`document.getElementById("found").textContent.startsWith("One function.")`)
	b.do(chromedp.Focus("#functions button"), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#call"))
	require.Equal(t, "fn-name", b.js("document.activeElement.id"))
	for _, value := range []string{"example.com", "user", "Shell <script>alert(1)</script> 8"} {
		b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(value))
	}
	require.Contains(t, b.text("#call"), "The mailbox's domain")
	b.accessible("shell")
	b.picture("shell-form")
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#confirm"))
	require.Contains(t, b.text("#confirm-text"), "Email::passwdpop")
	b.picture("shell-confirm")
	b.accessible("confirm")
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitNotVisible("#confirm"))
	b.until(`/^Done\. It took \d+ ms\.$/.test(document.getElementById("verdict").textContent)`)
	require.True(t, verifies(t, w, "Shell <script>alert(1)</script> 8"))
	require.Contains(t, b.text("#tree"), `module: "Email"`)
	b.do(chromedp.Click("#as-raw"))
	require.Contains(t, b.text("#raw"), `"func": "passwdpop"`)
	require.Contains(t, b.text("#calls"), "password=PASSWORD")
	require.NotContains(t, b.js("document.documentElement.outerHTML"), "Shell <script>", "a secret stays nowhere on the page")
	require.Empty(t, b.js(`document.getElementById("p-password").value`))
	b.accessible("answer")
	b.picture("shell-answer")

	// The same call as code.
	b.do(chromedp.Click("#copy"))
	b.until(`document.getElementById("copied").textContent === "Copied."`)
	var copied string
	b.do(chromedp.Evaluate(`navigator.clipboard.readText()`, &copied, await))
	require.Contains(t, copied, "$cpanel->api2(\n    'Email', 'passwdpop',")
	require.Contains(t, copied, "'domain' => 'example.com',")
	require.NotContains(t, copied, "alert(1)")

	// An error is shown as text, whatever it quotes.
	b.do(fill("#p-email", `<img src=x onerror=alert(2)>`), chromedp.SendKeys("#p-password", "whatever 1"),
		run, chromedp.WaitVisible("#confirm"), chromedp.Click("#confirm-yes"))
	b.until(`document.getElementById("verdict").textContent.startsWith("Failed: ")`)
	require.Equal(t, "0", b.js(`String(document.querySelectorAll("#answer img, #history img").length)`))
	b.do(chromedp.Click("#forget"))

	// Lists: sorted, filtered, in pages, with fewer columns.
	b.do(chromedp.Click(`input[name=api][value="3"]`), fill("#search", "list_pops"),
		chromedp.Click(`//div[@id="functions"]//button[text()="list_pops"]`), chromedp.WaitVisible("#call"), chromedp.Click("#options summary"),
		chromedp.SendKeys("#o-filter-column", "email"), chromedp.SendKeys("#o-filter-term", "@"), chromedp.SendKeys("#o-columns", "email"), run)
	b.until(`document.getElementById("verdict").textContent.startsWith("Done.")`)
	require.Contains(t, b.js(`document.getElementById("raw").textContent`), `"records_before_filter": 3`)

	// The reference, and signing out: the session can't be used any more.
	address := b.js("location.origin + location.pathname")
	b.do(chromedp.Navigate(address+"docs"), chromedp.WaitVisible("article"))
	require.Contains(t, b.text("main"), "Email::passwd_pop")
	b.accessible("reference")
	b.picture("reference")
	b.do(chromedp.Navigate(address), chromedp.WaitVisible("#boxes .card"), chromedp.Click(".leave button"), chromedp.WaitVisible("#user"))
	b.do(chromedp.Navigate(address), chromedp.WaitVisible("#user"))
}

// The same pages in dark mode on a narrow screen: nothing is wider than the page.
func TestPagesOnATelephone(t *testing.T) {
	w, web := open(t)
	b := newTab(t, 360, 740, true)
	b.signIn(web.CPanel, "demo", w.SetPassword(t, "demo"))
	b.do(chromedp.Submit("#pass"), chromedp.WaitVisible("#boxes .card"))
	fits := `document.documentElement.scrollWidth <= innerWidth`
	b.until(fits)
	b.accessible("dashboard in the dark")
	b.picture("telephone-dashboard")
	b.choose("passwd_pop")
	b.until(fits)
	b.accessible("shell in the dark")
	b.picture("telephone-shell")

	// A mailbox user sees a single mailbox, and must enter the current password.
	b.signIn(web.Webmail, "user@example.com", "Old.passw0rd-1")
	b.do(chromedp.Submit("#pass"), chromedp.WaitVisible("#boxes .card"), chromedp.Click("#boxes button"), chromedp.WaitVisible("#current"),
		chromedp.SendKeys("#current", "not it"), chromedp.SendKeys("#new", "by the mailbox 9"), chromedp.Click("#password-form .primary"), chromedp.WaitVisible("#password-error"))
	require.Contains(t, b.text("#password-error"), "current_password")
	b.picture("telephone-password")
	b.do(fill("#current", "Old.passw0rd-1"), chromedp.Click("#password-form .primary"), chromedp.WaitNotVisible("#password"))
	require.True(t, verifies(t, w, "by the mailbox 9"))
}

// The server's operator chooses an account and makes calls for it.
func TestPagesOfWHM(t *testing.T) {
	w, web := open(t)
	b := newTab(t, 1000, 800, false)
	b.signIn(web.WHM, "root", w.SetPassword(t, "root"))
	b.do(chromedp.Submit("#pass"), chromedp.WaitVisible("#boxes .card"))
	require.Equal(t, "demo", b.js(`document.getElementById("account").value`))
	b.choose("count_pops")
	b.do(run)
	b.until(`document.getElementById("verdict").textContent.startsWith("Done.")`)
	require.Contains(t, b.js(`document.getElementById("snippet").textContent`), "$cpanel->uapi(")
	b.accessible("server")
	b.picture("server-shell")
	// No request went to another host.
	var hosts []string
	b.do(chromedp.Evaluate(`[...new Set(performance.getEntriesByType("resource").map((e) => new URL(e.name).host))]`, &hosts))
	require.Equal(t, []string{web.WHM}, hosts)
}

// verifies reports whether a password is the password of the sandbox's mailbox.
func verifies(t *testing.T, w *hosttest.World, password string) bool {
	t.Helper()
	cmd := w.Command(t, "uapi", "--user=demo", "--output=json", "Email", "verify_password", "email=user@example.com", "password=-")
	cmd.Stdin = strings.NewReader(password + "\n")
	return strings.Contains(hosttest.Output(t, cmd), `"data":1,`)
}
