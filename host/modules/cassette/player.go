package cassette

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/liveapid/liveapid/host/dev/mask"
	"github.com/liveapid/liveapid/protocol"
)

// Player answers calls from a cassette. It is safe for concurrent use.
type Player struct {
	c      *Cassette
	strict bool
	differ func(report string) // Called for each call without an exact match.

	mu      sync.Mutex
	used    []bool
	exact   int
	reports []string // What differed, one for each call without an exact match.
}

// NewPlayer returns a Player. If strict, only calls with the recorded arguments get an answer, each as often as it was
// recorded. differ is called with a report for each call that has no such answer; it may be nil.
func NewPlayer(c *Cassette, strict bool, differ func(report string)) *Player {
	if differ == nil {
		differ = func(string) {}
	}
	return &Player{c: c, strict: strict, differ: differ, used: make([]bool, len(c.Entries))}
}

// Has reports whether the cassette has a call of the function.
func (p *Player) Has(api protocol.API, module, function string) bool {
	return slices.ContainsFunc(p.c.Entries, func(e Entry) bool { return e.API == apis[api] && e.Module == module && e.Func == function })
}

// Functions returns the functions of which the cassette has calls.
func (p *Player) Functions() []Entry {
	var out []Entry
	for _, e := range p.c.Entries {
		if !slices.ContainsFunc(out, func(o Entry) bool { return o.name() == e.name() }) {
			out = append(out, e)
		}
	}
	return out
}

// Do answers a call: with the first unused answer to the same arguments, else with the last used one; without strict also
// with the next answer of the same function. A call for which there is no answer fails.
func (p *Player) Do(call protocol.Call) *protocol.Result {
	asked := entryOf(mask.New(p.c.rules, call.Args), call, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	var same, function []int
	for i, e := range p.c.Entries {
		if e.name() != asked.name() {
			continue
		}
		function = append(function, i)
		if len(differences(e.Args, asked.Args)) == 0 {
			same = append(same, i)
		}
	}
	if i, fresh := p.next(same); i >= 0 && (fresh || !p.strict) {
		p.exact++
		return p.take(i)
	}
	if len(function) == 0 {
		return p.unexpected(asked, "has no call of this function", "")
	}
	nearest := p.nearest(function, asked)
	e := p.c.Entries[nearest]
	diff := strings.Join(differences(e.Args, asked.Args), "\n")
	if p.strict {
		why := "has no call with these arguments"
		if len(same) > 0 {
			why = fmt.Sprintf("has this call only %d times", len(same))
			diff = ""
		}
		return p.unexpected(asked, why, diff)
	}
	if i, _ := p.next(function); i >= 0 {
		nearest = i
		e = p.c.Entries[i]
		diff = strings.Join(differences(e.Args, asked.Args), "\n")
	}
	p.report(fmt.Sprintf("%s: other arguments than in line %d:\n%s", asked.name(), e.Line, diff))
	return p.take(nearest)
}

// report keeps a report. The caller holds mu.
func (p *Player) report(text string) {
	if len(p.reports) < maxReports {
		p.reports = append(p.reports, text)
	}
	p.differ(text)
}

// maxReports is the maximum number of reports that are kept.
const maxReports = 1000

// next returns the first unused entry of list, or the last one; -1 if the list is empty.
func (p *Player) next(list []int) (i int, fresh bool) {
	for _, i := range list {
		if !p.used[i] {
			return i, true
		}
	}
	if len(list) == 0 {
		return -1, false
	}
	return list[len(list)-1], false
}

// nearest returns the entry of list with the fewest differences from the call.
func (p *Player) nearest(list []int, asked Entry) int {
	return slices.MinFunc(list, func(a, b int) int {
		return len(differences(p.c.Entries[a].Args, asked.Args)) - len(differences(p.c.Entries[b].Args, asked.Args))
	})
}

func (p *Player) take(i int) *protocol.Result {
	p.used[i] = true
	return clone(p.c.Entries[i].Answer).Result(p.c.Name)
}

func (p *Player) unexpected(asked Entry, why, diff string) *protocol.Result {
	report := fmt.Sprintf("unexpected call: %s: the cassette %s %s", asked.name(), p.c.Name, why)
	if diff != "" {
		report += ":\n" + diff
	}
	p.report(report)
	result := protocol.Failed(protocol.NewError(protocol.KindUnavailable, "An unexpected call: the cassette "+why+"."))
	result.Metadata = map[string]any{protocol.MockedKey: p.c.Name}
	return result
}

// clone returns a copy of an answer that a caller may change.
func clone(a Answer) Answer {
	a.Data = cloned(a.Data)
	a.Metadata = maps.Clone(a.Metadata)
	return a
}

func cloned(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = cloned(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = cloned(item)
		}
		return out
	}
	return value
}

// Report describes what a Player has done.
type Report struct {
	Exact    int      // Calls with the recorded arguments.
	Problems []string // Calls with other arguments, and calls without an answer.
	Unused   []string // Recorded calls that were not made.
}

// Report returns the report of all calls up to now.
func (p *Player) Report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Report{Exact: p.exact, Problems: slices.Clone(p.reports)}
	for i, e := range p.c.Entries {
		if !p.used[i] {
			r.Unused = append(r.Unused, fmt.Sprintf("line %d: %s", e.Line, e.name()))
		}
	}
	return r
}

// differences returns one line for each argument in which two calls differ: "- name=value" for recorded, "+" for asked.
func differences(recorded, asked any) []string {
	if a, ok := recorded.([]any); ok {
		b, ok := asked.([]any)
		if ok && len(a) == len(b) {
			return nil // Arguments by position are masked, so only their number is known.
		}
		return []string{fmt.Sprintf("  - %d arguments by position", len(a)), fmt.Sprintf("  + %s", shown(asked))}
	}
	a, _ := recorded.(map[string]any)
	b, ok := asked.(map[string]any)
	if !ok {
		return []string{"  - arguments by name", "  + arguments by position"}
	}
	var out []string
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		was, inRecorded := a[name]
		is, inAsked := b[name]
		if inRecorded && inAsked && equal(was, is) {
			continue
		}
		if inRecorded {
			out = append(out, "  - "+name+"="+shown(was))
		}
		if inAsked {
			out = append(out, "  + "+name+"="+shown(is))
		}
	}
	return out
}

func shown(value any) string {
	if text, ok := protocol.ScalarText(value); ok {
		return protocol.Clip(text, 200)
	}
	return protocol.Clip(fmt.Sprintf("%v", value), 200)
}

// equal compares two arguments: numbers and booleans are equal to their texts, as for a function.
// What is masked in the recorded argument a may be anything in b.
func equal(a, b any) bool {
	x, scalar := protocol.ScalarText(a)
	y, other := protocol.ScalarText(b)
	if scalar && other && strings.Contains(x, mask.Hidden) {
		return fits(strings.Split(x, mask.Hidden), y)
	}
	if scalar || other {
		return scalar == other && x == y
	}
	switch v := a.(type) {
	case []any:
		w, ok := b.([]any)
		return ok && slices.EqualFunc(v, w, equal)
	case map[string]any:
		w, ok := b.(map[string]any)
		return ok && maps.EqualFunc(v, w, equal)
	}
	return reflect.DeepEqual(a, b)
}

// fits reports whether text consists of the given parts, in their order, with anything between them.
func fits(parts []string, text string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}
