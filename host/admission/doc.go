// Package admission decides how much of the shared resources each account and each network client may use:
// calls, connections, sessions, buffered bytes, processor time. Every front door asks this package before it
// parses, buffers or computes anything. The same rule applies to every resource: no account, no client, and
// not even all strangers (clients that have not signed in) together can use up a resource so that nothing is
// left for the others. If there is no room for a newcomer, the holder with the largest share must give up a
// part of its share.
//
// The package does not handle any network protocol or module. A holder is identified by a name, and its share
// is a number.
package admission
