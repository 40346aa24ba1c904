package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrBroken is returned for a log that was changed after it was written.
var ErrBroken = errors.New("audit: the chain is broken")

// Chain is the state of a verified log.
type Chain struct {
	N       uint64 // The number of the last record.
	Hash    string // The hash of the last line.
	Records uint64 // The number of verified records.
	started bool
}

// Verify verifies a log from its first line to its last, or continues after an older file. The first line of
// the oldest file that is kept is trusted. An incomplete last line has an error of its own; the host
// truncates it when it next opens the log.
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
		return fmt.Errorf("%w: record 1 has something before it", ErrBroken)
	case c.started && r.N != c.N+1:
		return fmt.Errorf("%w: record %d is followed by record %d", ErrBroken, c.N, r.N)
	case c.started && r.Prev != c.Hash:
		return fmt.Errorf("%w: record %d was changed after record %d was written", ErrBroken, c.N, r.N)
	}
	c.started, c.N, c.Hash = true, r.N, hashOf(line)
	c.Records++
	return nil
}
