package strength

// layout is the rows of a keyboard, from the top. A space stands for a place without a key.
type layout struct {
	plain, shifted [5]string // The characters of the keys without and with the shift key.
	// slanted tells that each row is half a key to the right of the row above, so a key has six neighbours; on other
	// layouts it has eight.
	slanted bool
}

// The number of characters of a layout and their average number of neighbours. Keypads count alike.
const (
	slantedKeys, slantedDegree = 94, 432.0 / 94
	alignedKeys, alignedDegree = 15, 76.0 / 15
)

// layouts returns the keyboards on which people draw passwords.
func layouts() [4]layout {
	return [4]layout{
		{
			plain:   [5]string{"`1234567890-=", ` qwertyuiop[]\`, ` asdfghjkl;'`, ` zxcvbnm,./`},
			shifted: [5]string{"~!@#$%^&*()_+", ` QWERTYUIOP{}|`, ` ASDFGHJKL:"`, ` ZXCVBNM<>?`},
			slanted: true,
		},
		{
			plain:   [5]string{"`1234567890[]", ` ',.pyfgcrl/=\`, ` aoeuidhtns-`, ` ;qjkxbmwvz`},
			shifted: [5]string{"~!@#$%^&*(){}", ` "<>PYFGCRL?+|`, ` AOEUIDHTNS_`, ` :QJKXBMWVZ`},
			slanted: true,
		},
		{plain: [5]string{" /*-", "789+", "456", "123", " 0."}},
		{plain: [5]string{" =/*", "789-", "456+", "123", " 0."}}, // Apple's.
	}
}

// key is the place of a character on a keyboard.
type key struct {
	x, y    int8
	shifted bool
	exists  bool
}

// keys returns the place of each character on the keyboard.
func (l *layout) keys() (keys [128]key) {
	for y := range l.plain {
		for x := range len(l.plain[y]) {
			keys[l.plain[y][x]] = key{x: int8(x), y: int8(y), exists: true}
		}
		for x := range len(l.shifted[y]) {
			keys[l.shifted[y][x]] = key{x: int8(x), y: int8(y), shifted: true, exists: true}
		}
	}
	keys[' '].exists = false
	return keys
}

// direction returns in which direction a key is from another one; ok is false if they are no neighbours.
func (l *layout) direction(from, to key) (direction int8, ok bool) {
	x, y := to.x-from.x, to.y-from.y
	if !from.exists || !to.exists || x < -1 || x > 1 || y < -1 || y > 1 || x == 0 && y == 0 || l.slanted && x == y {
		return 0, false
	}
	return 3*y + x, true
}

// findPaths adds the spans of at least three characters that a finger draws on a keyboard from key to key, such as
// qwerty or 7412369.
func (e *estimate) findPaths() {
	if len(e.text) < 3 {
		return
	}
	for _, l := range layouts() {
		keys := l.keys()
		at := func(i int) key {
			if c := e.text[i]; c < 128 {
				return keys[c]
			}
			return key{}
		}
		for from := 0; from < len(e.text)-1; {
			shifted, turns, last := 0, 0, int8(0)
			if at(from).shifted {
				shifted++
			}
			to := from + 1
			for ; to < len(e.text); to++ {
				direction, ok := l.direction(at(to-1), at(to))
				if !ok {
					break
				}
				if at(to).shifted {
					shifted++
				}
				if direction != last {
					turns++
				}
				last = direction
			}
			if to-from > 2 {
				e.add(from, to-1, l.path(to-from, turns, shifted))
			}
			from = to
		}
	}
}

// path returns the guesses for a path of the given length: all paths that are at most as long, with at most as
// many turns.
func (l *layout) path(length, turns, shifted int) float64 {
	keys, degree := float64(alignedKeys), alignedDegree
	if l.slanted {
		keys, degree = slantedKeys, slantedDegree
	}
	sum := 0.0
	for i := 2; i <= length && sum < Enough; i++ {
		paths := keys // With j turns.
		for j := 1; j <= min(turns, i-1) && sum < Enough; j++ {
			paths *= degree
			sum += paths
			paths *= float64(i-j) / float64(j)
		}
	}
	switch plain := length - shifted; {
	case shifted == 0:
		return sum
	case plain == 0:
		return sum * 2
	default:
		return sum * choices(shifted, plain)
	}
}
