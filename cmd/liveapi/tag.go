package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/dev/tagpage"
	"github.com/liveapid/liveapid/protocol"
)

// maxPage is the maximum size of a page with tags, in bytes.
const maxPage = 16 << 20

func tagCommand() *cobra.Command {
	var account accountFlags
	cmd := &cobra.Command{
		Use:   "tag [--user NAME] FILE",
		Short: "Expand a page with cPanel tags",
		Long: `Prints FILE with its tags expanded for the account: <cpanel print="...">,
<cpanel Module="function(...)">, <cpanelif>, <cpanelfeature> and <?cp ... ?>. Inserted
values are HTML-escaped. If a tag can't be expanded, the command prints its line number and the
reason to standard error, and exits with status 1 at the end. Use - to read standard input.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			// The account is opened before the page is read. In server mode, open runs this program again as
			// the account, so that the page is read with the account's permissions and not with root's.
			rt, err := account.open()
			if err != nil {
				return err
			}
			defer rt.close()
			page, err := readPage(cmd.InOrStdin(), words[0])
			if err != nil {
				return err
			}
			caller := protocol.Caller{Account: rt.account, Role: protocol.RoleAccount, Door: "tag"}
			out, problems := tagpage.Render(cmd.Context(), rt.doer, caller, page)
			for _, p := range problems {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", words[0], p)
			}
			if _, err := io.WriteString(cmd.OutOrStdout(), out); err != nil {
				return err
			}
			if len(problems) > 0 {
				return fmt.Errorf("%d tags could not be expanded", len(problems))
			}
			return nil
		},
	}
	account.addTo(cmd)
	return cmd
}

func readPage(stdin io.Reader, path string) (string, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	page, err := io.ReadAll(io.LimitReader(in, maxPage+1))
	if err == nil && len(page) > maxPage {
		err = errors.New("the page has more than 16 MiB")
	}
	return string(page), err
}
