// Package isolate runs the programs of plugins so that they can't harm the host or each other: it checks the
// binary, starts the program with the uid and gid of an account, limits the memory and the number of
// processes with a control group, kills the program together with everything that it started, and removes the
// directory of its socket.
//
// The package does not handle the plugin protocol or account files; package host/worker talks to the
// processes that this package starts. The subpackage execas contains the launcher that drops root's
// privileges. The subpackage terminal provides the pseudo-terminal for a program that root runs for an
// account.
package isolate
