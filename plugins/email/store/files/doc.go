// Package files keeps mailboxes in cPanel's own layout, where Dovecot reads them:
//
//	HOME/etc/DOMAIN/shadow   localpart:hash:day:::::: a line for each mailbox
//	HOME/etc/DOMAIN/passwd   the list of mailboxes
//
// A change is made completely or not at all:
//
//  1. Changes to a domain that wait at the same time are made together (group commit).
//  2. The lock is a flock on .liveapid.lock in the store's directory. That file is never removed, because a lock
//     on a file that may be replaced protects nothing. It is not called shadow.lock: to cPanel's own programs the
//     existence of that name is a lock.
//  3. Under the lock the whole file is read, the one field of the one line is changed, and everything else is
//     kept byte for byte.
//  4. The new content is written to .shadow.liveapid.tmp in the same directory, with the same owner, mode and ACL,
//     and with a modification time at least a whole second after the old file's. Dovecot reads a file again only
//     if its size or the whole second of its mtime differs, and all hashes have the same size.
//  5. fsync, rename over the old file, fsync of the directory.
//
// Every name below the home is opened with openat2 beneath the home and without following links, because the
// home's owner may move files at any moment. An opened file must be regular, must belong to the owner, and must
// have a single link and a limited size.
package files
