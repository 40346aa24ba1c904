// Package sdk is what the author of a module imports: describe functions in a table,
// give each its Go function, and Serve. Arguments arrive checked against the
// description; errors made with protocol.NewError are shown to the caller, all others
// are logged and shown as an id.
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
	// Configure takes the operator's settings before the first call. May be nil.
	Configure func(settings map[string]any) error
	// HelperSettings names the settings that hold secrets, or that only Before and After use:
	// in a worker with an account's uid they are missing.
	HelperSettings []string
	// Shared tells, once configured, whether the helper runs the module's functions whole. Nil
	// is never.
	Shared func() bool
}

// Function is one operation, callable through one API.
type Function struct {
	protocol.Function
	// Do runs a call. For API 2 it returns a list of records or one record, for UAPI
	// any value, for API 1 the printed text. Values are nil, string, bool, int, int64,
	// uint64, float64, []string, []any, map[string]any and []map[string]any.
	Do func(ctx context.Context, call *Call) (any, error)
	// Before and After, where they are not nil, are the parts of the function that a host of
	// many accounts runs in a process with a uid of its own, to keep secrets from the accounts:
	// parameters of type secret are in the call for them alone. What Before returns is Handed to
	// Do; what Do returns is Handed to After, which then returns the data. What is handed is
	// nil, string, bool, int64, []any or map[string]any; After must mistrust it.
	Before, After func(ctx context.Context, call *Call) (any, error)
}

// Call is one call as a function sees it.
type Call struct {
	ID      string // For logs; the caller sees it where the call fails inside.
	API     protocol.API
	Account protocol.Account
	Role    protocol.Role
	Mailbox string // The address of the mailbox's user, where Role is RoleMailbox.
	// Metadata is sent with the result where it is not nil.
	Metadata map[string]any

	// Input is what the part of the function before this one returned.
	Input any

	args     map[string]any
	messages []string
	warnings []string
	log      func(text string)
}

// Log writes a line to the host's log, under the call's id. It must hold no secret.
func (c *Call) Log(text string) {
	if c.log != nil {
		c.log(text)
	}
}

// String returns an argument's text; "" where it is absent.
func (c *Call) String(name string) string {
	switch v := c.args[name].(type) {
	case string:
		return v
	case protocol.Secret:
		return v.String()
	}
	return ""
}

// Has tells whether an argument was given.
func (c *Call) Has(name string) bool { return c.args[name] != nil }

// Secret returns the text of a parameter of type secret.
func (c *Call) Secret(name string) protocol.Secret {
	s, _ := c.args[name].(protocol.Secret)
	return s
}

// Int returns an integer argument; ok is false where it is absent.
func (c *Call) Int(name string) (n int64, ok bool) {
	text, ok := c.args[name].(string)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// Flag tells whether a flag was given as 1.
func (c *Call) Flag(name string) bool { return c.String(name) == "1" }

// Value returns an argument of type any.
func (c *Call) Value(name string) any { return c.args[name] }

// Message adds an informational line to a UAPI result.
func (c *Call) Message(text string) { c.messages = append(c.messages, text) }

// Warn adds a problem that did not stop the call to a UAPI result.
func (c *Call) Warn(text string) { c.warnings = append(c.warnings, text) }

// Done is the data of a function that has nothing to return: API 2's record of success,
// or UAPI's null.
func (c *Call) Done() any {
	if c.API == protocol.API2 {
		// API 2 has no place for warnings of its own.
		return []any{map[string]any{"result": 1, "reason": strings.Join(c.warnings, " ")}}
	}
	return nil
}
