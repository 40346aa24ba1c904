package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrBroken is returned by Verify if the log is not what the host wrote: a line was changed, inserted,
// removed or is incomplete.
var ErrBroken = errors.New("audit: the chain is broken")

// Chain is the state of a verification. It carries over from one file of a log to the next.
type Chain struct {
	N       uint64 // Number of the last verified record.
	Hash    string // Hash of the last verified line.
	Records uint64 // Number of records verified so far.
	started bool
}

// Verify verifies all lines of the log file in r. To verify a log of several files, call Verify for each file
// with the same Chain, beginning with the oldest file. The first line of the oldest file is trusted, because
// the files before it may have been deleted. If the last line is incomplete, the text of the error reports
// that; the host truncates such a line when it opens the log again.
func (c *Chain) Verify(r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine+1)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: incomplete line after record %d", ErrBroken, c.N)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: line after record %d has more than %d bytes", ErrBroken, c.N, maxLine)
		}
		if err != nil {
			return err
		}
		if err := c.next(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
	}
}

func (c *Chain) next(line []byte) error {
	var r Record
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || dec.More() {
		return fmt.Errorf("%w: line after record %d is not a record", ErrBroken, c.N)
	}
	switch {
	case !c.started && r.N == 1 && r.Prev != zeros:
		return fmt.Errorf("%w: record 1 refers to an earlier record", ErrBroken)
	case c.started && r.N != c.N+1:
		return fmt.Errorf("%w: record %d is followed by record %d", ErrBroken, c.N, r.N)
	case c.started && r.Prev != c.Hash:
		return fmt.Errorf("%w: the hash of record %d is not the hash that record %d contains", ErrBroken, c.N, r.N)
	}
	c.started, c.N, c.Hash = true, r.N, hashOf(line)
	c.Records++
	return nil
}
