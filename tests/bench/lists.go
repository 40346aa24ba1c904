package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/liveapid/liveapid/protocol"
)

// lists measures lists of 100,000 mailboxes in files, each with mail: whole, and a page of 50.
func (b *bench) lists() error {
	mailboxes := 100_000
	if b.quick {
		mailboxes = 10_000
	}
	w, err := b.newWorld(mailboxes, "")
	if err != nil {
		return err
	}
	for i := range mailboxes - 1 {
		dir := filepath.Join(w.dir, "home", "demo", "mail", "example.com", "b"+strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "maildirsize"), []byte("0S\n430000 12\n"), 0o600); err != nil {
			return err
		}
	}
	defer w.stop()
	page := map[string]any{"api.paginate": "1", "api.paginate_size": "50", "api.paginate_start": strconv.Itoa(mailboxes / 2)}
	sorted := map[string]any{"api.paginate": "1", "api.paginate_size": "50", "api.sort": "1", "api.sort_column": "email", "api.sort_reverse": "1",
		"api.filter": "1", "api.filter_column": "email", "api.filter_type": "contains", "api.filter_term": "b"}
	var rows [][]string
	for _, c := range []struct {
		what, function string
		args           map[string]any
	}{
		{"count_pops", "count_pops", nil},
		{"list_pops, a page of 50", "list_pops", page},
		{"list_pops_with_disk, a page of 50", "list_pops_with_disk", page},
		{"list_pops_with_disk, filtered, sorted, a page of 50", "list_pops_with_disk", sorted},
		{"list_pops, all", "list_pops", nil},
		{"list_pops_with_disk, all, no_disk=1", "list_pops_with_disk", map[string]any{"no_disk": "1"}},
		{"list_pops_with_disk, all", "list_pops_with_disk", nil},
	} {
		if err := w.serve(); err != nil { // Each with a new host, because of its memory.
			return err
		}
		client, err := w.dial()
		if err != nil {
			return err
		}
		size := 0
		took, err := timed(b.times(10), func() error {
			answer, err := client.Call(context.Background(), protocol.Call{API: protocol.UAPI, Module: "Email", Func: c.function, Args: protocol.Args{Named: c.args}})
			var a struct{ Result struct{ Status int } }
			if err == nil && (json.Unmarshal(answer, &a) != nil || a.Result.Status != 1) {
				err = fmt.Errorf("refused: %.300s", answer)
			}
			size = len(answer)
			return err
		})
		if err != nil {
			return err
		}
		_, host := memory(w.host.Process.Pid)
		worker := ""
		for _, pid := range children(w.host.Process.Pid) {
			_, worker = memory(pid)
		}
		rows = append(rows, []string{c.what, fmt.Sprintf("%d KiB", size/1024), ms(took.median()), host, worker})
		_ = client.Close()
		w.end()
	}
	table(fmt.Sprintf("Lists of %d mailboxes in files, each with a maildirsize", mailboxes), []string{"asked for", "answer", "median", "host at most", "worker at most"}, rows)
	return nil
}
