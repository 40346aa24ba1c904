package strength

import (
	"encoding/binary"
	"slices"
	"strings"
)

// trie is a dictionary in which each word has a rank: 1 for the word that an attacker tries first. It is a
// sequence of nodes of nodeSize bytes. Node 0 is the root. The children of a node follow each other, sorted by
// their characters:
//
//	byte 0       the character that leads to the node; the highest bit is set in the last child of a node
//	bytes 1 to 3 the number of the node's first child, or 0 if it has none; little-endian
//	bytes 4, 5   the rank of the word that ends here, or 0 if none does; little-endian
//
// All functions treat an empty trie as one without words.
type trie string

const (
	nodeSize  = 6
	lastChild = 0x80
	maxRank   = 1<<16 - 1
)

// child returns the child to which a character leads, or 0 if it does not exist.
func (t trie) child(node int, c byte) int {
	if c >= lastChild || len(t) == 0 {
		return 0
	}
	at := node * nodeSize
	child := int(t[at+1]) | int(t[at+2])<<8 | int(t[at+3])<<16
	if child == 0 {
		return 0
	}
	for ; ; child++ {
		mark := t[child*nodeSize]
		if mark&^lastChild == c {
			return child
		}
		if mark >= lastChild || mark > c {
			return 0
		}
	}
}

// rank returns the rank of the word that ends at a node, or 0 if none does.
func (t trie) rank(node int) int {
	at := node * nodeSize
	return int(t[at+4]) | int(t[at+5])<<8
}

// newTrie returns a trie with the given words and their ranks, which must be between 1 and maxRank. It ignores
// words that contain a character beyond ASCII.
func newTrie(ranks map[string]int) trie {
	var all []string
	for word := range ranks {
		if word != "" && strings.IndexFunc(word, func(c rune) bool { return c >= lastChild }) < 0 {
			all = append(all, word)
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	// The nodes are written level by level. A node stands for the words of all from its low to its high that
	// have the same first depth characters.
	type open struct{ low, high, depth int }
	nodes := []byte(strings.Repeat("\x00", nodeSize))
	queue := []open{{0, len(all), 0}}
	for at := 0; at < len(queue); at++ {
		n := queue[at]
		if len(all[n.low]) == n.depth && n.depth > 0 {
			binary.LittleEndian.PutUint16(nodes[at*nodeSize+4:], uint16(ranks[all[n.low]]))
			n.low++
		}
		if n.low == n.high {
			continue
		}
		first := len(queue)
		nodes[at*nodeSize+1], nodes[at*nodeSize+2], nodes[at*nodeSize+3] = byte(first), byte(first>>8), byte(first>>16)
		for low := n.low; low < n.high; {
			c := all[low][n.depth]
			high := low
			for high < n.high && all[high][n.depth] == c {
				high++
			}
			queue = append(queue, open{low, high, n.depth + 1})
			nodes = append(nodes, c, 0, 0, 0, 0, 0)
			low = high
		}
		nodes[len(nodes)-nodeSize] |= lastChild
	}
	return trie(nodes)
}

// dictionary returns a dictionary of hints. An attacker tries them in their order.
func dictionary(hints []string) trie {
	ranks := make(map[string]int, len(hints))
	for i, hint := range hints {
		ranks[strings.ToLower(hint)] = min(i+1, maxRank)
	}
	return newTrie(ranks)
}
