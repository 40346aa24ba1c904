package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// manyRows is the number of records in the list that encoding lets the host filter, sort and paginate.
const manyRows = 10_000

// rowsFunction returns a function that always returns the same list of manyRows records, with fields like
// those of a list of mailboxes.
func rowsFunction() sdk.Function {
	rows := make([]any, manyRows)
	for i := range rows {
		rows[i] = map[string]any{"email": fmt.Sprintf("user%d@example.com", (i*7919)%manyRows), "diskused": int64(i * 31 % 1000), "suspended": int64(i % 2)}
	}
	return sdk.Function{
		Function: protocol.Function{API: protocol.UAPI, Name: "rows", Roles: []protocol.Role{protocol.RoleAccount}},
		Do:       func(context.Context, *sdk.Call) (any, error) { return rows, nil },
	}
}

// encoding compares the call rate of JSON sessions with that of MessagePack sessions. It also measures how
// long the host takes to filter, sort and paginate a long list.
func (b *bench) encoding() error {
	w, _, err := b.echoWorld()
	if err != nil {
		return err
	}
	defer w.stop()
	if err := b.encodings(w); err != nil {
		return err
	}
	return b.shaping(w)
}

func (b *bench) encodings(w *world) error {
	var rows [][]string
	for _, inFlight := range []int{1, 64} {
		var rates [2]float64
		for i, run := range []func(*world, int, int) (float64, error){jsonRate, packedRate} {
			if _, err := run(w, inFlight, b.times(500)); err != nil { // Warm-up: this rate is not recorded.
				return err
			}
			rate, err := run(w, inFlight, b.times(20_000))
			if err != nil {
				return err
			}
			rates[i] = rate
		}
		rows = append(rows,
			[]string{"JSON", fmt.Sprintf("%d (a session each)", inFlight), fmt.Sprintf("%.0f/s", rates[0]), "1"},
			[]string{"MessagePack", fmt.Sprintf("%d (one session)", inFlight), fmt.Sprintf("%.0f/s", rates[1]), ratio(rates[1], rates[0])})
	}
	table("Calls that do no work, by encoding", []string{"encoding", "in flight", "calls", "ratio to JSON"}, rows)
	return nil
}

// rate runs n calls with inFlight goroutines, each of which runs one call after another, and returns the
// number of calls per second. slot is the number of the goroutine, from 0.
func rate(inFlight, n int, call func(slot int) error) (float64, error) {
	var all sync.WaitGroup
	errs := make(chan error, inFlight)
	start := time.Now()
	for slot := range inFlight {
		all.Go(func() {
			for range max(n/inFlight, 1) {
				if err := call(slot); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(max(n/inFlight, 1)*inFlight) / took.Seconds(), nil
	}
}

func jsonRate(w *world, inFlight, n int) (float64, error) {
	sessions := make([]*client.Client, inFlight)
	for i := range sessions {
		c, err := w.dial()
		if err != nil {
			return 0, err
		}
		defer func() { _ = c.Close() }()
		sessions[i] = c
	}
	return rate(inFlight, n, func(slot int) error {
		_, err := sessions[slot].Call(context.Background(), echoCall)
		return err
	})
}

func packedRate(w *world, inFlight, n int) (float64, error) {
	c, err := w.dial()
	if err != nil {
		return 0, err
	}
	p, err := c.Packed(context.Background())
	if err != nil {
		return 0, err
	}
	defer func() { _ = p.Close() }()
	return rate(inFlight, n, func(int) error {
		_, err := p.Call(context.Background(), echoCall)
		return err
	})
}

func (b *bench) shaping(w *world) error {
	c, err := w.dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	filter := map[string]any{"api.filter_column": "email", "api.filter_term": "1"}
	sort := map[string]any{"api.sort": "1", "api.sort_column": "diskused", "api.sort_method": "numeric"}
	page := map[string]any{"api.paginate": "1", "api.paginate_size": "50", "api.paginate_page": "3"}
	join := func(all ...map[string]any) map[string]any {
		out := map[string]any{}
		for _, m := range all {
			maps.Copy(out, m)
		}
		return out
	}
	var rows [][]string
	var plain time.Duration
	for _, row := range []struct {
		what string
		args map[string]any
	}{
		{"as it is", nil}, {"a page of 50", page}, {"filtered, a page of 50", join(filter, page)},
		{"sorted, a page of 50", join(sort, page)}, {"filtered, sorted, a page of 50", join(filter, sort, page)},
	} {
		call := protocol.Call{API: protocol.UAPI, Module: "Echo", Func: "rows", Args: protocol.Args{Named: row.args}}
		var size int
		s, err := timed(b.times(30), func() error {
			answer, err := c.Call(context.Background(), call)
			if err == nil && !strings.Contains(string(answer), `"status":1`) {
				err = fmt.Errorf("refused: %.200s", answer)
			}
			size = len(answer)
			return err
		})
		if err != nil {
			return err
		}
		if row.args == nil {
			plain = s.median()
		}
		rows = append(rows, []string{row.what, fmt.Sprintf("%d KiB", size>>10), ms(s.median()), ratio(float64(s.median()), float64(plain))})
	}
	table(fmt.Sprintf("A list of %d records, through worker and host", manyRows), []string{"asked for", "answer", "median", "ratio to the whole list"}, rows)
	return nil
}
