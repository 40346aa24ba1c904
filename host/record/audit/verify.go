package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrBroken is a log whose lines are not those that were written.
var ErrBroken = errors.New("audit: the chain is broken")

// Chain is where a log has got to.
type Chain struct {
	N       uint64 // The last record's number.
	Hash    string // The last line's hash.
	Records uint64 // How many were looked at.
	started bool
}

// Verify reads a log from its first line to its last, or goes on where an older file ended. Of
// the oldest file that is kept the first line is taken as it is. A last line that is only half
// there is told apart: the host that writes next cuts it.
func (c *Chain) Verify(r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine+1)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: behind record %d there is a line without an end", ErrBroken, c.N)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: behind record %d there is a line of more than %d bytes", ErrBroken, c.N, maxLine)
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
		return fmt.Errorf("%w: the line behind record %d is no record", ErrBroken, c.N)
	}
	switch {
	case !c.started && r.N == 1 && r.Prev != zeros:
		return fmt.Errorf("%w: record 1 has something before it", ErrBroken)
	case c.started && r.N != c.N+1:
		return fmt.Errorf("%w: record %d is followed by record %d", ErrBroken, c.N, r.N)
	case c.started && r.Prev != c.Hash:
		return fmt.Errorf("%w: record %d is not what it was when record %d was written", ErrBroken, c.N, r.N)
	}
	c.started, c.N, c.Hash = true, r.N, hashOf(line)
	c.Records++
	return nil
}
