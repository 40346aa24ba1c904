package listing

import (
	"cmp"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

const (
	maxPattern  = 1000    // Maximum size of a filter's term, in bytes.
	maxProgram  = 2_000   // Maximum estimated size of a program, in instructions.
	maxKeys     = 16      // Maximum number of filters, and of sort columns.
	maxColumns  = 256     // Maximum number of selected columns.
	defaultPage = 100     // Records on a page if no size is given.
	maxPage     = 1 << 30 // Maximum value of start, size and page.
)

// filterTypes are the comparison operators of the filters of API 2 and UAPI, from cPanel's documentation.
var filterTypes = []string{
	"contains", "begins", "ends", "matches", "eq", "ne", "lt", "gt",
	"lt_handle_unlimited", "gt_handle_unlimited", "defined", "undefined",
}

// filter is a condition on the value in a column. The field kind is the comparison operator, and term is its
// second operand: the record passes if the comparison of the value with term is true. For the column "*", a
// record passes if the value of any column passes.
type filter struct {
	column, term, kind string
	lower              string         // term in lower case.
	value              operand        // term as a number.
	pattern            *regexp.Regexp // The compiled term, for kind "matches".
	size               int            // Estimated size of the compiled pattern, in instructions.
}

// matches reports whether item passes all filters. An item that is not a record passes no filter.
func (o Options) matches(item any, w *work) bool {
	record, ok := item.(map[string]any)
	if !ok {
		return false
	}
	for _, f := range o.filters {
		if !f.keeps(record, w) {
			return false
		}
	}
	return true
}

func (f filter) keeps(record map[string]any, w *work) bool {
	if f.column != "*" {
		return f.fits(record[f.column], w)
	}
	for _, value := range record {
		if f.fits(value, w) {
			return true
		}
	}
	return false
}

func (f filter) fits(value any, w *work) bool {
	text, defined := protocol.ScalarText(value)
	switch f.kind {
	case "defined":
		return defined
	case "undefined":
		return !defined
	}
	if !defined || !w.spend(len(text)) {
		return false
	}
	switch f.kind {
	case "contains":
		return strings.Contains(strings.ToLower(text), f.lower)
	case "begins":
		return strings.HasPrefix(strings.ToLower(text), f.lower)
	case "ends":
		return strings.HasSuffix(strings.ToLower(text), f.lower)
	case "matches":
		return w.spend(f.size*len(text)) && f.pattern.MatchString(text)
	}
	return f.compares(text)
}

// compares evaluates the operators eq, ne, lt and gt, and lt and gt with _equal and _handle_unlimited, on a
// value. If both the value and the term are numbers, they are compared as numbers. Otherwise eq and ne compare
// texts, and the other operators are false.
func (f filter) compares(text string) bool {
	unlimited := strings.HasSuffix(f.kind, "_handle_unlimited")
	a, okA := number(text, unlimited)
	b, okB := f.value.number, f.value.ok
	switch f.kind {
	case "eq", "==":
		return okA && okB && a == b || !(okA && okB) && text == f.term
	case "ne", "!=":
		return okA && okB && a != b || !(okA && okB) && text != f.term
	case "lt", "lt_handle_unlimited":
		return okA && okB && a < b
	case "lt_equal":
		return okA && okB && a <= b
	case "gt_equal":
		return okA && okB && a >= b
	default: // gt and gt_handle_unlimited
		return okA && okB && a > b
	}
}

// operand is the numeric value of a filter's term. ok is false if the term is not a number.
type operand struct {
	number float64
	ok     bool
}

// prepare computes the forms of the term that the comparisons need, once per call instead of once per record.
func (f *filter) prepare() {
	f.lower = strings.ToLower(f.term)
	f.value.number, f.value.ok = number(f.term, strings.HasSuffix(f.kind, "_handle_unlimited"))
}

// number parses a number. If unlimited is true, the values "unlimited", "∞" and 0 mean "no limit" and become
// infinity, which is larger than any number.
func number(text string, unlimited bool) (float64, bool) {
	text = strings.TrimSpace(text)
	if unlimited && (strings.EqualFold(text, "unlimited") || text == "∞") {
		return math.Inf(1), true
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, false
	}
	if unlimited && n == 0 {
		return math.Inf(1), true
	}
	return n, true
}

// sortKey is a column by which the records are sorted, with the sort method.
type sortKey struct {
	column, method string
	reverse        bool
}

// sorted returns a sorted copy of list. A sort column that no record contains has no effect. Items that are
// not records come last, in their original order.
func (o Options) sorted(list []any, w *work) []any {
	type row struct {
		item   any
		record bool
		texts  []string
		ranks  []float64
	}
	rows := make([]row, len(list))
	for i, item := range list {
		if !w.tick() {
			return list
		}
		record, ok := item.(map[string]any)
		rows[i] = row{item: item, record: ok, texts: make([]string, len(o.sorts)), ranks: make([]float64, len(o.sorts))}
		for j, k := range o.sorts {
			rows[i].texts[j], _ = protocol.ScalarText(record[k.column])
			rows[i].ranks[j] = k.rank(rows[i].texts[j])
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		if !w.tick() {
			return 0 // Sorting was stopped: finish fast, the result is unused.
		}
		if a.record != b.record {
			if a.record {
				return -1
			}
			return 1
		}
		for j, k := range o.sorts {
			c := cmp.Compare(a.ranks[j], b.ranks[j])
			if c == 0 {
				c = strings.Compare(a.texts[j], b.texts[j])
			}
			if c != 0 && k.reverse {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	out := make([]any, len(rows))
	for i := range rows {
		out[i] = rows[i].item
	}
	return out
}

// rank returns the numeric sort position of a value, which depends on the sort method. Values with equal
// ranks are sorted as texts.
func (k sortKey) rank(text string) float64 {
	switch k.method {
	case "numeric", "numeric_zero_as_max":
		n, ok := number(text, false)
		if !ok {
			return 0 // As in cPanel, text that is not a number sorts as 0.
		}
		if n == 0 && k.method == "numeric_zero_as_max" {
			return math.Inf(1)
		}
		return n
	case "ipv4":
		ip, err := netip.ParseAddr(text)
		if err != nil || !ip.Is4() {
			return -1
		}
		b := ip.As4()
		return float64(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
	}
	return 0
}

// page selects a page of a list. all means the whole list as a single page.
type page struct {
	start, size, page int // start and page count from 1; page 1 begins at start.
	all               bool
}

// cut returns the records on the page, and the metadata that describes the page in the answer.
func (p *page) cut(list []any) ([]any, map[string]any) {
	total, size, first := len(list), p.size, p.start+(p.page-1)*p.size
	if p.all {
		size, first = max(total, 1), 1
	}
	info := map[string]any{
		"total_pages": int64((total + size - 1) / size), "total_results": int64(total), "results_per_page": int64(size),
		"current_page": int64((first-1)/size + 1),
		"start_result": strconv.Itoa(first), // As text, like the example in cPanel's documentation.
	}
	from := min(first-1, total)
	return list[from:min(from+size, total)], info
}
