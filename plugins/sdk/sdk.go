// Package sdk is the library for modules that are written in Go. The author describes the functions in a
// table, implements each as a Go function, and calls Serve. The package validates the arguments against the
// description before a function receives them. If a function returns an error from protocol.NewError, the
// caller sees its message. Any other error is logged, and the caller sees only the call's id.
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
	// Configure receives the operator's settings before the first call. An error rejects the settings.
	// Configure may be nil.
	Configure func(settings map[string]any) error
	// HelperSettings lists the names of the settings that contain secrets or that only Before and After need.
	// The host does not send these settings to a worker that runs with an account's uid.
	HelperSettings []string
	// Shared reports whether the helper runs all parts of all functions of the module, so that no part runs
	// in an account's worker. It is called after Configure. A nil Shared means false.
	Shared func() bool
}

// Function is an operation that can be called through an API.
type Function struct {
	protocol.Function
	// Do executes a call. For API 2 it returns a list of records or a single record, for UAPI any value, and
	// for API 1 the text to print. The data may be of any type that encoding/json can encode, such as a struct
	// with json tags. Values of nil, string, bool, int, int64, uint64, float64, []string, []any, map[string]any
	// and []map[string]any are sent without this step, and their strings need not be UTF-8. A long list may be a
	// *List.
	Do func(ctx context.Context, call *Call) (any, error)
	// Before and After run before and after Do; they may be nil. A host with many accounts runs them in the
	// helper, a process with a separate uid, to keep secrets from the accounts: only Before and After receive
	// parameters of type secret. The result of Before is the Input of Do, and the result of Do is the Input
	// of After; the result of After is then the data. An Input is nil, string, bool, int64, []any or map[string]any.
	// After must not trust its Input, because Do may run as the account's user.
	Before, After func(ctx context.Context, call *Call) (any, error)
}

// Call is a call from the point of view of the function that executes it.
type Call struct {
	ID      string // For logs; callers see it in internal errors.
	API     protocol.API
	Account protocol.Account
	Role    protocol.Role
	Mailbox string // The mailbox user's address, if Role is RoleMailbox.
	// Metadata is added to the result's metadata, unless it is nil. A function sets it.
	Metadata map[string]any

	// Input is the result of the previous part: in Do it is the result of Before, and in After it is the
	// result of Do.
	Input any

	args map[string]any
	told *told
	log  func(text string)
}

// told contains the messages and warnings of a call. The parts of a call share it, and so does a List that the
// function returned.
type told struct{ messages, warnings []string }

// tell returns the messages and warnings of the call.
func (c *Call) tell() *told {
	if c.told == nil {
		c.told = &told{}
	}
	return c.told
}

// NewCall returns a call of the account's owner with the given arguments, for a test that calls a function
// directly. The arguments must be in the form that protocol.Function.Check returns.
func NewCall(api protocol.API, account protocol.Account, args map[string]any) *Call {
	return &Call{API: api, Account: account, Role: protocol.RoleAccount, args: args}
}

// Log writes a line to the host's log, with the call's id. text must not contain a secret.
func (c *Call) Log(text string) {
	if c.log != nil {
		c.log(text)
	}
}

// String returns the text of the argument called name, or "" if the argument is missing. For a secret it
// returns a placeholder; use Secret instead.
func (c *Call) String(name string) string {
	switch v := c.args[name].(type) {
	case string:
		return v
	case protocol.Secret:
		return v.String()
	}
	return ""
}

// Has reports whether the call has an argument called name.
func (c *Call) Has(name string) bool { return c.args[name] != nil }

// Secret returns the argument called name, a parameter of type secret.
func (c *Call) Secret(name string) protocol.Secret {
	s, _ := c.args[name].(protocol.Secret)
	return s
}

// Int returns the integer in the argument called name. ok is false if the argument is missing or not an
// integer.
func (c *Call) Int(name string) (n int64, ok bool) {
	text, ok := c.args[name].(string)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// Flag reports whether the text of the argument called name is "1".
func (c *Call) Flag(name string) bool { return c.String(name) == "1" }

// Value returns the argument called name, a parameter of type any, or nil if the argument is missing.
func (c *Call) Value(name string) any { return c.args[name] }

// Message adds an informational message to the result. Only UAPI shows messages.
func (c *Call) Message(text string) { c.tell().messages = append(c.tell().messages, text) }

// Warn adds a warning to the result; a warning reports a problem although the call succeeded. UAPI shows
// warnings in the result; API 2 shows them only in the record that Done returns.
func (c *Call) Warn(text string) { c.tell().warnings = append(c.tell().warnings, text) }

// Done returns the data for a function without a result: a record of success in API 2, and null in UAPI.
func (c *Call) Done() any {
	if c.API == protocol.API2 {
		// A result of API 2 has no field for warnings, so the warnings are returned in the field reason.
		return []any{map[string]any{"result": 1, "reason": strings.Join(c.tell().warnings, " ")}}
	}
	return nil
}
