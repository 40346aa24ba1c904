package strength

// findRepeats adds the spans in which a part of the text is repeated, such as abcabcabc. An attacker needs the
// guesses for the part, times the number of repetitions.
func (e *estimate) findRepeats() {
	n := len(e.text)
	if n < 2 {
		return
	}
	// squares[i] has the shortest and the longest part that follows itself directly at i, as far as there is one.
	type square struct{ short, shortEnd, long, longEnd int }
	squares := make([]square, n)
	for length := 1; length <= n/2; length++ {
		equal := 0 // The number of characters from i that are equal to those length characters later.
		for i := n - length - 1; i >= 0; i-- {
			if e.text[i] != e.text[i+length] {
				equal = 0
				continue
			}
			if equal++; equal < length {
				continue
			}
			s := &squares[i]
			s.long, s.longEnd = length, i+(equal/length+1)*length
			if s.short == 0 {
				s.short, s.shortEnd = s.long, s.longEnd
			}
		}
	}
	for i := 0; i < n; {
		s := squares[i]
		if s.short == 0 {
			i++
			continue
		}
		part, end := s.short, s.shortEnd
		if s.longEnd > s.shortEnd {
			part, end = period(e.text[i:s.longEnd], s.long), s.longEnd
		}
		e.add(i, end-1, guesses(e.text[i:i+part], e.hints, e.year)*float64((end-i)/part))
		i = end
	}
}

// period returns the length of the shortest part whose repetitions are the whole text, which consists of
// repetitions of a part of the given length.
func period(text []rune, length int) int {
	for short := 1; short < length; short++ {
		if len(text)%short == 0 && equal(text[:len(text)-short], text[short:]) {
			return short
		}
	}
	return length
}

func equal(a, b []rune) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// maxStep is the largest distance between neighbours in a sequence: acegi is one with the distance 2.
const maxStep = 5

// findSequences adds the spans in which each character has the same distance from the one before it, such as
// abcd or 9753.
func (e *estimate) findSequences() {
	for from := 0; from < len(e.text)-1; {
		step := e.text[from+1] - e.text[from]
		to := from + 1
		for to+1 < len(e.text) && e.text[to+1]-e.text[to] == step {
			to++
		}
		size := max(step, -step)
		if size > 0 && size <= maxStep && (to-from > 1 || size == 1) {
			e.add(from, to, e.sequence(from, to, step < 0))
		}
		from = to
	}
}

// sequence returns the guesses for a sequence. Attackers try those first that begin at an end of the alphabet.
func (e *estimate) sequence(from, to int, descending bool) float64 {
	starts := 26.0
	switch c := e.text[from]; {
	case c == 'a', c == 'A', c == 'z', c == 'Z', c == '0', c == '1', c == '9':
		starts = 4
	case c >= '0' && c <= '9':
		starts = 10
	}
	if descending {
		starts *= 2
	}
	return starts * float64(to-from+1)
}

// minYears is the minimum number of years that an attacker tries for a year.
const minYears = 20

// years returns how many years an attacker tries until the given year, beginning with the current one.
func (e *estimate) years(year int) float64 {
	return float64(max(year-e.year, e.year-year, minYears))
}

// findYears adds the years from 1900 to the current one, at least to 2019. (zxcvbn always ends with 2019.)
func (e *estimate) findYears() {
	for from := 0; from+4 <= len(e.lower); from++ {
		year, ok := e.number(from, from+4)
		if ok && year >= 1900 && year <= max(2019, e.year) {
			e.add(from, from+3, e.years(year))
			from += 3
		}
	}
}

// number returns the number that the given characters are, if all of them are digits.
func (e *estimate) number(from, to int) (n int, ok bool) {
	for _, c := range e.lower[from:to] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
