// Package admin defines the types that the administration commands for root share. Its subpackages implement
// the commands: accounts registers and changes accounts, plugins registers plugins, doctor checks an
// installation, cpmove imports accounts, postqueue works on Postfix's queue. None of these packages parses
// flags; cmd/liveapi parses them.
package admin

// UsageError is an error in the command line itself: an argument is missing or malformed. An error that
// occurs while the command does its work is not a UsageError.
type UsageError struct{ error }

// Usage wraps err in a UsageError.
func Usage(err error) error { return UsageError{err} }

// Unwrap returns the wrapped error.
func (e UsageError) Unwrap() error { return e.error }
