// Package strength estimates how many guesses an attacker needs to find a password. It uses the method of
// zxcvbn (D. L. Wheeler, USENIX Security 2016): it looks for words, keyboard paths, repetitions, sequences, years
// and dates in the password, and searches for the sequence of such patterns that needs the fewest guesses.
//
// The words are read-only data of the program (words.go). The package has no variables that are computed when the
// program starts, and it keeps nothing between two estimates, so a process that does not estimate passwords pays
// nothing for it. It knows neither accounts nor the limits that a password must keep; these live in package policy.
package strength

import (
	"math"
	"unicode/utf8"
)

const (
	// Enough is the largest number of guesses that Guesses returns. All passwords that need more guesses are
	// equally strong for the callers. The search is fast because it ignores everything beyond this number.
	Enough = 1e13

	// maxSpans is the maximum number of patterns in a sequence. A sequence of one more needs more than Enough
	// guesses, because each number of patterns that an attacker tries first costs perLength times more.
	maxSpans  = 4
	perLength = 10_000

	// maxUnknown is the maximum number of characters in a span without a pattern. Such a character costs
	// perUnknown guesses, so a longer span needs more than Enough.
	maxUnknown = 13
	perUnknown = 10
	// The minimum guesses for a span that is not the whole password: of a single character, and of several.
	// A span without a pattern costs at least one more guess, so that the pattern is preferred.
	minSingle  = 10
	minSeveral = 50
)

// span is a part of a password in which a pattern was found: its first and last character, and the number of
// guesses for it.
type span struct {
	from, to int
	guesses  float64
	next     int32 // Index in estimate.spans of the next span with the same end, or -1.
}

// estimate is the state of one estimate.
type estimate struct {
	text  []rune
	lower []byte // The text's ASCII characters in lower case; other is at the place of all others.
	hints trie
	year  int // The current year.
	spans []span
	ends  []int32 // For each character, the index of the first span that ends there, or -1.
}

// other is a byte that no pattern contains.
const other = 0xff

// Guesses returns the number of guesses that an attacker needs for the password, at most Enough. hints are words
// that an attacker would try first, such as the name of the mailbox; year is the current year, because recent
// years are tried first. An empty password and one that is not UTF-8 need no guess.
func Guesses(password string, hints []string, year int) float64 {
	if !utf8.ValidString(password) {
		return 0
	}
	return guesses([]rune(password), dictionary(hints), year)
}

// guesses estimates a password, or the repeated part of a password. hints may be empty.
func guesses(text []rune, hints trie, year int) float64 {
	e := &estimate{text: text, lower: make([]byte, len(text)), hints: hints, year: year, ends: make([]int32, len(text)), spans: make([]span, 0, 4*len(text))}
	for i, c := range text {
		e.ends[i] = -1
		switch {
		case c >= 'A' && c <= 'Z':
			e.lower[i] = byte(c) - 'A' + 'a'
		case c < utf8.RuneSelf:
			e.lower[i] = byte(c)
		default:
			e.lower[i] = other
		}
	}
	e.findWords(words)
	if len(hints) > 0 {
		e.findWords(hints)
	}
	e.findPaths()
	e.findRepeats()
	e.findSequences()
	e.findYears()
	e.findDates()
	return e.search()
}

// add adds a span that was found from one character to another, both included.
func (e *estimate) add(from, to int, guesses float64) {
	if length := to - from + 1; length == 1 && len(e.text) > 1 {
		guesses = max(guesses, minSingle)
	} else if length < len(e.text) {
		guesses = max(guesses, minSeveral)
	}
	e.spans = append(e.spans, span{from: from, to: to, guesses: guesses, next: e.ends[to]})
	e.ends[to] = int32(len(e.spans) - 1)
}

// best is the cheapest sequence with a certain number of spans that covers the text up to a certain character.
type best struct {
	total   float64 // The number of guesses; +Inf if there is no such sequence.
	product float64 // The product of the guesses of the sequence's spans.
	unknown bool    // Whether the sequence ends with a span without a pattern.
}

// search returns the guesses of the cheapest sequence that covers the whole text. A sequence of n spans costs
// the product of the guesses of its spans, times the n! orders of the patterns, plus perLength for each shorter
// length, which an attacker tries first.
func (e *estimate) search() float64 {
	if len(e.text) == 0 {
		return 0
	}
	table := make([][maxSpans + 1]best, len(e.text))
	for to := range e.text {
		row := &table[to]
		for n := range row {
			row[n].total = math.Inf(1)
		}
		for at := e.ends[to]; at >= 0; at = e.spans[at].next {
			s := e.spans[at]
			extend(table, s.from, to, s.guesses, false)
		}
		unknown := 1.0
		for from := to; from >= max(0, to-maxUnknown+1); from-- {
			unknown *= perUnknown
			least := float64(minSeveral + 1)
			if from == to {
				least = minSingle + 1
			}
			extend(table, from, to, max(unknown, least), true)
		}
	}
	found := float64(Enough)
	for _, b := range table[len(e.text)-1][1:] {
		found = min(found, b.total)
	}
	return found
}

// extend extends the sequences that end before a span by that span, and keeps those that are cheaper than all
// sequences of at most as many spans.
func extend(table [][maxSpans + 1]best, from, to int, guesses float64, isUnknown bool) {
	orders, shorter := 1.0, 1.0
	for n := 1; n <= maxSpans; n++ {
		product := guesses
		if n > 1 {
			orders *= float64(n)
			shorter *= perLength
			if from == 0 {
				return
			}
			before := &table[from-1][n-1]
			// Two spans without a pattern in a row cost more than a single one over both.
			if math.IsInf(before.total, 1) || isUnknown && before.unknown {
				continue
			}
			product *= before.product
		} else if from > 0 {
			continue
		}
		total := orders*product + shorter
		if !cheaper(table[to][:n+1], total) {
			continue
		}
		table[to][n] = best{total: total, product: product, unknown: isUnknown}
	}
}

// cheaper reports whether total is less than the totals of all the given sequences.
func cheaper(than []best, total float64) bool {
	for _, b := range than {
		if b.total <= total {
			return false
		}
	}
	return true
}
