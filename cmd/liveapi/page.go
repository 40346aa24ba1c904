package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/dev/livepage"
)

func pageCommand() *cobra.Command {
	var account accountFlags
	var query string
	cmd := &cobra.Command{
		Use:   "page [--user NAME] [--query a=b&c=d] FILE",
		Short: "Run a live page and print its answer",
		Long: `Runs FILE as a web server would, with a LiveAPI session, and prints the page. *.live.php and
*.livephp are run with php-cgi, *.live.pl and *.livepl with perl. The exit status is 1 if the
page's HTTP status is 400 or higher.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			file, err := filepath.Abs(words[0])
			if err != nil {
				return err
			}
			if err := account.enterTree(cmd.ErrOrStderr()); err != nil {
				return err
			}
			rt, err := account.open()
			if err != nil {
				return err
			}
			defer rt.close()
			runner := &livepage.Runner{Doer: rt.doer, Socket: rt.socket, Account: rt.account, Stderr: cmd.ErrOrStderr(), Log: rt.log, Env: withLibraries(pageEnv(), rt.bindings)}
			// After an interrupt, this program must not exit at once: it ends the page and removes the
			// session. An interrupt from the terminal also reaches the page's program directly.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/"+filepath.Base(file)+"?"+query, nil)
			if err != nil {
				return admin.Usage(fmt.Errorf("--query: %w", err))
			}
			answer := &answerBuffer{header: make(http.Header), status: http.StatusOK}
			if _, err := runner.Run(answer, req, file, nil); err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(answer.body.Bytes()); err != nil {
				return err
			}
			if answer.status >= http.StatusBadRequest {
				return fmt.Errorf("the page answered with status %d", answer.status)
			}
			return nil
		},
	}
	account.addTo(cmd)
	cmd.Flags().StringVar(&query, "query", "", "the query string")
	return cmd
}

// pageEnv returns the environment variables that are passed on to a page: the paths of Perl's and PHP's
// libraries, the locale and the time zone. Other variables are not passed on.
func pageEnv() []string {
	env := []string{}
	for _, name := range []string{"PERL5LIB", "PHPRC", "LANG", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// answerBuffer is an http.ResponseWriter that stores the answer of a page in memory.
type answerBuffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answerBuffer) Header() http.Header         { return a.header }
func (a *answerBuffer) WriteHeader(status int)      { a.status = status }
func (a *answerBuffer) Write(p []byte) (int, error) { return a.body.Write(p) }
