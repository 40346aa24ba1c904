package livepage

import (
	"fmt"
	"io/fs"
	"net/http"
	"time"
)

// serveChanges sends a server-sent event to the page whenever a file in the directory has changed, until the
// client disconnects. It compares snapshots at intervals of pollTime.
func (d *Dev) serveChanges(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	seen := d.snapshot()
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	_, _ = fmt.Fprint(w, ": watching\n\n")
	for {
		if flush.Flush() != nil {
			return
		}
		select {
		case <-req.Context().Done():
			return
		case <-ticker.C:
		}
		event := ": still there\n\n"
		if now := d.snapshot(); now != seen {
			seen, event = now, "event: change\ndata: 1\n\n"
		}
		if _, err := fmt.Fprint(w, event); err != nil {
			return
		}
	}
}

// snapshot returns a text that changes when a file in the directory changes. It contains the number of files
// and directories, their total size and the newest modification time.
func (d *Dev) snapshot() string {
	var newest time.Time
	var size int64
	n := 0
	_ = fs.WalkDir(d.root.FS(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // Probably removed just now: the next snapshot differs.
		}
		if n++; n > maxFiles {
			return fs.SkipAll
		}
		if info, err := e.Info(); err == nil {
			size += info.Size()
			if info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
		return nil
	})
	return fmt.Sprint(n, size, newest.UnixNano(), d.stamp())
}
