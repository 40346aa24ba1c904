package strength

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/trustelem/zxcvbn"
	"github.com/trustelem/zxcvbn/adjacency"
	"github.com/trustelem/zxcvbn/frequency"
)

var (
	write  = flag.Bool("write", false, "write words.trie")
	sample = flag.Int("sample", 1000, "how many passwords of each kind are compared with zxcvbn")
)

// The dictionary is made of zxcvbn's lists. A word that is in several of them has its best rank.
func TestWords(t *testing.T) {
	ranks := map[string]int{}
	for _, list := range frequency.FrequencyLists {
		for i, word := range list {
			if rank, known := ranks[word]; !known || i+1 < rank {
				ranks[word] = i + 1
			}
		}
	}
	want := newTrie(ranks)
	if *write {
		require.NoError(t, os.WriteFile("words.trie", []byte(want), 0o644))
		return
	}
	require.True(t, bytes.Equal([]byte(want), []byte(words)), "words.trie differs from the file that -write would write")
	for word, rank := range ranks {
		node := 0
		for i := range len(word) {
			node = words.child(node, word[i])
		}
		require.Equal(t, rank, words.rank(node), word)
	}
}

// The keyboards have zxcvbn's neighbours.
func TestLayouts(t *testing.T) {
	names := []string{"qwerty", "dvorak", "keypad", "mac_keypad"}
	for i, l := range layouts() {
		graph := adjacency.Graphs[names[i]]
		keys := l.keys()
		for a := range byte(128) {
			require.Equal(t, graph.Graph[string(a)] != nil, keys[a].exists, "%s: %q", names[i], a)
			for b := range byte(128) {
				near := false
				for _, chars := range graph.Graph[string(a)] {
					near = near || strings.IndexByte(chars, b) >= 0
				}
				_, ok := l.direction(keys[a], keys[b])
				require.Equal(t, near, ok, "%s: %q and %q", names[i], a, b)
			}
		}
	}
	require.InDelta(t, adjacency.Graphs["qwerty"].AverageDegree, slantedDegree, 1e-9)
	require.InDelta(t, adjacency.Graphs["keypad"].AverageDegree, alignedDegree, 1e-9)
	require.Len(t, adjacency.Graphs["qwerty"].Graph, slantedKeys)
	require.Len(t, adjacency.Graphs["keypad"].Graph, alignedKeys)
}

func TestGuesses(t *testing.T) {
	for _, c := range []struct {
		password string
		hints    []string
		want     float64 // By zxcvbn's rules, in the year 2026.
	}{
		{"", nil, 0},
		{"\xff\xfe", nil, 0},
		{"x", nil, 12},
		{"password", nil, 3},
		{"Password", nil, 5},
		{"PASSWORD", nil, 5},
		{"drowssap", nil, 5},
		{"p@ssword", nil, 5},
		{"12345luggage", nil, 287_200},
		{"cP4n3LIsGr3aT", nil, 4.6400001e11},
		{"correcthorsebatterystaple", nil, Enough},
		{"qwertyuiop", nil, 23},
		{"zxcvbnmnbv", nil, 91_244.91489361704},
		{"aaaaaaa", nil, 85},
		{"abcabcabc", nil, 40},
		{"aabaabaabaab", nil, 4005}, // The part aab, not aabaab.
		{"kitty1985", nil, 61_100},
		{"kitty2025", nil, 61_100}, // A recent year, unlike in zxcvbn, which ends with 2019.
		{"1991-11-12", nil, 51_101},
		{"19911112", nil, 12_776},
		{"mailhost42", []string{"mailhost"}, 20_000},
		{"ma1lh0st42", []string{"mailhost"}, 20_000},
		{"Mailhost", []string{"near", "mailhost"}, 5},
		{"wiktorgrzybwiktorgrzyb", []string{"wiktorgrzyb"}, 5}, // zxcvbn forgets the hints in a repetition.
		{"ünïcödé", nil, 1e7 + 1},
	} {
		require.InEpsilon(t, c.want+1, Guesses(c.password, c.hints, 2026)+1, 1e-6, c.password)
	}
}

// score is the strength that package policy makes of a number of guesses.
func score(guesses float64) int { return int(min(100, math.Floor(8*math.Log10(max(1, guesses))))) }

// The verdict at each strength in use is zxcvbn's, for common passwords, for random ones, and for those that
// people make from words, dates, keyboards and repetitions.
func TestAgreement(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	of := func(characters string, least, most int) string {
		b := make([]byte, least+random.IntN(most-least+1))
		for i := range b {
			b[i] = characters[random.IntN(len(characters))]
		}
		return string(b)
	}
	common := frequency.FrequencyLists["passwords"]
	pick := func() string { return common[random.IntN(len(common))] }
	printable := " "
	for c := byte('!'); c <= '~'; c++ {
		printable += string(c)
	}
	hints := []string{"user@example.com", "user", "example.com", "example"}
	for name, password := range map[string]func() string{
		"common":     pick,
		"random":     func() string { return of(printable, 4, 24) },
		"lower case": func() string { return of("abcdefghijklmnopqrstuvwxyz", 4, 16) },
		"digits":     func() string { return of("0123456789", 4, 14) },
		"keyboard":   func() string { return of("qwertasdfgzxcvbQWERT12345!@#$%", 4, 14) },
		"repeated": func() string {
			return strings.Repeat(of("ab1x", 1, 4), 1+random.IntN(4)) + strings.Repeat(of("ab", 1, 3), 3)
		},
		"two words": func() string { return pick() + of("0123456789!.-", 0, 3) + strings.ToUpper(pick()) },
		"replaced": func() string {
			return strings.NewReplacer("a", "4", "e", "3", "o", "0", "s", "$").Replace(pick()) + of("!1", 0, 2)
		},
		"date": func() string {
			return fmt.Sprintf("%d%s%[1]d%[2]s%d", 1+random.IntN(12), of("-/.", 1, 1), 1950+random.IntN(70)) + of("abc", 0, 3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			differ := 0
			for range *sample {
				p := password()
				ours, theirs := score(Guesses(p, hints, time.Now().Year())), score(zxcvbn.PasswordStrength(p, hints).Guesses)
				for _, required := range []int{25, 65, 80} {
					if (ours < required) != (theirs < required) {
						t.Logf("%q: %d, zxcvbn %d", p, ours, theirs)
						differ++
						break
					}
				}
			}
			require.LessOrEqual(t, differ, *sample/100)
		})
	}
}

// No common password is called good, however its letters are written.
func TestCommon(t *testing.T) {
	for _, password := range frequency.FrequencyLists["passwords"] {
		require.Less(t, score(Guesses(password, nil, 2026)), 36, password)
		require.Less(t, score(Guesses(strings.ToUpper(password[:1])+password[1:], nil, 2026)), 40, password)
	}
}

func FuzzGuesses(f *testing.F) {
	for _, p := range []string{"", "password", "p4$$w0rd", "aabaabaab", "1991-11-12", "qwerty", "ünï", "\xff", "1!|7", strings.Repeat("ab", 200)} {
		f.Add(p, "user@example.com")
	}
	f.Fuzz(func(t *testing.T, password, hint string) {
		password, hint = password[:min(len(password), 511)], hint[:min(len(hint), 255)]
		got := Guesses(password, []string{hint}, 2026)
		require.False(t, math.IsNaN(got))
		require.GreaterOrEqual(t, got, 0.0)
		require.LessOrEqual(t, got, float64(Enough))
		// A password that is its own hint is guessed at once.
		if plain := strings.ToLower(password); plain == password && strings.Trim(password, unreplaced) == "" && password != "" {
			require.LessOrEqual(t, Guesses(password, []string{password}, 2026), 12.0)
		}
	})
}

// unreplaced are the characters of a password for the check with its own hint.
const unreplaced = "abcdefghijklmnopqrstuvwxyz0123456789.-@!$"

// The longest passwords that are taken, of the kinds that take the longest.
func BenchmarkGuesses(b *testing.B) {
	hints := []string{"user@example.com", "user", "example.com", "example"}
	for name, password := range map[string]string{
		"12":           "Tr0ub4dor&3x",
		"24":           "Tr0ub4dor&3xKq29!mZ7uWe.",
		"511 look":     strings.Repeat("1|!7il$", 73),
		"511 ones":     strings.Repeat("1|", 256)[:511],
		"511 repeated": strings.Repeat("0k%hd00mzhdhm$h1h$h0h$zmhz$00d$z0%z$1d$zhzz01hd0z%ddm%dm$1mm0zkkmh0hdhd01kz", 7)[:511],
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Guesses(password, hints, 2026)
			}
		})
	}
}
