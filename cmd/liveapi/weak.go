package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/filesproc"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/protocol"
)

// weakMailboxes returns the mailboxes of all accounts whose hashes have a scheme that Dovecot 2.4 refuses, each with
// its scheme. The error names the accounts whose mailboxes could not be read.
func weakMailboxes(ctx context.Context, c *config.Config) (weak []string, err error) {
	settings, err := emailSettings(c)
	if err != nil {
		return nil, err
	}
	// The accounts share the connections to a database.
	var db *sqlstore.Store
	if settings.Store != email.FilesStore {
		if db, err = sqlstore.Open(sqlstore.Driver(settings.Store), settings.Database, settings.Pool); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
	}
	all, failed := accounts.All(c)
	for _, a := range all {
		found, err := weakOf(ctx, a, db)
		weak = append(weak, found...)
		if err != nil {
			failed = append(failed, fmt.Errorf("account %s: %w", a.Name, err))
		}
	}
	return weak, errors.Join(failed...)
}

// weakTime is the maximum time for the mailboxes of an account. The account can stop the process that reads its files.
const weakTime = 10 * time.Second

// weakOf returns the mailboxes of an account. db is nil for a store in files.
func weakOf(ctx context.Context, a protocol.Account, db *sqlstore.Store) (weak []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, weakTime)
	defer cancel()
	var s store.Transfer = db
	if db == nil {
		files, end, openErr := accountFiles(a)
		if openErr != nil {
			return nil, openErr
		}
		defer func() { err = errors.Join(err, end()) }()
		s = files
	}
	for _, domain := range a.Domains {
		entries, _, err := s.Entries(ctx, domain)
		if err != nil {
			return weak, err
		}
		for _, e := range entries {
			if scheme := password.WeakScheme(e.Hash); scheme != "" {
				weak = append(weak, filesproc.Printable(e.String())+" ("+scheme+")")
			}
		}
	}
	return weak, nil
}
