// Command liveapi-pam asks PAM whether a password is right. It is a program of its own so that the host does
// not load PAM's libraries. It reads the name of the service, the name of the user and the password from
// standard input, each with a NUL byte at its end. It exits with 0 if the password is right, 1 if it is
// wrong, and 2 with a message on standard error if PAM could not decide.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxInput limits the input, in bytes.
const maxInput = 4 << 10

func main() { os.Exit(run(os.Stdin, os.Stderr)) }

func run(in io.Reader, log io.Writer) int {
	fail := func(err error) int {
		_, _ = fmt.Fprintln(log, "liveapi-pam: "+err.Error())
		return 2
	}
	// The process holds a password for a moment, so it must not be dumped or traced.
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
