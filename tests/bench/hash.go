package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/protocol"
)

const benchPassword = "N3w passw0rd, 20 long"

// hash compares the time of a hash by this project with that of crypt(3) of libxcrypt, with the same number
// of rounds. crypt(3) is measured through Perl's function crypt, which adds about a microsecond per hash.
func (b *bench) hash() error {
	hasher, err := password.NewHasher(password.SHA512Crypt)
	if err != nil {
		return err
	}
	n := b.times(1000)
	var ours, theirs samples
	for range 5 { // Alternate, so that changes of CPU speed affect both.
		s, err := timed(n/5, func() error {
			_, err := hasher.Hash(context.Background(), protocol.NewSecret(benchPassword))
			return err
		})
		if err != nil {
			return err
		}
		ours = append(ours, s...)
		out, err := exec.Command("perl", "-MTime::HiRes=time", "-e",
			`my $n = shift; my $t = time; crypt($ARGV[0], '$6$abcdefghijklmnop$') for 1 .. $n; printf "%.9f", (time - $t) / $n`,
			strconv.Itoa(n/5), benchPassword).Output()
		if err != nil {
			return fmt.Errorf("perl: %w", err)
		}
		seconds, err := strconv.ParseFloat(string(out), 64)
		if err != nil {
			return err
		}
		theirs = append(theirs, time.Duration(seconds*1e9))
	}
	table("One hash: SHA512-CRYPT, 5,000 rounds", []string{"what", "median", "ratio to crypt(3)"}, [][]string{
		{"ours (go-crypt)", ms(ours.median()), ratio(float64(ours.median()), float64(theirs.median()))},
		{"libxcrypt's crypt(3)", ms(theirs.median()), "1"},
	})
	return nil
}

// hashRate returns how many passwords all cores together can hash in a second. This is the upper limit for
// the rate of password changes. hashRate sets the same GC percentage as a worker, so that the garbage
// collector runs equally seldom.
func hashRate(length time.Duration) (float64, error) {
	hasher, err := password.NewHasher(password.SHA512Crypt)
	if err != nil {
		return 0, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var mu sync.Mutex
	var all sync.WaitGroup
	total := 0
	start := time.Now()
	for range runtime.NumCPU() {
		all.Go(func() {
			n := 0
			for time.Since(start) < length {
				if _, err := hasher.Hash(context.Background(), protocol.NewSecret(benchPassword)); err == nil {
					n++
				}
			}
			mu.Lock()
			total += n
			mu.Unlock()
		})
	}
	all.Wait()
	return float64(total) / time.Since(start).Seconds(), nil
}
