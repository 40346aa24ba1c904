// Package admin holds the common parts of root's commands. Its subpackages do the work of the commands: accounts
// registers and changes accounts, plugins registers plugins, doctor checks an installation, cpmove imports
// accounts, postqueue works on Postfix's queue. They parse no flags; cmd/liveapi does that.
package admin

// UsageError is an error of the command line itself: an argument is missing or has a wrong form.
type UsageError struct{ error }

// Usage marks an error as a UsageError.
func Usage(err error) error { return UsageError{err} }

// Unwrap returns the marked error.
func (e UsageError) Unwrap() error { return e.error }
