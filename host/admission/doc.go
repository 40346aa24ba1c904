// Package admission decides how much each account and each network client may have of what all of
// them share: calls, connections, sessions, bytes that are buffered, processor time. Every front door
// asks it before it parses, buffers or computes anything, under one rule: no account, no client and not
// all strangers together can take the last place of the others. Whoever finds no room gets some from the
// holder that has most.
//
// The package knows no protocol and no module: a holder is a name, and what it holds is a number.
package admission
