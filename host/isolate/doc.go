// Package isolate runs the programs of plugins so that they cannot harm the host or each other: it
// checks the binary, starts it with an account's uid and gid, bounds its memory and its processes in a
// control group, kills it with everything that it started, and cleans up the directory of its socket.
//
// It knows no plugin protocol and no account file; host/worker talks to the processes that this package
// starts. Package execas below it holds the launcher that drops root's privileges, package terminal the
// pseudo-terminal of a program that root runs for an account.
package isolate
