package listing

import (
	"context"
	"regexp"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

const (
	// slice is the computing time between two calls of pause.
	slice = 2 * time.Millisecond
	// maxSteps limits the patterns of a call: instructions of a pattern times bytes of text, which is the
	// highest cost of Go's regular expressions, some nanoseconds each. A hundred thousand records of 50 bytes
	// with a pattern of 50 instructions need half of it.
	maxSteps = 500_000_000
	// maxMatch limits a single match in the same way, because a match can't be interrupted.
	maxMatch = 4_000_000
	// looks is the number of ticks between two looks at the clock.
	looks = 32
)

// work limits and paces the filtering and sorting of a result. After the first error it does nothing more.
type work struct {
	ctx     context.Context
	pause   func(context.Context) error
	started time.Time // When the current slice began.
	ticks   int
	steps   int // The steps that are left.
	unseen  int // Steps since the last look at the clock.
	err     error
}

// quickPrograms is the size in instructions up to which patterns are compiled without waiting for a turn.
const quickPrograms = 500

// compile compiles the filters' patterns. Large patterns wait for a turn first, so that those of a single
// call are in memory at a time.
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
		if err != nil { // Unreachable: the pattern was parsed before.
			return protocol.NewError(protocol.KindInvalid, "A filter’s regular expression can't be compiled.")
		}
		o.filters[i].pattern = pattern
	}
	return nil
}

// tick is called for each record and each comparison. It reports whether to go on.
func (w *work) tick() bool {
	if w.ticks++; w.ticks%looks == 0 {
		w.look()
	}
	return w.err == nil
}

// spend uses the steps for a value. It reports whether to go on.
func (w *work) spend(steps int) bool {
	if w.err != nil {
		return false
	}
	if w.steps -= steps; w.steps < 0 || steps > maxMatch {
		w.err = protocol.NewError(protocol.KindInvalid, "The filter’s regular expressions take too long for the number of records. Use simpler ones.")
		return false
	}
	if w.unseen += steps; w.unseen > maxMatch/1000 {
		w.unseen = 0
		w.look()
	}
	return w.err == nil
}

// look ends a slice when its time is over.
func (w *work) look() {
	if w.err != nil || time.Since(w.started) < slice {
		return
	}
	if w.err = w.ctx.Err(); w.err == nil && w.pause != nil {
		w.err = w.pause(w.ctx)
	}
	w.started = time.Now()
}
