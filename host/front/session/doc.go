// Package session serves LiveAPI sessions: over a UNIX socket, where the kernel says
// who the peer is, and over one pair of streams. It turns frames into calls and
// results into answers, keeps the limits, and drains. Who may call what is the host's.
package session
