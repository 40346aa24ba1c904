package protocol

import "errors"

// Kind is the sort of failure. The envelopes derive their shape from it, and the
// HTTP status and exit status will too.
type Kind string

const (
	// KindInvalid is a missing or unusable argument.
	KindInvalid Kind = "invalid"
	// KindNotFound is a thing the call names that does not exist.
	KindNotFound Kind = "not_found"
	// KindFailed is work that was tried and could not be done.
	KindFailed Kind = "failed"
	// KindDenied is a call this caller may not make.
	KindDenied Kind = "denied"
	// KindUnavailable is a module that cannot answer now; a later try may succeed.
	KindUnavailable Kind = "unavailable"
	// KindInternal is a fault of ours. The log has the cause under the same id.
	KindInternal Kind = "internal"
	// KindNoModule is a module that no plugin serves.
	KindNoModule Kind = "no_module"
	// KindNoFunction is a function that its module does not have.
	KindNoFunction Kind = "no_function"
	// KindReadOnly is a call that may change something, and came in a way that must not.
	KindReadOnly Kind = "read_only"
	// KindBadRequest is a frame that could be read but is no call.
	KindBadRequest Kind = "bad_request"
)

// Error is a failure as the caller sees it.
type Error struct {
	Kind    Kind
	Message string // Public: names the parameter, no path, no hash, nothing of another account.
	Err     error  // Private: for the log, never sent. May be nil.
}

// NewError returns an error with the public text alone. There is no formatting
// constructor: it would invite private values into the message.
func NewError(kind Kind, message string) *Error {
	return &Error{Kind: kind, Message: message}
}

// Error returns the public message followed by the private cause, for logs.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Err }

// Missing is the error for an argument that is absent or empty, in cPanel's wording
// (captured from a live 11.110 server: “Provide the ‘zone’ argument.”).
func Missing(param string) *Error {
	return NewError(KindInvalid, "Provide the ‘"+param+"’ argument.")
}

// AsError returns err as an *Error, or nil where it is none.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
