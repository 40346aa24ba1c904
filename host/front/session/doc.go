// Package session serves LiveAPI sessions over a UNIX socket, where the kernel names the peer, and over a
// pair of streams. It turns frames into calls and results into answers, enforces the limits, and drains. The
// host decides which calls are allowed.
package session
