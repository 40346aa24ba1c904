package protocol

import "errors"

// Kind is the kind of a failure. The envelopes and the HTTP status depend on it.
type Kind string

const (
	// KindInvalid means a missing or invalid argument.
	KindInvalid Kind = "invalid"
	// KindNotFound means that something the call names does not exist.
	KindNotFound Kind = "not_found"
	// KindFailed means that the work was tried and failed.
	KindFailed Kind = "failed"
	// KindDenied means that this caller may not make the call.
	KindDenied Kind = "denied"
	// KindUnavailable means that a module can't answer now; a later try may succeed.
	KindUnavailable Kind = "unavailable"
	// KindInternal means a fault of this program. The log has the cause under the same id.
	KindInternal Kind = "internal"
	// KindNoModule means that no plugin serves the module.
	KindNoModule Kind = "no_module"
	// KindNoFunction means that the module does not have the function.
	KindNoFunction Kind = "no_function"
	// KindReadOnly means that the call may change something, but came in a way that must not.
	KindReadOnly Kind = "read_only"
	// KindBadRequest means that a frame could be read but is not a call.
	KindBadRequest Kind = "bad_request"
)

// Error is a failure as the caller sees it.
type Error struct {
	Kind    Kind
	Message string // Public: names the parameter, and contains no path, no hash and nothing of another account.
	Err     error  // Private: for the log, never sent. May be nil.
}

// NewError returns an error with a public text only. There is no formatting constructor, because it would
// invite private values into the text.
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

// Missing returns the error for an absent or empty argument, with cPanel's text (captured from a live 11.110
// server: “Provide the ‘zone’ argument.”).
func Missing(param string) *Error {
	return NewError(KindInvalid, "Provide the ‘"+param+"’ argument.")
}

// AsError returns err as an *Error, or nil if it is not one.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
