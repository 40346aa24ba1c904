// Package session serves LiveAPI sessions, either over a UNIX socket, on which the kernel identifies the
// connecting user, or over a pair of streams. It decodes frames into calls, encodes results as answers,
// enforces the limits of sessions, and drains sessions at shutdown. The package does not decide which calls
// are allowed; the host does.
package session
