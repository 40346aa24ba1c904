package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// SetHash implements store.Store.
func (s *Store) SetHash(ctx context.Context, box store.Address, hash string) error {
	if err := store.CheckHash(hash); err != nil {
		return err
	}
	return s.change(ctx, "change the password", func(tx *sql.Tx) error {
		r, err := s.find(ctx, tx, box, true)
		if err != nil {
			return err
		}
		marks, old := store.SplitMarks(r.password)
		if flags, _ := store.Marked(marks, old); flags.Has(store.Locked) {
			return store.ErrSuspended
		}
		_, err = s.exec(ctx, tx, "UPDATE mailbox SET password = ?, modified = CURRENT_TIMESTAMP WHERE username = ?", store.KeptMarks(marks, old)+hash, r.username)
		if err != nil {
			return err
		}
		return s.expiry(ctx, tx, box)
	})
}

// expiry sets the date on which the new password expires, if the domain limits the lifetime of passwords.
func (s *Store) expiry(ctx context.Context, tx *sql.Tx, box store.Address) error {
	query := `UPDATE mailbox SET password_expiry = CURRENT_TIMESTAMP + d.password_expiry * interval '1 day'
		FROM domain d WHERE d.domain = mailbox.domain AND d.password_expiry > 0 AND mailbox.username = ?`
	if s.d.mariadb {
		query = `UPDATE mailbox m JOIN domain d ON d.domain = m.domain AND d.password_expiry > 0
			SET m.password_expiry = DATE_ADD(NOW(), INTERVAL d.password_expiry DAY) WHERE m.username = ?`
	}
	// Older schemas lack the column password_expiry, so the update may fail. On PostgreSQL an error aborts
	// the whole transaction unless it is rolled back to a savepoint, so a savepoint is set before the update.
	if _, err := s.exec(ctx, tx, "SAVEPOINT expiry"); err != nil {
		return err
	}
	if _, err := s.exec(ctx, tx, query, box.String()); err != nil {
		if !s.d.missing(err) {
			return err
		}
		_, err = s.exec(ctx, tx, "ROLLBACK TO SAVEPOINT expiry")
		return err
	}
	_, err := s.exec(ctx, tx, "RELEASE SAVEPOINT expiry")
	return err
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, box store.Mailbox, hash string) error {
	return s.Import(ctx, []store.Entry{{Mailbox: box, Hash: hash}}, false)
}

// Import implements store.Transfer. It creates all mailboxes in a single transaction.
func (s *Store) Import(ctx context.Context, entries []store.Entry, replace bool) error {
	for _, e := range entries {
		if err := e.Check(); err != nil {
			return err
		}
	}
	return s.change(ctx, "create the mailbox", func(tx *sql.Tx) error {
		domains := make(map[string]bool)
		for _, e := range entries {
			if !domains[e.Domain] {
				domains[e.Domain] = true
				if _, err := s.exec(ctx, tx, s.d.insertIgnore+" domain (domain, description, active) VALUES (?, '', ?)"+s.d.ignore, e.Domain, true); err != nil {
					return err
				}
			}
			if replace {
				if replaced, err := s.replace(ctx, tx, e); err != nil || replaced {
					if err != nil {
						return err
					}
					continue
				}
			}
			if err := s.insert(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// replace gives an existing mailbox the data of an entry, and reports whether the mailbox exists.
func (s *Store) replace(ctx context.Context, tx *sql.Tx, e store.Entry) (bool, error) {
	n, err := s.exec(ctx, tx, "UPDATE mailbox SET password = ?, quota = ?, active = ?, modified = CURRENT_TIMESTAMP WHERE username = ?",
		e.Field(), e.Quota, true, e.String())
	if err != nil || n == 0 {
		return false, err
	}
	return true, errors.Join(s.ownAlias(ctx, tx, e.Address), s.writeFlags(ctx, tx, e.Address, e.Suspended))
}

func (s *Store) insert(ctx context.Context, tx *sql.Tx, e store.Entry) error {
	password := e.Field()
	_, err := s.exec(ctx, tx, `INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain, active)
		VALUES (?, ?, '', ?, ?, ?, ?, ?)`, e.String(), password, e.Domain+"/"+e.Localpart+"/", e.Quota, e.Localpart, e.Domain, true)
	if s.d.duplicate(err) {
		return fmt.Errorf("%w: %s", store.ErrExists, e.String())
	}
	if err != nil {
		return err
	}
	if err := s.ownAlias(ctx, tx, e.Address); err != nil {
		return err
	}
	return s.writeFlags(ctx, tx, e.Address, e.Suspended)
}

// ownAlias gives a mailbox an alias with its own address as the destination. Without this alias, PostfixAdmin's
// maps would deliver the mailbox's mail to the domain's catch-all address, if there is one. An existing alias with
// another destination was set by a person, and is kept.
func (s *Store) ownAlias(ctx context.Context, tx *sql.Tx, box store.Address) error {
	_, err := s.exec(ctx, tx, s.d.insertIgnore+" alias (address, "+s.quoted("goto")+", domain, active) VALUES (?, ?, ?, ?)"+s.d.ignore, box.String(), box.String(), box.Domain, true)
	return err
}

// quoted returns word in backquotes on MariaDB, where the column names that are passed to it are reserved
// words. On PostgreSQL it returns word unchanged.
func (s *Store) quoted(word string) string {
	if s.d.mariadb {
		return "`" + word + "`"
	}
	return word
}

// writeFlags writes the suspensions except Login and Locked, which are marks in front of the hash, to the table
// liveapid_suspension. A mailbox without these suspensions has no row.
func (s *Store) writeFlags(ctx context.Context, tx *sql.Tx, box store.Address, flags store.Suspension) error {
	if flags&^store.NoLogin == 0 {
		_, err := s.exec(ctx, tx, "DELETE FROM liveapid_suspension WHERE username = ?", box.String())
		return err
	}
	_, err := s.exec(ctx, tx, s.d.suspend, box.String(), flags.Has(store.Incoming), flags.Has(store.Outgoing), flags.Has(store.Hold))
	return err
}

// Delete implements store.Store. It never removes mail, even if keep.Mail is false, because the mail is on
// the mail server.
func (s *Store) Delete(ctx context.Context, box store.Address, keep store.Keep) error {
	return s.change(ctx, "delete the mailbox", func(tx *sql.Tx) error {
		name := box.String()
		n, err := s.exec(ctx, tx, "DELETE FROM mailbox WHERE username = ?", name)
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrNoMailbox
		}
		if _, err := s.exec(ctx, tx, "DELETE FROM alias WHERE address = ? AND "+s.quoted("goto")+" = ?", name, name); err != nil {
			return err
		}
		if _, err := s.exec(ctx, tx, "DELETE FROM liveapid_suspension WHERE username = ?", name); err != nil {
			return err
		}
		if keep.Quota || keep.Mail {
			return nil
		}
		if _, err := s.exec(ctx, tx, "SAVEPOINT quota"); err != nil {
			return err
		}
		if _, err := s.exec(ctx, tx, "DELETE FROM quota2 WHERE username = ?", name); s.d.missing(err) {
			_, err = s.exec(ctx, tx, "ROLLBACK TO SAVEPOINT quota")
			return err
		} else if err != nil {
			return err
		}
		return nil
	})
}

// SetQuota implements store.Store.
func (s *Store) SetQuota(ctx context.Context, box store.Address, bytes int64) error {
	if bytes < 0 {
		return fmt.Errorf("%w: the quota is negative: %d bytes", store.ErrUnsafe, bytes)
	}
	return s.change(ctx, "change the quota", func(tx *sql.Tx) error {
		n, err := s.exec(ctx, tx, "UPDATE mailbox SET quota = ?, modified = CURRENT_TIMESTAMP WHERE username = ?", bytes, box.String())
		if err == nil && n == 0 {
			return store.ErrNoMailbox
		}
		return err
	})
}

// Suspend implements store.Store.
func (s *Store) Suspend(ctx context.Context, box store.Address, flags store.Suspension, on bool) error {
	return s.change(ctx, "suspend the mailbox", func(tx *sql.Tx) error {
		r, err := s.find(ctx, tx, box, true)
		if err != nil {
			return err
		}
		if flags.Has(store.Login) {
			marks, hash := store.SplitMarks(r.password)
			is, own := store.Marked(marks, hash)
			if is.Has(store.Locked) && !on {
				return store.ErrSuspended
			}
			mark := own
			switch {
			case on && (own == "" || hash == "" && own == store.NoPassword):
				mark = store.LoginMark
			case !on && hash == "":
				mark = store.NoPassword
			case !on:
				mark = ""
			}
			if is.Has(store.Locked) {
				mark = store.LockedMark + mark
			}
			// An administrator may have set the mailbox to inactive, which suspends the login and everything
			// else. Releasing the login sets the mailbox to active again.
			if _, err := s.exec(ctx, tx, "UPDATE mailbox SET password = ?, active = ?, modified = CURRENT_TIMESTAMP WHERE username = ?", mark+hash, r.active || !on, r.username); err != nil {
				return err
			}
		}
		now := store.Suspension(0)
		for flag, is := range map[store.Suspension]bool{store.Incoming: r.incoming.Bool, store.Outgoing: r.outgoing.Bool, store.Hold: r.hold.Bool} {
			if is {
				now |= flag
			}
		}
		if on {
			now |= flags
		} else {
			now &^= flags
		}
		return s.writeFlags(ctx, tx, box, now)
	})
}

// Unlock implements store.Transfer.
func (s *Store) Unlock(ctx context.Context, domain string) (n int, err error) {
	err = s.change(ctx, "unlock the mailboxes", func(tx *sql.Tx) error {
		n = 0
		rows, err := tx.QueryContext(ctx, s.d.rebind("SELECT username, password FROM mailbox WHERE domain = ? AND password LIKE ? FOR UPDATE"), domain, "%"+store.LockedMark+"%")
		if err != nil {
			return err
		}
		fields := make(map[string]string)
		for rows.Next() {
			var name, password string
			if err := rows.Scan(&name, &password); err != nil {
				return errors.Join(err, rows.Close())
			}
			if field, was := store.Unlocked(password); was {
				fields[name] = field
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for name, field := range fields {
			if _, err := s.exec(ctx, tx, "UPDATE mailbox SET password = ?, modified = CURRENT_TIMESTAMP WHERE username = ?", field, name); err != nil {
				return err
			}
		}
		n = len(fields)
		return nil
	})
	return n, err
}

// Remove implements store.Transfer.
func (s *Store) Remove(ctx context.Context, boxes []store.Address) error {
	for _, box := range boxes {
		if err := s.Delete(ctx, box, store.Keep{Mail: true}); err != nil && !errors.Is(err, store.ErrNoMailbox) {
			return err
		}
	}
	return nil
}
