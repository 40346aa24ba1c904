// Package worker runs plugins as processes: start, handshake, calls, crash, restart.
//
// supervisor.go contains the options of a plugin and the calls to its workers, stages.go the parts of a call
// (before, do, after), accountworker.go the start and the idle time of an account's worker, crash.go the
// handling of crashes, pool.go the limit for the number of all workers, worker.go the start of a process, and
// runner.go, handshake.go and dial.go the handshake and the connection.
//
// A worker is untrusted: in server mode it runs with the uid of a tenant, and the tenant may kill it, stop it,
// or make it print and send anything. Therefore:
//
//   - go-plugin does not start the process, does not read its standard error, and gets only one line of its
//     standard output, the handshake, which this package has checked;
//   - the host connects only to a socket in the worker's own directory, and only if the kernel reports that a
//     process with the worker's uid listens on that socket;
//   - the binary that was checked is the binary that runs, because the same descriptor is used for both;
//   - to stop a worker, the host first sends SIGKILL to its process group, so a stop never depends on the
//     worker's cooperation;
//   - messages have a maximum size in both directions, and the structure of every document is checked before
//     the document is decoded.
//
// A single thread starts all workers and lives as long as the workers do. The kernel kills a worker when that
// thread ends (PR_SET_PDEATHSIG), so that no worker outlives the host.
package worker
