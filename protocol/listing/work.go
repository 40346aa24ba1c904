package listing

import (
	"context"
	"regexp"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

const (
	// slice is the computing time after which look calls pause.
	slice = 2 * time.Millisecond
	// maxSteps is the maximum number of steps for all filters of a call. Matching a pattern costs the number
	// of its instructions times the bytes of the text, which is the worst case of Go's regular expressions; a
	// step takes some nanoseconds. For example, a pattern of 50 instructions on a hundred thousand records of
	// 50 bytes takes half of maxSteps.
	maxSteps = 500_000_000
	// maxMatch is the maximum number of steps of a single match. A match can't be interrupted, so its time
	// must be bounded in advance.
	maxMatch = 4_000_000
	// looks is the number of calls of tick after which tick checks the clock, because a check at every call
	// would be slow.
	looks = 32
)

// work limits the computing time of a call's filters and sorting, and calls pause at intervals. After the
// first error, tick and spend return false and no more work is done.
type work struct {
	ctx     context.Context
	pause   func(context.Context) error
	started time.Time // Start of the current slice.
	ticks   int
	steps   int // The steps that the call may still use.
	unseen  int // Steps since spend last checked the clock.
	err     error
}

// quickPrograms is the maximum total size of patterns, in instructions, that compile compiles without calling
// pause first.
const quickPrograms = 500

// compile compiles the patterns of the filters. If the patterns are large, compile first calls pause, which
// waits until it is this call's turn. In this way, only a single call at a time has large compiled patterns
// in memory.
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
		if err != nil { // Unreachable: measure parsed the pattern before.
			return protocol.NewError(protocol.KindInvalid, "A filter’s regular expression can't be compiled.")
		}
		o.filters[i].pattern = pattern
	}
	return nil
}

// tick must be called for each record and each comparison. It returns false if the work must stop.
func (w *work) tick() bool {
	if w.ticks++; w.ticks%looks == 0 {
		w.look()
	}
	return w.err == nil
}

// spend subtracts steps from the remaining steps of the call, before they are used. It returns false if the
// work must stop, for example because the limit is exceeded.
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

// look checks the clock. If the current slice is over, look calls pause and starts a new slice.
func (w *work) look() {
	if w.err != nil || time.Since(w.started) < slice {
		return
	}
	if w.err = w.ctx.Err(); w.err == nil && w.pause != nil {
		w.err = w.pause(w.ctx)
	}
	w.started = time.Now()
}
