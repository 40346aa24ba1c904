// Package worker runs plugins as processes: start, handshake, calls, crash, restart.
//
// A worker is on the attacker's side: in server mode it has a tenant's uid, and the
// tenant may kill it, stop it, or have it print and send anything. So:
//
//   - go-plugin never starts the process, reads its standard error, or sees a line of
//     its standard output that was not checked here first;
//   - the host connects to a socket in the worker's own directory only, and only where
//     the kernel says the worker's uid listens;
//   - the binary that was checked is the one that runs: one descriptor serves both;
//   - ending a worker starts with SIGKILL to its process group; nothing waits for its
//     good will;
//   - messages have a size limit both ways, and every document is walked first.
//
// One supervisor thread starts all workers and never ends before them: the kernel ends
// a worker when that thread ends (PR_SET_PDEATHSIG), so that none outlives the host.
package worker
