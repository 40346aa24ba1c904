// Command liveapi-pam asks PAM whether a password is a user's, for the host, which has PAM's
// libraries in no process of its own. It reads the service's name, the user's and the password from
// standard input, each ended by a NUL byte, and ends with 0 where it is, 1 where it is not, and 2
// where that can't be told, which it says on standard error.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxInput bounds what is read, in bytes.
const maxInput = 4 << 10

func main() { os.Exit(run(os.Stdin, os.Stderr)) }

func run(in io.Reader, log io.Writer) int {
	fail := func(err error) int {
		_, _ = fmt.Fprintln(log, "liveapi-pam: "+err.Error())
		return 2
	}
	// A password is in its memory, for a moment.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fail(err)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput))
	if err != nil {
		return fail(err)
	}
	fields := bytes.Split(text, []byte{0})
	if len(fields) != 4 || len(fields[3]) != 0 {
		return fail(fmt.Errorf("standard input must be three texts, each ended by a NUL byte"))
	}
	ok, err := authenticate(string(fields[0]), string(fields[1]), fields[2])
	switch {
	case err != nil:
		return fail(err)
	case ok:
		return 0
	}
	return 1
}
