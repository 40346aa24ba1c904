// Package files keeps mailboxes in cPanel's own layout, where Dovecot reads them:
//
//	HOME/etc/DOMAIN/shadow   localpart:hash:day:::::: one line a mailbox
//	HOME/etc/DOMAIN/passwd   which mailboxes there are
//
// How a change is made, and why it is never half made:
//
//  1. Changes to one domain that wait together are made together (group commit).
//  2. The lock is a flock on .liveapid.lock beside the store. That file is never
//     removed: a lock on a file that may be replaced protects nothing. It is not called
//     shadow.lock, because to cPanel's own programs that name's existence is a lock.
//  3. Under the lock the file is read whole, the one field of the one line changed, and
//     everything else kept byte for byte.
//  4. The new content goes to .shadow.liveapid.tmp in the same folder: same owner, mode
//     and ACL, and a modification time at least one whole second newer than the old
//     one's. Dovecot rereads a file only when its size or the whole second of its mtime
//     differ, and hashes are all of one size.
//  5. fsync, rename over the old file, fsync of the folder.
//
// Every name below the home is opened with openat2 beneath the home and without
// following any link, because the home's owner may move things at any moment; what was
// opened must be a regular file of the owner's, with one link and of bounded size.
package files
