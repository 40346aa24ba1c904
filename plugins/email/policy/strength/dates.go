package strength

// Years from firstYear to lastYear are recognized in dates.
const (
	firstYear, lastYear = 1000, 2050
	daysOfYear          = 365
	separators          = 4 // How many different separators an attacker tries.
	minDate, maxDate    = 4, 10
)

// findDates adds the dates in the text, with the day, the month and the year in any usual order, with a separator
// or without. Dates inside other dates do not count.
func (e *estimate) findDates() {
	n := len(e.lower)
	reach := 0 // The end of the dates that begin earlier.
	for from := 0; from+minDate <= n; from++ {
		// The longest date at each place contains the others that begin there.
		for to := min(n, from+maxDate); to >= from+minDate && to > reach; to-- {
			if guesses := e.date(from, to); guesses > 0 {
				e.add(from, to-1, guesses)
				reach = to
				break
			}
		}
	}
}

// date returns the guesses for the date that the given characters are, or 0 if they are none.
func (e *estimate) date(from, to int) float64 {
	if _, ok := e.number(from, to); ok {
		return e.digitsDate(from, to)
	}
	length := to - from
	if length < 6 {
		return 0
	}
	// The first separator comes after one, two or four digits, the second before the last one to four.
	for first := from + 1; first <= from+4; first++ {
		sep := e.lower[first]
		if !separator(sep) {
			continue
		}
		for second := first + 2; second <= first+3; second++ {
			if second >= to || e.lower[second] != sep || to-second-1 < 1 || to-second-1 > 4 {
				continue
			}
			a, okA := e.number(from, first)
			b, okB := e.number(first+1, second)
			c, okC := e.number(second+1, to)
			if !okA || !okB || !okC {
				continue
			}
			if year, ok := yearOf(a, b, c); ok {
				return e.years(year) * daysOfYear * separators
			}
		}
		return 0
	}
	return 0
}

func separator(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '\v', '\f', '\r', '/', '\\', '_', '.', '-':
		return true
	}
	return false
}

// splits returns where the second and the third number of a date begin that has the given number of digits.
func splits(digits int) [][2]int {
	switch digits {
	case 4:
		return [][2]int{{1, 2}, {2, 3}}
	case 5:
		return [][2]int{{1, 3}, {2, 3}}
	case 6:
		return [][2]int{{1, 2}, {2, 4}, {4, 5}}
	case 7:
		return [][2]int{{1, 3}, {2, 3}, {4, 5}, {4, 6}}
	case 8:
		return [][2]int{{2, 4}, {4, 6}}
	}
	return nil
}

// digitsDate does the same as date for a date without separators. It takes the split whose year is nearest.
func (e *estimate) digitsDate(from, to int) float64 {
	nearest, found := 0, false
	for _, s := range splits(to - from) {
		a, _ := e.number(from, from+s[0])
		b, _ := e.number(from+s[0], from+s[1])
		c, _ := e.number(from+s[1], to)
		year, ok := yearOf(a, b, c)
		if ok && (!found || abs(year-e.year) < abs(nearest-e.year)) {
			nearest, found = year, true
		}
	}
	if !found {
		return 0
	}
	return e.years(nearest) * daysOfYear
}

func abs(n int) int { return max(n, -n) }

// yearOf returns the year of the date that three numbers are, in their order. It is the first or the last of
// them.
func yearOf(a, b, c int) (year int, ok bool) {
	if b < 1 || b > 31 {
		return 0, false
	}
	over12, over31, zero := 0, 0, 0
	for _, n := range [...]int{a, b, c} {
		if n > 99 && n < firstYear || n > lastYear {
			return 0, false
		}
		if n > 12 {
			over12++
		}
		if n > 31 {
			over31++
		}
		if n == 0 {
			zero++
		}
	}
	if over31 > 1 || over12 == 3 || zero > 1 {
		return 0, false
	}
	switch {
	case c >= firstYear:
		return c, dayAndMonth(a, b)
	case a >= firstYear:
		return a, dayAndMonth(b, c)
	case dayAndMonth(a, b):
		return century(c), true
	}
	return century(a), dayAndMonth(b, c)
}

// dayAndMonth reports whether two numbers can be a day and a month, in any order.
func dayAndMonth(a, b int) bool { return a <= 31 && b <= 12 || b <= 31 && a <= 12 }

// century returns the year that two digits mean.
func century(year int) int {
	if year > 50 {
		return year + 1900
	}
	return year + 2000
}
