package strength

import (
	"bytes"
	_ "embed"
)

// words is the dictionary of common passwords, words and names. It is a part of the program file, which all
// processes of the program share. `go test -run TestWords -write` writes it; words.LICENSE tells where the words
// come from.
//
//go:embed words.trie
var words trie

// findWords adds the words of a dictionary that the text contains: as they are, backwards, and with characters
// that look like letters.
func (e *estimate) findWords(t trie) {
	looks := e.lookalikes()
	for from := range e.lower {
		for at, node := from, 0; at < len(e.lower); at++ {
			if node = t.child(node, e.lower[at]); node == 0 {
				break
			}
			if rank := t.rank(node); rank > 0 {
				e.add(from, at, float64(rank)*e.capitals(from, at))
			}
		}
		for at, node := from, 0; at >= 0; at-- {
			if node = t.child(node, e.lower[at]); node == 0 {
				break
			}
			if rank := t.rank(node); rank > 0 {
				e.add(at, from, 2*float64(rank)*e.capitals(at, from))
			}
		}
		if looks != nil {
			looks.walk(t, from, from, 0)
		}
	}
}

// capitals returns in how many ways an attacker must capitalize the word in a span to find its capitals.
func (e *estimate) capitals(from, to int) float64 {
	upper, small := 0, 0
	for _, c := range e.text[from : to+1] {
		switch {
		case c >= 'A' && c <= 'Z':
			upper++
		case c >= 'a' && c <= 'z':
			small++
		}
	}
	isUpper := func(c rune) bool { return c >= 'A' && c <= 'Z' }
	switch {
	case upper == 0:
		return 1
	case small == 0, upper == 1 && (isUpper(e.text[from]) || isUpper(e.text[to])):
		return 2 // All capitals, or only the first or the last letter: attackers try these at once.
	}
	return choices(upper, small)
}

// choices returns the number of ways to choose at most min(a, b) and at least one of a+b things.
func choices(a, b int) float64 {
	sum, ways := 0.0, 1.0
	for k := 1; k <= min(a, b); k++ {
		ways = ways * float64(a+b-k+1) / float64(k)
		sum += ways
	}
	return sum
}

// letters returns the letters that a character looks like.
func letters(c byte) string {
	switch c {
	case '4', '@':
		return "a"
	case '8':
		return "b"
	case '(', '{', '[', '<':
		return "c"
	case '3':
		return "e"
	case '6', '9':
		return "g"
	case '1', '|':
		return "il"
	case '!':
		return "i"
	case '7':
		return "lt"
	case '0':
		return "o"
	case '$', '5':
		return "s"
	case '+':
		return "t"
	case '%':
		return "x"
	case '2':
		return "z"
	}
	return ""
}

// lookalikes searches for words in which characters stand for letters they look like. In a word, a character
// always stands for the same letter, and only one character stands for a letter.
type lookalikes struct {
	e       *estimate
	present [128]uint8 // For each letter, how many different characters of the text look like it.
	means   [128]byte  // For each character, the letter that it stands for, itself, or 0 if that is open.
	owner   [128]byte  // For each letter, the character that stands for it, or 0.
	used    int        // The number of characters that stand for a letter.
}

// lookalikes returns nil if no character of the text looks like a letter.
func (e *estimate) lookalikes() *lookalikes {
	var l *lookalikes
	var seen [256]bool
	for _, c := range e.lower {
		like := letters(c)
		if like == "" || seen[c] {
			continue
		}
		seen[c] = true
		if l == nil {
			l = &lookalikes{e: e}
		}
		for i := range len(like) {
			l.present[like[i]]++
		}
	}
	return l
}

// walk adds the words that begin at from and of which the part before at leads to a node.
func (l *lookalikes) walk(t trie, from, at, node int) {
	if at > from && l.used > 0 {
		if rank := t.rank(node); rank > 0 && at-from > 1 {
			l.e.add(from, at-1, float64(rank)*l.e.capitals(from, at-1)*l.variations(from, at-1))
		}
	}
	if at == len(l.e.lower) {
		return
	}
	c := l.e.lower[at]
	like := letters(c)
	if like == "" {
		if next := t.child(node, c); next != 0 {
			l.walk(t, from, at+1, next)
		}
		return
	}
	if meaning := l.means[c]; meaning != 0 {
		if next := t.child(node, meaning); next != 0 {
			l.walk(t, from, at+1, next)
		}
		return
	}
	itself := true // Whether other characters can stand for all the letters that c looks like.
	for i := range len(like) {
		letter := like[i]
		itself = itself && l.present[letter] > 1
		next := t.child(node, letter)
		if next == 0 || l.owner[letter] != 0 {
			continue
		}
		l.means[c], l.owner[letter] = letter, c
		l.used++
		l.walk(t, from, at+1, next)
		l.used--
		l.means[c], l.owner[letter] = 0, 0
	}
	if next := t.child(node, c); next != 0 && itself {
		l.means[c] = c
		l.walk(t, from, at+1, next)
		l.means[c] = 0
	}
}

// variations returns how many ways an attacker must try to replace letters in the word in a span.
func (l *lookalikes) variations(from, to int) float64 {
	ways := 1.0
	word := l.e.lower[from : to+1]
	for i, c := range word {
		if letters(c) == "" || l.means[c] == c || bytes.IndexByte(word[:i], c) >= 0 {
			continue
		}
		letter := l.means[c]
		replaced, kept := 0, 0
		for _, character := range word {
			switch character {
			case c:
				replaced++
			case letter:
				kept++
			}
		}
		if kept == 0 {
			ways *= 2
			continue
		}
		ways *= choices(replaced, kept)
	}
	return ways
}
