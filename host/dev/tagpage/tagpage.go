// Package tagpage expands the deprecated cPanel tags in a page for an account, as cPanel's theme engine did.
// It escapes everything that it inserts as HTML. It reads no file; protocol/wire parses the tags, and the
// host runs their calls.
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

// Doer runs calls. host.Host implements it.
type Doer interface {
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
}

// TagDoer is a Doer that runs a tag from its text and expands the variables in it.
type TagDoer interface {
	DoTag(ctx context.Context, caller protocol.Caller, text string, call protocol.Call) *protocol.Result
}

// Do runs a tag with doer. call is the call into which text was parsed.
func Do(ctx context.Context, doer Doer, caller protocol.Caller, text string, call protocol.Call) *protocol.Result {
	if tags, ok := doer.(TagDoer); ok {
		return tags.DoTag(ctx, caller, text, call)
	}
	return doer.Do(ctx, caller, call)
}

// Problem is a tag that could not be expanded. The page has nothing in its place.
type Problem struct {
	Line int // 1-based.
	Text string
}

// String returns the problem with its line.
func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }

// maxBlocks limits the nesting of blocks.
const maxBlocks = 64

// Render expands page for caller. It returns the page and the problems.
func Render(ctx context.Context, doer Doer, caller protocol.Caller, page string) (string, []Problem) {
	r := &renderer{ctx: ctx, doer: doer, caller: caller, page: page, line: 1}
	r.run()
	return r.out.String(), r.problems
}

// renderer expands a page in a single pass.
type renderer struct {
	ctx      context.Context
	doer     Doer
	caller   protocol.Caller
	page     string
	at       int // The page before this offset is in out.
	line     int // The line of at, 1-based.
	out      strings.Builder
	blocks   []block // Open cpanelif and cpanelfeature blocks.
	problems []Problem
}

// block is an open conditional.
type block struct {
	name  string // "if" or "feature".
	line  int
	show  bool
	outer bool // The part around the block is shown.
	other bool // <cpanelelse> was read.
}

// Tags are searched by hand, each in a limited piece of the page. Searching to the end of the page for each
// unclosed tag would take quadratic time.
const (
	maxTag       = 16 << 10 // Bytes of a <?cp ?> tag.
	maxAttribute = 4 << 10  // Bytes of any other tag.
	maxHead      = 128      // Bytes within which the kind of a tag is recognized.
	maxProblems  = 100      // Problems that are reported; further problems are dropped.
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

// tag returns the length of the tag at the beginning of piece and the function that runs it, or 0 if there is
// no tag.
func (r *renderer) tag(piece string) (n int, do func()) {
	head := piece[:min(len(piece), maxHead)] // The cost of a pattern depends on the length of its text.
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

// endOfBlockTag returns the offset of the '>' outside quotes, or 0 if there is none.
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

// endOfAttribute returns the offset after the closing quote of an attribute that '>' follows. The opening
// quote is before from.
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

// advance moves to a later offset and counts the lines.
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

// open begins a block. The condition of a block in a hidden part is not evaluated.
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
		r.problem("<cpanelelse> belongs to no block")
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

// insert inserts a tag's output into the page.
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

// records inserts the template once for each record, or the tag's message if there is no record.
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
