package livepage

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/liveapid/liveapid/host/dev/mask"
	"github.com/liveapid/liveapid/protocol"
)

//go:embed report
var reporters embed.FS

// PageError is an error or a warning of a page's own code.
type PageError struct {
	Kind    string   `json:"kind"` // "fatal" ended the page; "warning" did not.
	Type    string   `json:"type"` // The class of an exception, or PHP's word, such as "Parse error".
	Message string   `json:"message"`
	File    string   `json:"file"`
	Line    int      `json:"line"`
	Excerpt []Source `json:"excerpt"` // The lines around Line.
	Stack   []Frame  `json:"stack"`   // The innermost place first.
}

// Fatal reports whether the error ended the page.
func (e PageError) Fatal() bool { return e.Kind == fatal }

const fatal = "fatal"

// Frame is a place in the code that was running.
type Frame struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Function string   `json:"function"`
	Excerpt  []Source `json:"excerpt"`
}

// Source is a line of a file.
type Source struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

const (
	maxReports = 200     // Maximum number of errors that are kept of one run.
	maxReport  = 1 << 20 // Maximum size of a page's reports in bytes.
	around     = 5       // Lines of an excerpt above and below the place.
	maxSource  = 4 << 20 // Maximum size of a file that is read for an excerpt.
	maxFrames  = 50
)

// reports collects the errors of one run of a page. A nil *reports collects nothing.
type reports struct{ dir string }

// newReports changes handler so that the program of the page reports its errors. The caller must call close.
func newReports(kind Kind, handler *cgi.Handler) (*reports, error) {
	dir, err := os.MkdirTemp("", "liveapi-report-") // The new directory has mode 0700.
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	r := &reports{dir: dir}
	files, _ := fs.Sub(reporters, "report")
	if err := os.CopyFS(dir, files); err != nil {
		r.close()
		return nil, fmt.Errorf("page: %w", err)
	}
	handler.Env = append(handler.Env, "LIVEAPI_PAGE_REPORT="+r.path())
	switch kind {
	case Perl:
		handler.Args = append([]string{"-I" + dir, "-MLiveAPI::Dev::PageReport"}, handler.Args...)
	case PHP:
		// PHP reads these settings after its own files. Errors are shown over the page, not in it.
		settings := fmt.Sprintf("auto_prepend_file = \"%s\"\ndisplay_errors = 0\nhtml_errors = 0\nlog_errors = 1\nerror_log =\n", filepath.Join(dir, "prepend.php"))
		ini := filepath.Join(dir, "ini")
		if err = os.Mkdir(ini, 0o700); err == nil {
			err = os.WriteFile(filepath.Join(ini, "report.ini"), []byte(settings), 0o600)
		}
		if err != nil {
			r.close()
			return nil, fmt.Errorf("page: %w", err)
		}
		handler.Env = append(handler.Env, "PHP_INI_SCAN_DIR=:"+ini)
	}
	return r, nil
}

func (r *reports) path() string { return filepath.Join(r.dir, "errors") }

func (r *reports) close() { _ = os.RemoveAll(r.dir) }

// read returns the errors that the page reported, with excerpts of their files. Relative names of files begin in dir. The
// secrets of the page's calls are still in the messages.
func (r *reports) read(dir string) []PageError {
	if r == nil {
		return nil
	}
	f, err := os.Open(r.path())
	if err != nil {
		return nil // The page reported nothing.
	}
	defer func() { _ = f.Close() }()
	var out []PageError
	lines := bufio.NewScanner(io.LimitReader(f, maxReport))
	lines.Buffer(nil, maxReport)
	for lines.Scan() && len(out) < maxReports {
		var e PageError
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		e.Message = strings.TrimRight(e.Message, "\n")
		e.Excerpt = excerpt(dir, e.File, e.Line)
		e.Stack = e.Stack[:min(len(e.Stack), maxFrames)]
		for i := range e.Stack {
			e.Stack[i].Excerpt = excerpt(dir, e.Stack[i].File, e.Stack[i].Line)
		}
		out = append(out, e)
	}
	return out
}

// excerpt returns the lines of a file around a line, or nil if the file can't be read.
func excerpt(dir, file string, line int) []Source {
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // It must not wait for the writer of a FIFO.
	if err != nil || line < 1 {
		return nil
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSource))
	if err != nil {
		return nil
	}
	var out []Source
	for i, content := range bytes.Split(text, []byte("\n")) {
		if n := i + 1; n >= line-around && n <= line+around {
			out = append(out, Source{Line: n, Text: protocol.Clip(strings.TrimRight(string(content), "\r"), 300)})
		}
	}
	return out
}

// maskErrors masks the secrets of the page's calls, and texts that look like secrets, in the messages of errors.
func maskErrors(errors []PageError, calls []Call) {
	args := protocol.Args{Named: map[string]any{}}
	for i, call := range calls {
		args.Named[strconv.Itoa(i)] = map[string]any(call.made.Args.Named)
		args.Positional = append(args.Positional, call.made.Args.Positional...)
	}
	hide := mask.New(mask.Rules{}, args)
	for i := range errors {
		errors[i].Type, errors[i].Message = hide.Text(errors[i].Type), hide.Text(errors[i].Message)
	}
}
