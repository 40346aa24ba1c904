// Package worker runs plugins as processes: start, handshake, calls, crash, restart.
//
// supervisor.go has a plugin's options and its calls to workers, stages.go the parts of a call (before, do,
// after), accountworker.go the worker of an account with its start and its idle time, crash.go what happens
// after a crash, pool.go the limit of all workers, worker.go the start of a process, and runner.go and dial.go
// the handshake and the connection.
//
// A worker is untrusted: in server mode it has a tenant's uid, and the tenant may kill it, stop it, or make it
// print and send anything. So:
//
//   - go-plugin never starts the process, never reads its standard error, and sees no line of its standard
//     output that was not checked here first;
//   - the host connects to a socket in the worker's own directory only, and only if the kernel says that the
//     worker's uid listens there;
//   - the binary that was checked is the binary that runs: a single descriptor serves both;
//   - stopping a worker begins with SIGKILL to its process group; nothing waits for its cooperation;
//   - messages have a size limit in both directions, and every document is walked before it is decoded.
//
// A single thread starts all workers and lives as long as they do. The kernel kills a worker when that thread
// ends (PR_SET_PDEATHSIG), so that no worker outlives the host.
package worker
