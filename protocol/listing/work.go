package listing

import (
	"context"
	"regexp"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

const (
	// slice is how long is computed until pause is asked.
	slice = 2 * time.Millisecond
	// maxSteps bounds the patterns of one call: instructions of a pattern times bytes of text, which is
	// what Go's regular expressions take at most, some nanoseconds each. A hundred thousand records of 50
	// bytes against a pattern of 50 instructions take half of it.
	maxSteps = 500_000_000
	// maxMatch bounds one match in the same way: nothing interrupts it.
	maxMatch = 4_000_000
	// looks is after how many ticks the clock is looked at.
	looks = 32
)

// work bounds and paces the shaping of one result. After the first error all of it is refused.
type work struct {
	ctx     context.Context
	pause   func(context.Context) error
	started time.Time // The present slice.
	ticks   int
	steps   int // That are left.
	unseen  int // Steps since the clock was looked at.
	err     error
}

// quickPrograms is up to which size in instructions patterns are compiled without waiting for a turn.
const quickPrograms = 500

// compile compiles the filters' patterns. Large ones wait for a turn first: of all that are asked for,
// those of one call are there at a time.
func (o Options) compile(w *work) error {
	size := 0
	for _, f := range o.filters {
		size += f.size
	}
	if size > quickPrograms && w.pause != nil {
		if w.err = w.pause(w.ctx); w.err != nil {
			return w.err
		}
		w.started = time.Now()
	}
	for i, f := range o.filters {
		if f.kind != "matches" {
			continue
		}
		pattern, err := regexp.Compile(f.term)
		if err != nil { // It was parsed before.
			return protocol.NewError(protocol.KindInvalid, "A filter’s regular expression can't be compiled.")
		}
		o.filters[i].pattern = pattern
	}
	return nil
}

// tick is called for each record and comparison; it reports whether to go on.
func (w *work) tick() bool {
	if w.ticks++; w.ticks%looks == 0 {
		w.look()
	}
	return w.err == nil
}

// spend takes the steps of looking at a value; it reports whether to do it.
func (w *work) spend(steps int) bool {
	if w.err != nil {
		return false
	}
	if w.steps -= steps; w.steps < 0 || steps > maxMatch {
		w.err = protocol.NewError(protocol.KindInvalid, "The filter’s regular expressions take too long for the records that there are. Use simpler ones.")
		return false
	}
	if w.unseen += steps; w.unseen > maxMatch/1000 {
		w.unseen = 0
		w.look()
	}
	return w.err == nil
}

// look ends a slice whose time is over.
func (w *work) look() {
	if w.err != nil || time.Since(w.started) < slice {
		return
	}
	if w.err = w.ctx.Err(); w.err == nil && w.pause != nil {
		w.err = w.pause(w.ctx)
	}
	w.started = time.Now()
}
