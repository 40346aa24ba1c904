// Package tagpage expands pages that hold the deprecated cPanel tags, for one account:
// what the theme engine did. Whatever it inserts is HTML-escaped. It reads no file; how
// tags are written is protocol/live's matter, and what they run is the host's.
package tagpage

import (
	"context"
	"fmt"
	"html"
	"regexp"
	"strings"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/live"
)

// Doer runs calls. host.Host is one.
type Doer interface {
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
}

// Problem is a tag that could not be expanded; nothing stands in its place.
type Problem struct {
	Line int // 1-based.
	Text string
}

// String returns the problem with its place.
func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }

// maxBlocks bounds how deep blocks may stand in each other.
const maxBlocks = 64

// Render expands page for caller and returns the page and what could not be expanded.
func Render(ctx context.Context, doer Doer, caller protocol.Caller, page string) (string, []Problem) {
	r := &renderer{ctx: ctx, doer: doer, caller: caller, page: page}
	r.run()
	return r.out.String(), r.problems
}

// renderer walks a page once, from its first byte to its last.
type renderer struct {
	ctx      context.Context
	doer     Doer
	caller   protocol.Caller
	page     string
	at       int
	out      strings.Builder
	blocks   []block // Open cpanelif and cpanelfeature blocks.
	problems []Problem
}

// block is an open conditional: whether its present part is shown.
type block struct {
	name  string // "if" or "feature".
	line  int
	show  bool
	outer bool // What stands around it is shown.
	other bool // <cpanelelse> was read.
}

// tagPattern finds the next tag; its groups tell which kind it is.
var tagPattern = regexp.MustCompile(`(?s)<cpanelelse\s*/?>|</cpanel(if|feature)\s*>|<cpanel(if|feature)\s+((?:"[^"]*"|'[^']*'|[^>"'])*)>|` +
	`<cpanel\s+[A-Za-z][A-Za-z0-9_]*\s*=\s*(?:"[^"]*"|'.*?')\s*/?>|<\?cp(?:tt)?\s.*?\?>`)

func (r *renderer) run() {
	for _, m := range tagPattern.FindAllStringSubmatchIndex(r.page, -1) {
		r.text(r.page[r.at:m[0]])
		r.at = m[0]
		tag := r.page[m[0]:m[1]]
		switch {
		case strings.HasPrefix(tag, "<cpanelelse"):
			r.otherwise()
		case m[2] >= 0:
			r.close(r.page[m[2]:m[3]])
		case m[4] >= 0:
			r.open(r.page[m[4]:m[5]], tag)
		case r.shown():
			r.insert(tag)
		}
		r.at = m[1]
	}
	r.text(r.page[r.at:])
	for _, b := range r.blocks {
		r.problems = append(r.problems, Problem{b.line, "<cpanel" + b.name + "> is not closed"})
	}
}

func (r *renderer) text(s string) {
	if r.shown() {
		r.out.WriteString(s)
	}
}

func (r *renderer) shown() bool {
	return len(r.blocks) == 0 || r.blocks[len(r.blocks)-1].show
}

func (r *renderer) line() int { return 1 + strings.Count(r.page[:r.at], "\n") }

func (r *renderer) problem(text string) {
	r.problems = append(r.problems, Problem{r.line(), text})
}

// open begins a block. One in a part that is not shown is not evaluated.
func (r *renderer) open(name, tag string) {
	if len(r.blocks) == maxBlocks {
		r.problem("blocks stand too deep in each other")
		return
	}
	b := block{name: name, line: r.line(), outer: r.shown()}
	if b.outer {
		parsed := live.ParseTag([]byte(tag)).Request
		result := r.doer.Do(r.ctx, r.caller, parsed.Call)
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

// insert puts what a tag shows into the page.
func (r *renderer) insert(text string) {
	tag := live.ParseTag([]byte(text))
	if tag.Request.Err != nil {
		r.problem(tag.Request.Err.Message)
		return
	}
	result := r.doer.Do(r.ctx, r.caller, tag.Request.Call)
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

// records puts the template in for each record, or the tag's message where there is none.
func (r *renderer) records(tag live.Tag, result *protocol.Result) {
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
