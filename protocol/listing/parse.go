package listing

import (
	"cmp"
	"errors"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// parser parses the meta-parameters of a call. err is the first error that the parser found, or nil.
type parser struct {
	dialect Dialect
	meta    map[string]string // The parameters by name, without the prefix.
	err     *protocol.Error
}

func (p *parser) fail(name, what string) {
	if p.err == nil {
		p.err = protocol.NewError(protocol.KindInvalid, "The ‘"+p.dialect.Name(name)+"’ argument "+what)
	}
}

// suffixes returns the suffixes of the parameters that begin with stem: "" or "_0", "_1", ... or "_a", "_b",
// ... Numbers are sorted by value and come before words.
func (p *parser) suffixes(stem string) []string {
	var out []string
	for name := range p.meta {
		if rest, ok := strings.CutPrefix(name, stem); ok && (rest == "" || rest[0] == '_') {
			out = append(out, rest)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		x, errX := strconv.Atoi(strings.TrimPrefix(a, "_"))
		y, errY := strconv.Atoi(strings.TrimPrefix(b, "_"))
		switch {
		case errX == nil && errY == nil && x != y:
			return cmp.Compare(x, y)
		case (errX == nil) != (errY == nil): // Numbers come before words.
			if errX == nil {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return out
}

// filters parses the filters. API 2 uses filters only if the parameter "filter" switches them on. If
// switchOptional is true, as for UAPI, a missing "filter" means on, because a published client never sends
// this parameter.
func (p *parser) filters(switchOptional bool) []filter {
	on, given := p.meta["filter"]
	if !isOn(on) && (given || !switchOptional) {
		return nil
	}
	var out []filter
	for i, suffix := range p.suffixes("filter_column") {
		if i == maxKeys {
			p.fail("filter_column"+suffix, "is one filter too many: at most "+strconv.Itoa(maxKeys)+" are taken.")
			return nil
		}
		f := filter{column: p.meta["filter_column"+suffix], term: p.meta["filter_term"+suffix], kind: p.meta["filter_type"+suffix]}
		if f.kind == "" {
			f.kind = "contains"
		}
		if types := slices.Concat(filterTypes, p.dialect.FilterTypes); !slices.Contains(types, f.kind) {
			p.fail("filter_type"+suffix, "must be one of "+strings.Join(types, ", ")+".")
			return nil
		}
		if len(f.term) > maxPattern {
			p.fail("filter_term"+suffix, "is too long: at most "+strconv.Itoa(maxPattern)+" bytes are taken.")
			return nil
		}
		f.prepare()
		if f.kind == "matches" {
			var err error
			if f.size, err = measure(f.term); err != nil {
				p.fail("filter_term"+suffix, "is not a regular expression that this host accepts.")
				return nil
			}
		}
		out = append(out, f)
	}
	return out
}

func (p *parser) sorts() []sortKey {
	if !isOn(p.meta["sort"]) {
		return nil
	}
	var out []sortKey
	for i, suffix := range p.suffixes("sort_column") {
		if i == maxKeys {
			p.fail("sort_column"+suffix, "is one column too many: at most "+strconv.Itoa(maxKeys)+" are taken.")
			return nil
		}
		k := sortKey{column: p.meta["sort_column"+suffix], method: p.meta["sort_method"+suffix], reverse: isOn(p.meta["sort_reverse"+suffix])}
		switch k.method {
		case "", "alphabet": // Old front ends send "alphabet".
			k.method = "lexicographic"
		case "lexicographic", "numeric", "numeric_zero_as_max", "ipv4":
		default:
			p.fail("sort_method"+suffix, "must be one of lexicographic, numeric, numeric_zero_as_max, ipv4.")
			return nil
		}
		out = append(out, k)
	}
	return out
}

func (p *parser) page() *page {
	if !isOn(p.meta["paginate"]) {
		return nil
	}
	pg := &page{start: p.number("paginate_start", 1), size: p.number("paginate_size", 0), page: p.number("paginate_page", 1)}
	// A published client requests all records with paginate_start=-1 and without a size.
	pg.all = pg.start == -1 && pg.size <= 0
	pg.start, pg.page = max(pg.start, 1), max(pg.page, 1)
	if pg.size <= 0 {
		pg.size = defaultPage
	}
	return pg
}

// number returns the value of the parameter called name as a whole number. If the parameter is missing, not a
// number, or larger than maxPage, number returns the default value, which the caller passes in the argument
// absent.
func (p *parser) number(name string, absent int) int {
	n, err := strconv.Atoi(strings.TrimSpace(p.meta[name]))
	if err != nil || n > maxPage {
		return absent
	}
	return n
}

func (p *parser) columns() []string {
	if !isOn(p.meta["columns"]) {
		return nil
	}
	out := []string{}
	for _, suffix := range p.suffixes("columns") {
		name := p.meta["columns"+suffix]
		if suffix == "" || slices.Contains(out, name) {
			continue
		}
		if len(out) == maxColumns {
			p.fail("columns"+suffix, "is one column too many: at most "+strconv.Itoa(maxColumns)+" are taken.")
			return nil
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return nil // Only the switch was sent, without column names.
	}
	return out
}

// measure parses a regular expression and returns the estimated size of its compiled program. It rejects a
// program larger than maxProgram, because a few bytes with nested repetitions could compile to megabytes.
// measure does not compile the program: even a small program needs about a hundred times the bytes of its
// pattern, so compile does this only when the filter is applied.
func measure(pattern string) (size int, err error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err
	}
	if size = programSize(tree); size > maxProgram {
		return 0, errors.New("the expression has too many repetitions")
	}
	return size, nil
}

// programSize estimates the size of the compiled program of a parsed pattern, in instructions.
func programSize(tree *syntax.Regexp) int {
	size := 1 + len(tree.Rune)
	for _, sub := range tree.Sub {
		size += programSize(sub)
	}
	if tree.Op == syntax.OpRepeat {
		size *= max(tree.Min, tree.Max, 1)
	}
	return min(size, maxProgram+1)
}

func isOn(flag string) bool { return flag != "" && flag != "0" }
