package livepage

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// buffer is a ResponseWriter that stores the answer of a page in memory.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header    { return b.header }
func (b *buffer) WriteHeader(status int) { b.status = status }

// Write returns an error if the answer would exceed maxHTML bytes. The CGI handler then kills the page's
// program.
func (b *buffer) Write(p []byte) (int, error) {
	if b.body.Len()+len(p) > maxHTML {
		return 0, fmt.Errorf("the page has more than %d bytes", maxHTML)
	}
	return b.body.Write(p)
}

// sendTo sends the stored answer to w. On an HTML page that a browser shows, it adds the script of dev, which reloads the
// page and shows its errors. The script comes first: the end of a page that ended early could be inside an element or
// a comment. Other answers are not changed.
func (b *buffer) sendTo(w http.ResponseWriter, req *http.Request, run PageRun) {
	body := b.body.Bytes()
	kind := b.header.Get("Content-Type")
	if shown(req) && b.header.Get("Content-Encoding") == "" && (strings.HasPrefix(kind, "text/html") || kind == "" && len(body) == 0 || run.failed() && len(body) == 0 && strings.HasPrefix(kind, "text/plain")) {
		if len(body) == 0 && run.failed() {
			b.header.Set("Content-Type", "text/html; charset=utf-8")
			body = []byte("<!DOCTYPE html>\n<html lang=\"en\">\n<title>Error</title>\n")
		}
		at := scriptPlace(body)
		script := fmt.Sprintf(`<script type="module" src="%spage.js?run=%d"></script>`, devPrefix, run.ID)
		body = slices.Concat(body[:at], []byte(script), body[at:])
	}
	for name, values := range b.header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(b.status)
	_, _ = w.Write(body) // An error means that the client has disconnected.
}

// shown reports whether a browser shows the answer to req as a page. Answers for a program on a page are left alone.
func shown(req *http.Request) bool {
	switch req.Header.Get("Sec-Fetch-Dest") {
	case "", "document", "iframe", "frame":
		return req.Header.Get("X-Requested-With") == ""
	}
	return false
}

// start is the start of an HTML page, up to the place for a script: the doctype, comments, and the first tags.
var start = regexp.MustCompile(`(?is)^\x{feff}?(\s*<\?xml[^>]*\?>)?(\s|<!--.*?-->)*(<!doctype[^>]*>)?(\s|<!--.*?-->)*(<html(\s[^>]*)?>)?(\s|<!--.*?-->)*(<head(\s[^>]*)?>)?`)

// scriptPlace returns the offset at which a script can be added to an HTML page.
func scriptPlace(body []byte) int {
	if found := start.FindIndex(body[:min(len(body), 64<<10)]); found != nil {
		return found[1]
	}
	return 0
}
