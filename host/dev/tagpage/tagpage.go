// Package tagpage expands the deprecated cPanel tags in a page for an account, as cPanel's theme engine did.
// Values are HTML-escaped before they are inserted. The package reads no file: protocol/wire parses the tags,
// and the host runs the calls in them.
package tagpage

import (
	"context"
	"fmt"
	"html"
	"regexp"
	"strings"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

// Doer runs calls. host.Host is a Doer.
type Doer interface {
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
}

// TagDoer is implemented by a Doer that runs the original text of a tag and expands the variables in the text
// itself.
type TagDoer interface {
	DoTag(ctx context.Context, caller protocol.Caller, text string, call protocol.Call) *protocol.Result
}

// Do runs a tag with doer. text is the tag's original text; call is the call into which text was parsed. If
// doer is a TagDoer, Do passes both text and call to its method DoTag. Otherwise Do passes only call to the
// method Do of doer.
func Do(ctx context.Context, doer Doer, caller protocol.Caller, text string, call protocol.Call) *protocol.Result {
	if tags, ok := doer.(TagDoer); ok {
		return tags.DoTag(ctx, caller, text, call)
	}
	return doer.Do(ctx, caller, call)
}

// Problem is a tag that could not be expanded. Nothing is inserted into the page for such a tag.
type Problem struct {
	Line int // Line in the page; the first line is 1.
	Text string
}

// String returns the problem and the number of its line.
func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }

// maxBlocks is the maximum nesting depth of blocks.
const maxBlocks = 64

// Render expands the tags in page for caller, and runs their calls with doer. It returns the expanded page
// and the problems of tags that could not be expanded.
func Render(ctx context.Context, doer Doer, caller protocol.Caller, page string) (string, []Problem) {
	r := &renderer{ctx: ctx, doer: doer, caller: caller, page: page, line: 1}
	r.run()
	return r.out.String(), r.problems
}

// renderer expands the tags of a page from beginning to end, in a single pass.
type renderer struct {
	ctx      context.Context
	doer     Doer
	caller   protocol.Caller
	page     string
	at       int // Offset in page; the text before it is processed.
	line     int // Line number of the offset at; the first line is 1.
	out      strings.Builder
	blocks   []block // Open cpanelif and cpanelfeature blocks, the innermost last.
	problems []Problem
}

// block is a conditional block, cpanelif or cpanelfeature, that is not closed yet.
type block struct {
	name  string // "if" or "feature".
	line  int
	show  bool
	outer bool // Whether the text around the block is shown.
	other bool // The block's <cpanelelse> has been read.
}

// Limits for hostile pages. The renderer searches for the end of a tag only in a limited part of the page. If
// it searched to the end of the page for each tag that is not closed, the time could grow with the square of
// the page's size.
const (
	maxTag       = 16 << 10 // Maximum length of a <?cp ?> tag, in bytes.
	maxAttribute = 4 << 10  // Maximum length of any other tag, in bytes.
	maxHead      = 128      // Maximum bytes searched for a tag's name, or for its final '>'.
	maxProblems  = 100      // Maximum number of reported problems.
)

var (
	blockTag     = regexp.MustCompile(`^<cpanel(if|feature)\s`)
	attributeTag = regexp.MustCompile(`^<cpanel\s+[A-Za-z][A-Za-z0-9_]*\s*=\s*["']`)
	closeTag     = regexp.MustCompile(`^</cpanel(if|feature)\s*>`)
	elseTag      = regexp.MustCompile(`^<cpanelelse\s*/?>`)
	phpTag       = regexp.MustCompile(`^<\?cp(?:tt)?\s`)
)

func (r *renderer) run() {
	from := 0
	for r.ctx.Err() == nil {
		next := strings.IndexByte(r.page[from:], '<')
		if next < 0 {
			break
		}
		from += next
		piece := r.page[from:min(from+maxTag, len(r.page))]
		if !strings.HasPrefix(piece, "<cpanel") && !strings.HasPrefix(piece, "</cpanel") && !strings.HasPrefix(piece, "<?cp") {
			from++
			continue
		}
		n, do := r.tag(piece)
		if n == 0 {
			from++
			continue
		}
		r.text(r.page[r.at:from])
		r.advance(from)
		do()
		from += n
		r.advance(from)
	}
	r.text(r.page[r.at:])
	for _, b := range r.blocks {
		r.tell(Problem{b.line, "<cpanel" + b.name + "> is not closed"})
	}
}

// tag returns the length of the tag at the beginning of piece, and a function that runs the tag. The length
// is 0 if piece does not begin with a complete tag.
func (r *renderer) tag(piece string) (n int, do func()) {
	head := piece[:min(len(piece), maxHead)] // Limits the time of the pattern matching.
	if m := elseTag.FindString(head); m != "" {
		return len(m), r.otherwise
	}
	if m := closeTag.FindStringSubmatch(head); m != nil {
		return len(m[0]), func() { r.close(m[1]) }
	}
	if m := blockTag.FindStringSubmatch(head); m != nil {
		if n = endOfBlockTag(piece[:min(len(piece), maxAttribute)]); n > 0 {
			return n, func() { r.open(m[1], piece[:n]) }
		}
		return 0, nil
	}
	switch m := attributeTag.FindString(head); {
	case m != "":
		n = endOfAttribute(piece[:min(len(piece), maxAttribute)], len(m))
	case phpTag.MatchString(head):
		if end := strings.Index(piece, "?>"); end > 0 {
			n = end + len("?>")
		}
	}
	return n, func() {
		if r.shown() {
			r.insert(piece[:n])
		}
	}
}

// endOfBlockTag returns the offset after the first '>' that is outside quotes, or 0 if there is no such '>'.
func endOfBlockTag(piece string) int {
	quote := byte(0)
	for i := range len(piece) {
		switch c := piece[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return 0
}

// endOfAttribute returns the offset after the '>' that ends a tag with a single attribute, or 0 if there is
// no such '>'. The parameter from is the offset after the opening quote of the attribute's value. The '>'
// must follow the closing quote; only spaces and a slash may be between them.
func endOfAttribute(piece string, from int) int {
	quote := piece[from-1]
	for at := from; ; {
		i := strings.IndexByte(piece[at:], quote)
		if i < 0 {
			return 0
		}
		at += i + 1
		rest := strings.TrimPrefix(strings.TrimLeft(piece[at:min(at+maxHead, len(piece))], " \t\r\n"), "/")
		if strings.HasPrefix(rest, ">") {
			return at + strings.IndexByte(piece[at:], '>') + 1
		}
	}
}

// advance sets the current offset to the offset to, and adds the skipped lines to the line number.
func (r *renderer) advance(to int) {
	r.line += strings.Count(r.page[r.at:to], "\n")
	r.at = to
}

func (r *renderer) text(s string) {
	if r.shown() {
		r.out.WriteString(s)
	}
}

func (r *renderer) shown() bool {
	return len(r.blocks) == 0 || r.blocks[len(r.blocks)-1].show
}

func (r *renderer) problem(text string) { r.tell(Problem{r.line, text}) }

func (r *renderer) tell(p Problem) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, p)
	}
}

// open begins a block called name with the tag tag, and evaluates its condition. The condition of a block
// inside a hidden part of the page is not evaluated, so its call is not run.
func (r *renderer) open(name, tag string) {
	if len(r.blocks) == maxBlocks {
		r.problem("blocks are nested too deep")
		return
	}
	b := block{name: name, line: r.line, outer: r.shown()}
	if b.outer {
		parsed := wire.ParseTag([]byte(tag)).Request
		result := Do(r.ctx, r.doer, r.caller, tag, parsed.Call)
		if result.Err != nil {
			r.problem(result.Err.Message)
		}
		b.show = result.Err == nil && fmt.Sprint(result.Data) == "1"
	}
	r.blocks = append(r.blocks, b)
}

func (r *renderer) otherwise() {
	if len(r.blocks) == 0 || r.blocks[len(r.blocks)-1].other {
		r.problem("<cpanelelse> is outside a block")
		return
	}
	b := &r.blocks[len(r.blocks)-1]
	b.other, b.show = true, b.outer && !b.show
}

func (r *renderer) close(name string) {
	if len(r.blocks) == 0 || r.blocks[len(r.blocks)-1].name != name {
		r.problem("</cpanel" + name + "> closes no block")
		return
	}
	r.blocks = r.blocks[:len(r.blocks)-1]
}

// insert runs the tag text and writes its output into the page.
func (r *renderer) insert(text string) {
	tag := wire.ParseTag([]byte(text))
	if tag.Request.Err != nil {
		r.problem(tag.Request.Err.Message)
		return
	}
	result := Do(r.ctx, r.doer, r.caller, text, tag.Request.Call)
	if tag.Request.Call.API == protocol.API2 {
		r.records(tag, result)
		return
	}
	if result.Err != nil {
		r.problem(result.Err.Message)
		return
	}
	if result.Data != nil {
		r.out.WriteString(html.EscapeString(fmt.Sprint(result.Data)))
	}
}

// records writes the template of the tag once for each record in result. If the call failed or returned no
// record, it writes the tag's message instead.
func (r *renderer) records(tag wire.Tag, result *protocol.Result) {
	list, _ := result.Data.([]any)
	if record, ok := result.Data.(map[string]any); ok {
		list = []any{record}
	}
	if result.Err != nil || len(list) == 0 {
		if result.Err != nil && tag.Message == "" {
			r.problem(result.Err.Message)
		}
		r.out.WriteString(html.EscapeString(tag.Message))
		return
	}
	for i, item := range list {
		if record, ok := item.(map[string]any); ok {
			r.out.WriteString(fill(tag.Template, tag.Returns, record, i))
		}
	}
}
