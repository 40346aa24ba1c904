package web

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// The API Shell keeps a call in its address, through a reload and a sign-in, and in the history of the tab, without its
// secrets; it is used by keys; and it shows lists as tables, in the colours that the user chose.
func TestShellKeepsCalls(t *testing.T) {
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	password := w.SetPassword(t, "demo")
	host := w.Serve(t)
	web.Wait(t)
	b := newTab(t, 1280, 900, false)
	// A link to a call, opened by a stranger: the sign-in leads to the call.
	b.do(chromedp.Navigate("https://"+web.CPanel+"/login#shell/uapi/Email/list_pops?regex=user&api.sort=1&api.sort_column=email"), chromedp.WaitVisible("#user"),
		chromedp.SendKeys("#user", "demo"), chromedp.SendKeys("#pass", password), chromedp.Submit("#pass"), chromedp.WaitVisible("#call"))
	require.Equal(t, "user", b.js(`document.getElementById("p-regex").value`))
	require.Equal(t, "email", b.js(`document.getElementById("o-sort-column").value`))
	require.Equal(t, "list_pops", b.text("#functions [aria-current=true]"))
	b.do(chromedp.Reload(), chromedp.WaitVisible("#call"))
	require.Equal(t, "user", b.js(`document.getElementById("p-regex").value`))

	// Ctrl+Enter runs from a field; the list is shown as a table, copied and saved.
	b.do(chromedp.Focus("#p-regex"), chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(2)))
	b.until(`document.getElementById("verdict").textContent.startsWith("Done.")`)
	b.do(chromedp.Click("#as-table"))
	require.Contains(t, b.text("#table"), "user@example.com")
	require.Equal(t, "email", b.text("#table th"))
	b.do(chromedp.Click("#answer-copy"))
	b.until(`document.getElementById("answer-copied").textContent === "Copied."`)
	var copied string
	b.do(chromedp.Evaluate(`navigator.clipboard.readText()`, &copied, await))
	require.Contains(t, copied, `"login": "user@example.com"`)
	b.do(chromedp.Click("#fn-returns summary"))
	require.Contains(t, b.text("#fn-shape"), "A list of: A record with email (text)")
	require.Contains(t, b.text("#fn-example"), `"suspended_login": 0`)
	b.accessible("a table")
	b.picture("shell-table")

	// The list of functions is one stop of the tab key, and Enter takes the only hit.
	require.Equal(t, "1", b.js(`String(document.querySelectorAll('#functions button[tabindex="0"]').length)`))
	b.do(fill("#search", ""), chromedp.Focus("#search"), chromedp.KeyEvent(kb.ArrowDown))
	first := b.js("document.activeElement.textContent")
	b.do(chromedp.KeyEvent(kb.ArrowDown))
	require.NotEqual(t, first, b.js("document.activeElement.textContent"))
	b.do(chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(kb.ArrowUp))
	require.Equal(t, "search", b.js("document.activeElement.id"))
	b.do(fill("#search", "passwd_pop"), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#p-password"))
	b.do(chromedp.SendKeys("#p-email", "user"), chromedp.SendKeys("#p-password", "Kept nowhere 1"), chromedp.Click("#call button[type=submit]"), chromedp.WaitVisible("#confirm"), chromedp.Click("#confirm-yes"))
	b.until(`document.getElementById("verdict").textContent.startsWith("Done.")`)

	// After the run, the code still has the secret's place, in every language.
	for _, language := range []string{"PHP", "Perl", "Command line", "curl"} {
		b.do(chromedp.Click(`//div[@id="snippet-tabs"]//button[text()="` + language + `"]`))
		require.Contains(t, b.text("#snippet"), "PASSWORD", language)
	}
	require.Contains(t, b.js("location.hash"), "#shell/uapi/Email/passwd_pop?email=user")
	b.do(chromedp.Reload(), chromedp.WaitVisible("#call"))
	require.Contains(t, b.text("#calls"), "Email::passwd_pop email=user password=PASSWORD", "the history is kept for the tab")
	require.NotContains(t, b.js("location.href + document.documentElement.outerHTML + JSON.stringify(sessionStorage)"), "Kept nowhere")

	// Dark, by the user's choice, on every page.
	light := b.js(`getComputedStyle(document.documentElement).backgroundColor`)
	b.do(chromedp.Click("#theme"))
	dark := b.js(`getComputedStyle(document.documentElement).backgroundColor`)
	require.NotEqual(t, light, dark)
	b.accessible("dark by choice")
	b.picture("shell-dark")
	address := b.js("location.origin + location.pathname")
	b.do(chromedp.Navigate(address+"docs"), chromedp.WaitVisible("article"))
	require.Equal(t, dark, b.js(`getComputedStyle(document.documentElement).backgroundColor`))
	b.accessible("reference in the dark")

	// Try it, from the reference.
	b.do(chromedp.Click(`a[aria-label="Try it: Email::count_pops of UAPI"]`), chromedp.WaitVisible("#call"))
	require.Equal(t, "Email::count_pops", b.text("#fn-name"))

	// A session that ended, and a host that is away, are told in words.
	b.do(chromedp.Evaluate(`fetch(location.pathname + "logout", {method: "POST", redirect: "manual"}).then(() => "")`, nil, await), run)
	b.until(`document.getElementById("verdict").textContent.startsWith("Your session ended.")`)
	require.Contains(t, b.text("#verdict"), "Sign in")
	host.Stop(t)
	b.do(run)
	b.until(`document.getElementById("verdict").textContent.startsWith("The host is not reachable.")`)
	b.picture("shell-away")
}

// Before a function is chosen, the API Shell explains itself; a function that does not exist is told.
func TestShellStart(t *testing.T) {
	w, web := open(t)
	b := newTab(t, 360, 740, false)
	b.signIn(web.CPanel, "demo", w.SetPassword(t, "demo"))
	b.do(chromedp.Submit("#pass"), chromedp.WaitVisible("#boxes .card"), chromedp.Click(`a[data-view=shell]`), chromedp.WaitVisible("#start"))
	require.Contains(t, b.text("#start"), "Choose a function")
	b.until(`document.documentElement.scrollWidth <= innerWidth`)
	b.accessible("the start")
	b.picture("shell-start-telephone")
	b.do(chromedp.Evaluate(`location.hash = "#shell/uapi/Nothing/here"; 0`, nil))
	b.until(`document.getElementById("alert").textContent.includes("There is no function Nothing::here")`)
}
