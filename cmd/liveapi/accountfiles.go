package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/isolate/execas"
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/filesproc"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
	"github.com/liveapid/liveapid/protocol"
)

// serveFilesCommand is the process that works on an account's files for root.
func serveFilesCommand() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use: "serve-files --home DIR", Short: "Work on the files of an account for another liveapi", Hidden: true, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return filesproc.Serve(cmd.Context(), files.New(home), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&home, "home", "", "the account's home")
	return cmd
}

// accountFiles opens the mailboxes in the files of an account. Root works on them in a process of the account:
// the owner of the files could otherwise lead root to other files. The caller must call end, which returns an error
// if that process failed.
func accountFiles(a protocol.Account) (s filesproc.Files, end func() error, err error) {
	if os.Geteuid() == a.UID {
		return files.NewFor(a.Home, a.UID, a.GID), func() error { return nil }, nil
	}
	if os.Geteuid() != 0 {
		return nil, nil, fmt.Errorf("account %s: run the command as root or as the account's user (uid %d), not as uid %d", a.Name, a.UID, os.Geteuid())
	}
	if _, err := isolate.Credential(a); err != nil {
		return nil, nil, err
	}
	cmd := execas.Program{
		Words: []string{"/proc/self/exe", "store", "serve-files", "--home", a.Home},
		Env:   environmentOf(a), UID: a.UID, GID: a.GID, Dir: "/", Home: "/",
	}.Command()
	cmd.Stderr = os.Stderr
	calls, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start a process of the account %s: %w", a.Name, err)
	}
	end = func() error {
		err := calls.Close()
		_, copyErr := io.Copy(io.Discard, io.LimitReader(answers, 1<<20))
		if err := errors.Join(err, copyErr, cmd.Wait()); err != nil {
			return fmt.Errorf("the process of the account %s: %w", a.Name, err)
		}
		return nil
	}
	return filesproc.NewClient(answers, calls), end, nil
}

// configuredStore opens the store that the configuration names for an account's mailboxes. It returns nil if the
// configuration has no plugin with mailboxes. The caller must call end.
func configuredStore(c *config.Config, a protocol.Account) (s store.Transfer, end func() error, err error) {
	end = func() error { return nil }
	settings, err := emailSettings(c)
	switch {
	case errors.Is(err, errNoEmail):
		return nil, end, nil
	case err != nil:
		return nil, end, err
	case settings.Store == email.FilesStore:
		return accountFiles(a)
	}
	db, err := sqlstore.Open(sqlstore.Driver(settings.Store), settings.Database, settings.Pool)
	if err != nil {
		return nil, end, err
	}
	return db, db.Close, nil
}
