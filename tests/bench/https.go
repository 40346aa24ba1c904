package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// https compares the rate of password changes over HTTPS with the rate over the socket. It also measures the
// memory for idle TLS connections and the loading time of the API Shell in a browser.
func (b *bench) https() error {
	const mailboxes = 1000
	w, err := b.newWorld(mailboxes, "")
	if err != nil {
		return err
	}
	at, token, err := w.serveAPI("12083")
	defer w.stop()
	if err != nil {
		return err
	}
	address := at[0]
	length := 4 * time.Second
	if b.quick {
		length = time.Second
	}
	var rows [][]string
	for _, callers := range []int{1, 64} {
		base, latencies, err := w.changes(callers, mailboxes, length)
		if err != nil {
			return err
		}
		rows = append(rows, []string{"socket", fmt.Sprint(callers), fmt.Sprintf("%.0f/s", base), "1", ms(latencies.median()), ms(latencies.p99())})
		for _, kind := range []struct {
			name  string
			keep  bool
			http2 bool
		}{{"HTTPS, HTTP/1.1 kept alive", true, false}, {"HTTPS, HTTP/2", true, true}, {"HTTPS, a connection each", false, false}} {
			rate, latencies, err := httpsChanges(address, token, callers, mailboxes, length, kind.keep, kind.http2)
			if err != nil {
				return fmt.Errorf("%s: %w", kind.name, err)
			}
			rows = append(rows, []string{kind.name, fmt.Sprint(callers), fmt.Sprintf("%.0f/s", rate), ratio(rate, base), ms(latencies.median()), ms(latencies.p99())})
		}
	}
	table("passwdpop over HTTPS", []string{"way", "clients", "changes", "ratio to the socket", "median", "p99"}, rows)
	if err := w.idleConnections(address, b.times(5000)); err != nil {
		return err
	}
	return w.pages(address)
}

// serveAPI starts the world's host with the given ports of the HTTPS API and with all other ports off. It
// returns the addresses that replace the ports, in the same order, and a new token of the account demo.
func (w *world) serveAPI(ports ...string) (at []string, token string, err error) {
	if at, err = w.movePorts(ports...); err != nil {
		return nil, "", err
	}
	if err := w.serve(); err != nil {
		return nil, "", err
	}
	token, err = w.tool("", "token", "create", "--user=demo", "--name=bench")
	return at, token, err
}

// movePorts changes the sandbox's configuration: it replaces each port in keep by a free port, and turns all
// other ports off. It returns the new addresses in the order of keep.
func (w *world) movePorts(keep ...string) (at []string, err error) {
	path := filepath.Join(w.dir, "liveapid.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	to := map[string]string{"12083": "off", "12087": "off", "12096": "off"}
	for _, port := range keep {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		to[port] = l.Addr().String()
		at = append(at, to[port])
	}
	for port, address := range to {
		text = bytes.Replace(text, []byte(`"127.0.0.1:`+port+`"`), []byte(`"`+address+`"`), 1)
	}
	return at, os.WriteFile(path, text, 0o644)
}

// tool runs the command liveapi with the given arguments and standard input, and returns the last line of the
// command's output.
func (w *world) tool(stdin string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(w.b.bin, "liveapi"), args...)
	cmd.Env, cmd.Stdin = w.env, strings.NewReader(stdin)
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], err
}

// httpsChanges lets the given number of clients change passwords over HTTPS for the duration length. It
// returns the changes per second and the duration of each change. If keep is false, every request opens a new
// connection.
func httpsChanges(address, token string, clients, mailboxes int, length time.Duration, keep, http2 bool) (float64, samples, error) {
	return together(clients, mailboxes, length, func() (caller, error) {
		config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // It signs itself.
		transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: !keep, ForceAttemptHTTP2: http2, MaxIdleConnsPerHost: 1}
		client := &http.Client{Transport: transport, Timeout: time.Minute}
		return caller{
			change: func(box string, n int) error { return httpsChange(client, address, token, box, n) },
			end:    transport.CloseIdleConnections,
		}, nil
	})
}

func httpsChange(client *http.Client, address, token, box string, n int) error {
	form := url.Values{
		"cpanel_jsonapi_apiversion": {"2"}, "cpanel_jsonapi_module": {"Email"}, "cpanel_jsonapi_func": {"passwdpop"},
		"domain": {"example.com"}, "email": {box}, "password": {benchPassword + strconv.Itoa(n)},
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://"+address+"/json-api/cpanel", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "cpanel demo:"+token)
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err == nil && !bytes.Contains(body, []byte(`"result":1}]`)) {
		err = fmt.Errorf("refused: %s", body)
	}
	return err
}

// idleConnections opens n TLS connections that send no request, and measures how much memory the host uses
// before and after, and how long opening them takes.
func (w *world) idleConnections(address string, n int) error {
	before, _ := memory(w.host.Process.Pid)
	start := time.Now()
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range n {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // It signs itself.
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	took := time.Since(start)
	after, _ := memory(w.host.Process.Pid)
	table("Idle TLS connections", []string{"connections", "host before", "host with them", "made in"},
		[][]string{{fmt.Sprint(n), before, after, took.Round(10 * time.Millisecond).String()}})
	return nil
}

// pages measures the API Shell in Chromium: the number of fetched bytes, and the time until the list of
// functions has loaded. If Chromium is not installed, pages prints a message and returns nil.
func (w *world) pages(address string) error {
	const password = "for the benchmark 1"
	if _, err := w.tool(password+"\n", "password", "--user=demo"); err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors, chromedp.UserDataDir(filepath.Join(w.b.scratch, "chromium")))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	ctx, end := chromedp.NewContext(ctx)
	defer end()
	ctx, late := context.WithTimeout(ctx, time.Minute)
	defer late()
	var home string
	if err := chromedp.Run(ctx, chromedp.Navigate("https://"+address+"/"), chromedp.SendKeys("#user", "demo"), chromedp.SendKeys("#pass", password),
		chromedp.Submit("#pass"), chromedp.WaitVisible("#boxes .card"), chromedp.Location(&home)); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Println("\nThe pages are not measured: there is no Chromium.")
			return nil
		}
		return err
	}
	var ready, weight samples
	for range w.b.times(20) {
		var found []float64
		if err := chromedp.Run(ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#shell"), chromedp.WaitVisible("#functions button"),
			chromedp.Evaluate(`(() => {
				const all = performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"));
				const last = performance.getEntriesByType("resource").find((e) => e.name.includes("functions.json"));
				return [last.responseEnd, all.reduce((sum, e) => sum + e.transferSize, 0), all.length];
			})()`, &found)); err != nil {
			return err
		}
		ready = append(ready, time.Duration(found[0]*float64(time.Millisecond)))
		weight = append(weight, time.Duration(found[1]))
	}
	table("The API Shell in Chromium", []string{"fetched", "until its functions can be chosen, median", "at most"},
		[][]string{{fmt.Sprintf("%.0f KiB", float64(weight.median())/1024), ms(ready.median()), ms(ready.p99())}})
	return nil
}
