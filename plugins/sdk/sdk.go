// Package sdk is for authors of modules: describe functions in a table, give each a Go function, and call
// Serve. Arguments are validated against the description before a function gets them. Errors made with
// protocol.NewError are shown to the caller; all other errors are logged and shown as an id.
package sdk

import (
	"context"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// Module is a named group of functions.
type Module struct {
	Name      string
	Help      string
	Functions []Function
	// Configure gets the operator's settings before the first call. It may be nil.
	Configure func(settings map[string]any) error
	// HelperSettings names the settings that hold secrets, or that only Before and After use. A worker with
	// an account's uid does not get them.
	HelperSettings []string
	// Shared reports, after Configure, whether the helper runs the module's functions completely. Nil means
	// no.
	Shared func() bool
}

// Function is an operation that can be called through an API.
type Function struct {
	protocol.Function
	// Do runs a call. For API 2 it returns a list of records or a single record, for UAPI any value, for API
	// 1 the printed text. Values are nil, string, bool, int, int64, uint64, float64, []string, []any,
	// map[string]any and []map[string]any.
	Do func(ctx context.Context, call *Call) (any, error)
	// Before and After may be nil. A host of many accounts runs them in a process with a uid of its own, to
	// keep secrets from the accounts: only they get parameters of type secret. The result of Before is the
	// Input of Do; the result of Do is the Input of After, which then returns the data. An Input is nil,
	// string, bool, int64, []any or map[string]any. After must not trust it.
	Before, After func(ctx context.Context, call *Call) (any, error)
}

// Call is a call as a function sees it.
type Call struct {
	ID      string // For logs. The caller sees it if the call fails internally.
	API     protocol.API
	Account protocol.Account
	Role    protocol.Role
	Mailbox string // The address of the mailbox user if Role is RoleMailbox.
	// Metadata is sent with the result unless it is nil.
	Metadata map[string]any

	// Input is the result of the function's previous part.
	Input any

	args     map[string]any
	messages []string
	warnings []string
	log      func(text string)
}

// Log writes a line to the host's log, under the call's id. It must not contain a secret.
func (c *Call) Log(text string) {
	if c.log != nil {
		c.log(text)
	}
}

// String returns an argument's text, or "" if it is absent.
func (c *Call) String(name string) string {
	switch v := c.args[name].(type) {
	case string:
		return v
	case protocol.Secret:
		return v.String()
	}
	return ""
}

// Has reports whether an argument was given.
func (c *Call) Has(name string) bool { return c.args[name] != nil }

// Secret returns the text of a parameter of type secret.
func (c *Call) Secret(name string) protocol.Secret {
	s, _ := c.args[name].(protocol.Secret)
	return s
}

// Int returns an integer argument; ok is false if it is absent.
func (c *Call) Int(name string) (n int64, ok bool) {
	text, ok := c.args[name].(string)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// Flag reports whether a flag was given as 1.
func (c *Call) Flag(name string) bool { return c.String(name) == "1" }

// Value returns an argument of type any.
func (c *Call) Value(name string) any { return c.args[name] }

// Message adds an informational line to a UAPI result.
func (c *Call) Message(text string) { c.messages = append(c.messages, text) }

// Warn adds a problem that did not stop the call to a UAPI result.
func (c *Call) Warn(text string) { c.warnings = append(c.warnings, text) }

// Done returns the data of a function that returns nothing: API 2's record of success, or UAPI's null.
func (c *Call) Done() any {
	if c.API == protocol.API2 {
		// API 2 has no place for warnings.
		return []any{map[string]any{"result": 1, "reason": strings.Join(c.warnings, " ")}}
	}
	return nil
}
