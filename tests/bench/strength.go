package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/trustelem/zxcvbn"
	"github.com/trustelem/zxcvbn/frequency"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/policy/strength"
	"github.com/liveapid/liveapid/protocol"
)

// strength compares the time of an estimate of a password's strength with that of a hash, and the verdicts with those
// of zxcvbn.
func (b *bench) strength() error {
	hasher, err := password.NewHasher(password.SHA512Crypt)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	printable := ""
	for c := byte('!'); c <= '~'; c++ {
		printable += string(c)
	}
	of := func(characters string, length int) string {
		out := make([]byte, length)
		for i := range out {
			out[i] = characters[random.IntN(len(characters))]
		}
		return string(out)
	}
	hints := []string{"user@example.com", "user", "example.com", "example"}
	year := time.Now().Year()
	var rows [][]string
	for _, length := range []int{8, 12, 16, 24, 64, password.MaxBytes} {
		var ours, hashes, worst samples
		kinds := []string{of(printable, length), of("1|!7il4@", length), of("ab", length), strings.Repeat(of(printable, length/2), 2), strings.Repeat("1|", length/2)}
		for range b.times(200) {
			for i, text := range kinds {
				s, _ := timed(1, func() error { strength.Guesses(text, hints, year); return nil })
				if worst = append(worst, s...); i == 0 {
					ours = append(ours, s...)
				}
			}
		}
		secret := protocol.NewSecret(kinds[0])
		if hashes, err = timed(b.times(100), func() error { _, err := hasher.Hash(context.Background(), secret); return err }); err != nil {
			return err
		}
		rows = append(rows, []string{strconv.Itoa(length), us(ours.median()), us(worst.p99()), ms(hashes.median()), fmt.Sprintf("%.3f", float64(ours.median())/float64(hashes.median()))})
	}
	table("The strength of a password", []string{"bytes", "estimate, median", "all kinds, p99", "hash, median", "ratio of the medians"}, rows)

	score := func(guesses float64) int { return int(min(100, math.Floor(8*math.Log10(max(1, guesses))))) }
	common := frequency.FrequencyLists["passwords"]
	rows = nil
	for _, c := range []struct {
		name string
		make func() string
	}{
		{"common passwords", func() string { return common[random.IntN(len(common))] }},
		{"random passwords of 4 to 24 characters", func() string { return of(printable, 4+random.IntN(21)) }},
	} {
		n, same := b.times(10_000), 0
		for range n {
			text := c.make()
			ours, theirs := score(strength.Guesses(text, hints, year)), score(zxcvbn.PasswordStrength(text, hints).Guesses)
			agree := true
			for _, required := range []int{25, 65, 80} {
				agree = agree && (ours < required) == (theirs < required)
			}
			if agree {
				same++
			}
		}
		rows = append(rows, []string{c.name, strconv.Itoa(n), fmt.Sprintf("%.2f %%", 100*float64(same)/float64(n))})
	}
	table("Verdicts at 25, 65 and 80 that agree with zxcvbn's", []string{"passwords", "number", "the same"}, rows)
	return nil
}
