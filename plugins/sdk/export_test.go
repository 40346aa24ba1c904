package sdk

import "io"

// SetLogForTest sends s's log to w.
func SetLogForTest(s *Server, w io.Writer) { s.log = w }
