package livepage

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/dev/tagpage"
	"github.com/liveapid/liveapid/protocol"
)

// serveFile serves the file or directory at the request's path. It runs pages, expands the tags in HTML
// files, and rejects hidden files.
func (d *Dev) serveFile(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(path.Clean("/"+req.URL.Path), "/")
	if name == "" {
		name = "."
	}
	if slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return strings.HasPrefix(part, ".") && part != "." }) {
		http.Error(w, "Hidden files are not served.", http.StatusNotFound)
		return
	}
	st, err := d.root.Stat(filepath.FromSlash(name))
	if err == nil && st.IsDir() {
		if !strings.HasSuffix(req.URL.Path, "/") {
			http.Redirect(w, req, "/"+name+"/", http.StatusSeeOther) // Relative links on the page need the final slash.
			return
		}
		if index := d.index(name); index != "" {
			name, err = path.Join(name, index), nil
		} else {
			http.FileServerFS(d.root.FS()).ServeHTTP(w, req) // Lists the files of the directory.
			return
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "The file does not exist.", http.StatusNotFound)
	case err != nil:
		http.Error(w, "The file can't be served. It may be a symbolic link that leads out of the directory.", http.StatusForbidden)
	case KindOf(name) != None:
		d.servePage(w, req, name)
	case d.isProgram(name):
		http.Error(w, "The file is a program, and dev runs only *.php, *.livephp, *.live.pl and *.livepl. Its text is not shown.", http.StatusForbidden)
	case strings.HasSuffix(name, ".html"), strings.HasSuffix(name, ".htm"):
		d.serveHTML(w, req, name)
	default:
		http.ServeFileFS(w, req, d.root.FS(), name)
	}
}

// index returns the name of the index file in dir, or "" if there is no index file.
func (d *Dev) index(dir string) string {
	for _, name := range []string{"index.live.php", "index.livephp", "index.live.pl", "index.livepl", "index.php", "index.html"} {
		if _, err := d.root.Stat(filepath.FromSlash(path.Join(dir, name))); err == nil {
			return name
		}
	}
	return ""
}

// servePage runs the page called name, records its calls and sends its answer.
func (d *Dev) servePage(w http.ResponseWriter, req *http.Request, name string) {
	d.record(w, req, func(answer *buffer, watch func(Call)) []PageError {
		errs, err := d.runner.Run(answer, req, filepath.Join(d.dir, filepath.FromSlash(name)), watch)
		if err != nil {
			http.Error(answer, "The page can't be run: "+err.Error(), http.StatusInternalServerError)
		}
		return errs
	})
}

// serveHTML sends the HTML file called name with its tags expanded.
func (d *Dev) serveHTML(w http.ResponseWriter, req *http.Request, name string) {
	text, err := fs.ReadFile(d.root.FS(), name)
	if err != nil || len(text) > maxHTML {
		http.Error(w, "The file can't be read.", http.StatusInternalServerError)
		return
	}
	d.record(w, req, func(answer *buffer, watch func(Call)) []PageError {
		answer.Header().Set("Content-Type", "text/html; charset=utf-8")
		caller := protocol.Caller{Account: d.runner.Account, Role: protocol.RoleAccount, Door: "page"}
		page, problems := tagpage.Render(req.Context(), watched{d.runner.Doer, watch}, caller, string(text))
		for _, p := range problems {
			watch(Call{API: "tag", Module: name, Args: map[string]any{}, Result: p.String(), Answer: map[string]any{"error": p.String()}})
		}
		_, _ = answer.Write([]byte(page))
		return nil
	})
}

// programs are the endings of programs. A file with one of them is not shown, also if another ending follows, as in the
// names of copies that editors make.
var programs = []string{"php", "phtml", "phps", "pl", "pm", "cgi", "inc", "py", "rb", "sh", "livephp", "livepl"}

// static are the endings of files that browsers need, which are shown whatever else their names contain.
var static = []string{".css", ".js", ".mjs", ".map", ".json", ".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".woff", ".woff2", ".pdf"}

// isProgram reports whether the file called name is, or may be, the source of a program that dev does not run.
func (d *Dev) isProgram(name string) bool {
	base := strings.ToLower(path.Base(name))
	if slices.Contains(static, path.Ext(base)) {
		return false
	}
	for _, part := range strings.Split(base, ".")[1:] {
		word, _, _ := strings.Cut(strings.Map(func(r rune) rune {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
				return ' '
			}
			return r
		}, part), " ")
		if slices.Contains(programs, word) {
			return true
		}
	}
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return true
	}
	defer func() { _ = f.Close() }()
	start := make([]byte, 4<<10)
	n, _ := io.ReadFull(f, start)
	text := strings.TrimLeft(strings.TrimPrefix(string(start[:n]), "\ufeff"), " \t\r\n")
	return strings.Contains(text, "<?php") || strings.Contains(text, "<?=") || strings.HasPrefix(text, "#!")
}
