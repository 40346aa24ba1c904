// Package filesproc lets a process with another user work on the files of an account: Serve runs as the account,
// and Client is the store in the other process. They exchange JSON over a pair of pipes. The process that serves
// belongs to the account, which can manipulate it, so Client accepts no mailbox of another domain.
package filesproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Files is what Serve needs of a store of files.
type Files interface {
	store.Transfer
	// EnforceQuotas writes the limits of a domain's mailboxes where the mail server reads them.
	EnforceQuotas(ctx context.Context, domain string) error
	// Formats returns the formats of the mail of a domain's mailboxes by local part.
	Formats(ctx context.Context, domain string) (map[string]string, error)
}

// request is a call of a method of Files.
type request struct {
	Op      string        `json:"op"`
	Domain  string        `json:"domain,omitempty"`
	Entries []store.Entry `json:"entries,omitempty"`
	Replace bool          `json:"replace,omitempty"`
	Box     store.Address `json:"box"`
	Keep    store.Keep    `json:"keep"`
}

// answer is the result of a call.
type answer struct {
	Entries []store.Entry     `json:"entries,omitempty"`
	Odd     []store.Odd       `json:"odd,omitempty"`
	Formats map[string]string `json:"formats,omitempty"`
	Count   int               `json:"count,omitempty"`
	Kind    string            `json:"kind,omitempty"` // The text of an error of package store.
	Error   string            `json:"error,omitempty"`
}

// maxAnswer is the maximum size of an answer in bytes, several times as large as the files of a domain may be.
const maxAnswer = 512 << 20

// Serve answers calls until in ends.
func Serve(ctx context.Context, s Files, in io.Reader, out io.Writer) error {
	calls, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r request
		if err := calls.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a call: %w", err)
		}
		var a answer
		err := a.fill(ctx, s, r)
		if err != nil {
			a.Error = err.Error()
			if kind := store.Kind(err); kind != nil {
				a.Kind = kind.Error()
			}
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
}

func (a *answer) fill(ctx context.Context, s Files, r request) (err error) {
	switch r.Op {
	case "entries":
		a.Entries, a.Odd, err = s.Entries(ctx, r.Domain)
	case "import":
		err = s.Import(ctx, r.Entries, r.Replace)
	case "delete":
		err = s.Delete(ctx, r.Box, r.Keep)
	case "unlock":
		a.Count, err = s.Unlock(ctx, r.Domain)
	case "formats":
		a.Formats, err = s.Formats(ctx, r.Domain)
	case "quotas":
		err = s.EnforceQuotas(ctx, r.Domain)
	default:
		err = fmt.Errorf("%w: no such operation: %q", store.ErrUnsafe, r.Op)
	}
	return err
}

// Client is a store whose files another process reads and writes. Its methods must not be called concurrently.
type Client struct {
	calls   *json.Encoder
	limited *io.LimitedReader
	answers *json.Decoder
}

var _ Files = (*Client)(nil)

// NewClient returns a client of the process that reads calls from out and writes answers to in.
func NewClient(in io.Reader, out io.Writer) *Client {
	limited := &io.LimitedReader{R: in, N: maxAnswer}
	return &Client{calls: json.NewEncoder(out), limited: limited, answers: json.NewDecoder(limited)}
}

func (c *Client) call(ctx context.Context, r request) (answer, error) {
	var a answer
	if err := ctx.Err(); err != nil {
		return a, err
	}
	c.limited.N = maxAnswer
	if err := c.calls.Encode(r); err != nil {
		return a, fmt.Errorf("%w: ask the account's process: %w", store.ErrUnknown, err)
	}
	if err := c.answers.Decode(&a); err != nil {
		return a, fmt.Errorf("%w: the account's process did not answer: %w", store.ErrUnknown, err)
	}
	if a.Error == "" {
		return a, nil
	}
	if kind := store.KindOf(a.Kind); kind != nil {
		return a, &remoteError{kind, a.Error}
	}
	return a, errors.New(a.Error)
}

// remoteError is an error of the other process.
type remoteError struct {
	kind error
	text string
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error { return e.kind }

// Entries implements store.Transfer.
func (c *Client) Entries(ctx context.Context, domain string) ([]store.Entry, []store.Odd, error) {
	a, err := c.call(ctx, request{Op: "entries", Domain: domain})
	if err != nil {
		return nil, nil, err
	}
	seen := make(map[string]bool, len(a.Entries))
	for _, e := range a.Entries {
		own, err := store.NewAddress(e.Localpart, domain)
		if err != nil || own != e.Address || seen[e.Localpart] {
			return nil, nil, fmt.Errorf("%w: the account's process named the mailbox %.100q, which is not one of %s", store.ErrUnsafe, e.String(), domain)
		}
		seen[e.Localpart] = true
	}
	return a.Entries, a.Odd, nil
}

// Import implements store.Transfer.
func (c *Client) Import(ctx context.Context, entries []store.Entry, replace bool) error {
	_, err := c.call(ctx, request{Op: "import", Entries: entries, Replace: replace})
	return err
}

// Delete implements store.Transfer.
func (c *Client) Delete(ctx context.Context, box store.Address, keep store.Keep) error {
	_, err := c.call(ctx, request{Op: "delete", Box: box, Keep: keep})
	return err
}

// Unlock implements store.Transfer.
func (c *Client) Unlock(ctx context.Context, domain string) (int, error) {
	a, err := c.call(ctx, request{Op: "unlock", Domain: domain})
	return a.Count, err
}

// EnforceQuotas implements Files.
func (c *Client) EnforceQuotas(ctx context.Context, domain string) error {
	_, err := c.call(ctx, request{Op: "quotas", Domain: domain})
	return err
}

// Formats implements Files.
func (c *Client) Formats(ctx context.Context, domain string) (map[string]string, error) {
	a, err := c.call(ctx, request{Op: "formats", Domain: domain})
	return a.Formats, err
}
