// Command liveapi-pam asks PAM whether a password is correct. It is a separate program so that the host does
// not load PAM's libraries. Standard input contains the name of the PAM service, the name of the user and the
// password, each terminated by a NUL byte. The exit status is 0 if PAM accepts the password, 1 if PAM rejects
// the password or the account, and 2, with a message on standard error, if PAM could not decide or the input
// is invalid.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxInput is the maximum size of the input, in bytes.
const maxInput = 4 << 10

func main() { os.Exit(run(os.Stdin, os.Stderr)) }

func run(in io.Reader, log io.Writer) int {
	fail := func(err error) int {
		_, _ = fmt.Fprintln(log, "liveapi-pam: "+err.Error())
		return 2
	}
	// While the process holds the password in memory, no other process of its user may trace it, and it must
	// not write a core dump.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fail(err)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput))
	if err != nil {
		return fail(err)
	}
	fields := bytes.Split(text, []byte{0})
	if len(fields) != 4 || len(fields[3]) != 0 {
		return fail(fmt.Errorf("standard input must contain three strings, each followed by a NUL byte"))
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
