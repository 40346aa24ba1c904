// Package filesproc lets a process with another user work on the files of an account: Serve runs as the account,
// and Client is the store in the other process. They exchange JSON over a pair of pipes. The process that serves
// belongs to the account, which can manipulate it: Client accepts no mailbox of another domain, and limits the
// size of answers and the time for them.
package filesproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// Files contains the methods of a store of files that Serve calls.
type Files interface {
	store.Transfer
	// EnforceQuotas writes the limits of a domain's mailboxes where the mail server reads them.
	EnforceQuotas(ctx context.Context, domain string) error
	// Formats returns the formats of the mail of a domain's mailboxes by local part.
	Formats(ctx context.Context, domain string) (map[string]string, error)
}

// request is a call of a method of Files.
type request struct {
	Op      string          `json:"op"`
	Domain  string          `json:"domain,omitempty"`
	Entries []store.Entry   `json:"entries,omitempty"`
	Replace bool            `json:"replace,omitempty"`
	Boxes   []store.Address `json:"boxes,omitempty"`
}

// answer is the result of a call, or a part of it.
type answer struct {
	Entries []store.Entry     `json:"entries,omitempty"`
	Odd     []store.Odd       `json:"odd,omitempty"`
	Formats map[string]string `json:"formats,omitempty"`
	Count   int               `json:"count,omitempty"`
	Kind    string            `json:"kind,omitempty"` // The text of an error of package store.
	Error   string            `json:"error,omitempty"`
	More    bool              `json:"more,omitempty"` // Another part follows.
}

const (
	chunk     = 1000      // Elements of a list in a part of an answer.
	maxPart   = 4 << 20   // Bytes of a part.
	maxParts  = 1000      // Parts of an answer.
	maxText   = 500       // Bytes of a text from the other process.
	callLimit = time.Hour // For a call: an import of many mailboxes may take long.
)

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
		for _, part := range perform(ctx, s, r) {
			if err := answers.Encode(part); err != nil {
				return fmt.Errorf("write an answer: %w", err)
			}
		}
	}
}

// perform makes a call and returns the parts of its answer.
func perform(ctx context.Context, s Files, r request) []answer {
	var last answer
	var entries []store.Entry
	var odd []store.Odd
	var formats map[string]string
	var err error
	switch r.Op {
	case "entries":
		entries, odd, err = s.Entries(ctx, r.Domain)
	case "import":
		err = s.Import(ctx, r.Entries, r.Replace)
	case "remove":
		err = s.Remove(ctx, r.Boxes)
	case "unlock":
		last.Count, err = s.Unlock(ctx, r.Domain)
	case "formats":
		formats, err = s.Formats(ctx, r.Domain)
	case "quotas":
		err = s.EnforceQuotas(ctx, r.Domain)
	default:
		err = fmt.Errorf("%w: no such operation: %q", store.ErrUnsafe, r.Op)
	}
	if err != nil {
		last.Error = err.Error()
		if kind := store.Kind(err); kind != nil {
			last.Kind = kind.Error()
		}
		return []answer{last}
	}
	var parts []answer
	for part := range slices.Chunk(entries, chunk) {
		parts = append(parts, answer{Entries: part, More: true})
	}
	for part := range slices.Chunk(odd, chunk) {
		parts = append(parts, answer{Odd: part, More: true})
	}
	part := make(map[string]string)
	for name, format := range formats {
		if part[name] = format; len(part) == chunk {
			parts = append(parts, answer{Formats: part, More: true})
			part = make(map[string]string)
		}
	}
	last.Formats = part
	return append(parts, last)
}

// Client is a store whose files another process reads and writes. Its methods must not be called concurrently.
type Client struct {
	calls   *json.Encoder
	limited *io.LimitedReader
	answers *json.Decoder
	kill    func()
}

var _ Files = (*Client)(nil)

// NewClient returns a client of the process that reads calls from out and writes answers to in. If a call takes too
// long, or its context ends, the client calls kill, which must close in.
func NewClient(in io.Reader, out io.Writer, kill func()) *Client {
	limited := &io.LimitedReader{R: in}
	return &Client{calls: json.NewEncoder(out), limited: limited, answers: json.NewDecoder(limited), kill: kill}
}

// call sends a call, and calls part with each part of its answer.
func (c *Client) call(ctx context.Context, r request, part func(answer) error) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, c.kill)()
	if err := c.calls.Encode(r); err != nil {
		return fmt.Errorf("%w: ask the account's process: %w", store.ErrUnknown, errors.Join(ctx.Err(), err))
	}
	for range maxParts {
		var a answer
		c.limited.N = maxPart
		if err := c.answers.Decode(&a); err != nil {
			return fmt.Errorf("%w: the account's process did not answer: %w", store.ErrUnknown, errors.Join(ctx.Err(), err))
		}
		if a.Error != "" {
			text := Printable(a.Error)
			if kind := store.KindOf(a.Kind); kind != nil {
				return &remoteError{kind, text}
			}
			return errors.New(text)
		}
		if len(a.Entries) > chunk || len(a.Odd) > chunk || len(a.Formats) > chunk {
			return fmt.Errorf("%w: the account's process sent too much", store.ErrUnsafe)
		}
		if err := part(a); err != nil || !a.More {
			return err
		}
	}
	return fmt.Errorf("%w: the account's process sent too much", store.ErrUnsafe)
}

// Printable returns a text of the account for a terminal: without control characters, and not longer than needed.
func Printable(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	}
	return text
}

// remoteError is an error of the other process.
type remoteError struct {
	kind error
	text string
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error { return e.kind }

func nothing(answer) error { return nil }

// Entries implements store.Transfer.
func (c *Client) Entries(ctx context.Context, domain string) (entries []store.Entry, odd []store.Odd, err error) {
	seen := make(map[string]bool)
	err = c.call(ctx, request{Op: "entries", Domain: domain}, func(a answer) error {
		for _, e := range a.Entries {
			own, err := store.NewAddress(e.Localpart, domain)
			if err != nil || own != e.Address || seen[e.Localpart] {
				return fmt.Errorf("%w: the account's process named the mailbox %.100q, which is not one of %s", store.ErrUnsafe, e.String(), domain)
			}
			seen[e.Localpart] = true
			entries = append(entries, e)
		}
		for _, o := range a.Odd {
			odd = append(odd, store.Odd{Name: Printable(o.Name), Where: Printable(o.Where), Reason: Printable(o.Reason)})
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return entries, odd, nil
}

// Import implements store.Transfer.
func (c *Client) Import(ctx context.Context, entries []store.Entry, replace bool) error {
	return c.call(ctx, request{Op: "import", Entries: entries, Replace: replace}, nothing)
}

// Remove implements store.Transfer.
func (c *Client) Remove(ctx context.Context, boxes []store.Address) error {
	return c.call(ctx, request{Op: "remove", Boxes: boxes}, nothing)
}

// Unlock implements store.Transfer.
func (c *Client) Unlock(ctx context.Context, domain string) (n int, err error) {
	err = c.call(ctx, request{Op: "unlock", Domain: domain}, func(a answer) error {
		n = a.Count
		return nil
	})
	return n, err
}

// EnforceQuotas implements Files.
func (c *Client) EnforceQuotas(ctx context.Context, domain string) error {
	return c.call(ctx, request{Op: "quotas", Domain: domain}, nothing)
}

// Formats implements Files.
func (c *Client) Formats(ctx context.Context, domain string) (map[string]string, error) {
	formats := make(map[string]string)
	err := c.call(ctx, request{Op: "formats", Domain: domain}, func(a answer) error {
		for name, format := range a.Formats {
			if slices.Contains([]string{"maildir", "mdbox", "dbox"}, format) {
				formats[name] = format
			}
		}
		return nil
	})
	return formats, err
}
