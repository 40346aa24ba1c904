package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// failure is a request whose authentication must fail. kind is the name of the reason in the table, address
// is the front door's address, and authorization is the value of the HTTP header.
type failure struct{ kind, address, authorization string }

// signin measures whether a client can learn the reason for a failed authentication from the time that the
// host takes to reject it.
func (b *bench) signin() error {
	const tries = 4 // Few attempts per mailbox, so that none is throttled.
	each := b.times(2000)
	w, err := b.newWorld(each/tries+1, "")
	if err != nil {
		return err
	}
	at, token, err := w.serveAPI("12083", "12096")
	defer w.stop()
	if err != nil {
		return err
	}
	basic := func(name string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+"@example.com:wrong"))
	}
	swap := func(i int) string { // Returns the token with a different character at index i.
		other := byte('A')
		if token[i] == other {
			other = 'B'
		}
		return "cpanel demo:" + token[:i] + string(other) + token[i+1:]
	}
	kinds := []string{"a mailbox, a wrong password", "no such mailbox", "a mailbox that has to wait", "a token, its first half right", "a token, all right but its end", "no such token"}
	var all []failure
	for i := range each {
		secret := len(token) - 32 // The token's last 32 characters belong to its secret.
		all = append(all,
			failure{kinds[0], at[1], basic(fmt.Sprint("b", i/tries))},
			failure{kinds[1], at[1], basic(fmt.Sprint("n", i/tries))},
			failure{kinds[2], at[1], basic("user")},
			failure{kinds[3], at[0], swap(secret + i%16)},
			failure{kinds[4], at[0], swap(len(token) - 1 - i%16)},
			failure{kinds[5], at[0], "cpanel demo:" + strings.Repeat("x", len(token))})
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	took, err := refusals(all, 32)
	if err != nil {
		return err
	}
	var rows [][]string
	base := took[kinds[0]].median()
	for _, kind := range kinds {
		rows = append(rows, []string{kind, fmt.Sprint(len(took[kind])), ms(took[kind].median()), fmt.Sprintf("%+.2f %%", 100*(float64(took[kind].median())/float64(base)-1)), ms(took[kind].p99())})
	}
	table("Refused: what the time tells", []string{"what is sent", "samples", "median", "against the first", "p99"}, rows)
	return nil
}

// refusals sends the requests in all, in this order, with the given number of concurrent clients. It returns
// the durations of the requests for each kind of failure.
func refusals(all []failure, clients int) (map[string]samples, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: clients} //nolint:gosec // It signs itself.
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var (
		mu    sync.Mutex
		first error
		group sync.WaitGroup
	)
	took := make(map[string]samples)
	next := make(chan failure)
	for range clients {
		group.Go(func() {
			for f := range next {
				d, err := refusal(client, f)
				mu.Lock()
				if err != nil && first == nil {
					first = fmt.Errorf("%s: %w", f.kind, err)
				}
				took[f.kind] = append(took[f.kind], d)
				mu.Unlock()
			}
		})
	}
	for _, f := range all {
		next <- f
	}
	close(next)
	group.Wait()
	return took, first
}

func refusal(client *http.Client, f failure) (time.Duration, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+f.address+"/execute/Email/list_pops", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", f.authorization)
	start := time.Now()
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.ReadAll(answer.Body); err != nil {
		return 0, err
	}
	if answer.StatusCode != http.StatusUnauthorized {
		return 0, fmt.Errorf("status %s", answer.Status)
	}
	return time.Since(start), nil
}
