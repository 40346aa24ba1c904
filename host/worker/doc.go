// Package worker runs plugins as processes: start, handshake, calls, crash, restart.
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
