// Package files keeps mailboxes in cPanel's own layout, where Dovecot reads them:
//
//	HOME/etc/DOMAIN/shadow   localpart:hash:day:::::: a line for each mailbox
//	HOME/etc/DOMAIN/passwd   the list of mailboxes
//
// A change is made completely or not at all:
//
//  1. Changes to a domain that wait at the same time are committed together (group commit).
//  2. The lock is a flock on .liveapid.lock in the domain's directory. This file is never removed: if it were
//     replaced, two processes could lock two different files. It is not called shadow.lock, because cPanel's own
//     programs treat the existence of shadow.lock as a lock.
//  3. While the lock is held, the whole file is read, a single field of a single line is changed, and everything
//     else is kept byte for byte.
//  4. The new content is written to .shadow.liveapid.tmp in the same directory, with the owner, mode and ACL of
//     the old file, and with a modification time that is at least a whole second later. Dovecot reads a file
//     again only if its size or the seconds of its mtime differ, and the size does not change, because all hashes
//     have the same length.
//  5. fsync the file, rename it over the old file, fsync the directory.
//  6. A change of several files and directories first writes its work to .liveapid.intent. Whoever locks the domain
//     next makes an interrupted change again, which has the same result whatever part of it was done. Temporary
//     files that were left are removed under the lock.
//
// All files are read by the rules in lines.go.
//
// Every name below the home is opened with openat2, which stays beneath the home and follows no links, because
// the owner of the home may move files at any moment. An opened file must be regular, must belong to the owner,
// must have a single link, and must not exceed the maximum size.
package files
