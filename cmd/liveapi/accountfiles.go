package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

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
	// The process gets no descriptor of root's terminal.
	problems := &clipped{}
	cmd.Stderr = problems
	cmd.WaitDelay = time.Second
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
	// The process is the leader of a session of its own, so this also ends processes that the account may have started in it.
	kill := func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	end = func() error {
		_ = calls.Close()
		_ = answers.Close() // The process may still write an answer that was refused.
		patience := time.AfterFunc(endTime, kill)
		err := cmd.Wait()
		patience.Stop()
		if err != nil {
			return fmt.Errorf("the process of the account %s: %w: %s", a.Name, err, filesproc.Printable(problems.String()))
		}
		return nil
	}
	return filesproc.NewClient(answers, calls, kill), end, nil
}

// endTime is how long an account's process may take to end after its last call.
const endTime = 10 * time.Second

// clipped is a writer that keeps the beginning of a text.
type clipped struct{ strings.Builder }

// Write implements io.Writer.
func (c *clipped) Write(p []byte) (int, error) {
	if left := 4096 - c.Len(); left > 0 {
		c.Builder.Write(p[:min(left, len(p))])
	}
	return len(p), nil
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
