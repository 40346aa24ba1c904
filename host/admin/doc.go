// Package admin contains what the administration commands of root have in common. Its subpackages implement
// the commands: accounts registers and changes accounts, plugins registers plugins, doctor checks an
// installation, cpmove imports accounts, postqueue works on Postfix's queue. None of them parses flags;
// cmd/liveapi parses them.
package admin

// UsageError is an error in the command line itself: an argument is missing or malformed. Other errors come
// from the work of the command.
type UsageError struct{ error }

// Usage wraps err in a UsageError.
func Usage(err error) error { return UsageError{err} }

// Unwrap returns the wrapped error.
func (e UsageError) Unwrap() error { return e.error }
