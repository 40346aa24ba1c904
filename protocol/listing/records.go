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
	maxPattern  = 1000    // Bytes of a regular expression or of any other term.
	maxProgram  = 2_000   // Instructions of a regular expression, estimated.
	maxKeys     = 16      // Filters, and columns to sort by.
	maxColumns  = 256     // Columns to keep.
	defaultPage = 100     // Records of a page without a given size.
	maxPage     = 1 << 30 // Of start, size and page.
)

// filterTypes are the operators in the documentation.
var filterTypes = []string{
	"contains", "begins", "ends", "matches", "eq", "ne", "lt", "gt",
	"lt_handle_unlimited", "gt_handle_unlimited", "defined", "undefined",
}

// filter keeps the records with a column that matches the term. Column "*" means any column.
type filter struct {
	column, term, kind string
	lower              string         // The term in lower case.
	value              operand        // The term as a number.
	pattern            *regexp.Regexp // For matches.
	size               int            // Of the pattern's program, in instructions.
}

// matches reports whether a record passes all filters. An item that is not a record passes none.
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

// compares evaluates the operators on numbers. If a value is not a number, equality compares texts.
func (f filter) compares(text string) bool {
	unlimited := strings.HasSuffix(f.kind, "_handle_unlimited")
	a, okA := number(text, unlimited)
	b, okB := f.value.number, f.value.ok
	switch f.kind {
	case "eq":
		return okA && okB && a == b || !(okA && okB) && text == f.term
	case "ne":
		return okA && okB && a != b || !(okA && okB) && text != f.term
	case "lt", "lt_handle_unlimited":
		return okA && okB && a < b
	default: // gt
		return okA && okB && a > b
	}
}

// operand is a term as a number, if it is a number.
type operand struct {
	number float64
	ok     bool
}

// prepare parses the term once for all records.
func (f *filter) prepare() {
	f.lower = strings.ToLower(f.term)
	f.value.number, f.value.ok = number(f.term, strings.HasSuffix(f.kind, "_handle_unlimited"))
}

// number parses a number. If the column has a word for unlimited, that word and 0 are larger than any number.
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

// sortKey is a column to sort by.
type sortKey struct {
	column, method string
	reverse        bool
}

// sorted returns the list in order. If no record has a column, the column has no effect. Items that are not
// records come last, in their old order.
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
			return 0 // The rest of the sorting is quick, and its result is not used.
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

// rank returns a value's position by the key's method; texts decide among equal ranks.
func (k sortKey) rank(text string) float64 {
	switch k.method {
	case "numeric", "numeric_zero_as_max":
		n, ok := number(text, false)
		if !ok {
			return 0 // A text that is not a number counts as 0, as in cPanel.
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

// page is a page of a list.
type page struct {
	start, size, page int // 1-based; pages are counted from start.
	all               bool
}

// cut returns the page's records and the answer's data about the page.
func (p *page) cut(list []any) ([]any, map[string]any) {
	total, size, first := len(list), p.size, p.start+(p.page-1)*p.size
	if p.all {
		size, first = max(total, 1), 1
	}
	info := map[string]any{
		"total_pages": int64((total + size - 1) / size), "total_results": int64(total), "results_per_page": int64(size),
		"current_page": int64((first-1)/size + 1),
		"start_result": strconv.Itoa(first), // A text, as in the documentation's example.
	}
	from := min(first-1, total)
	return list[from:min(from+size, total)], info
}
