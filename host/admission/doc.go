// Package admission decides how much of the shared resources each account and each network client may use:
// calls, connections, sessions, buffered bytes, processor time. Every front door asks it before it parses,
// buffers or computes anything. One rule holds everywhere: no account, no client and not even all strangers
// together can take the last share of the others. If a newcomer finds no room, the holder with the largest
// share gives some up.
//
// The package knows no protocol and no module. A holder is a name, and its share is a number.
package admission
