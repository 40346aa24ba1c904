package protocol

import "errors"

// Kind classifies a failure. The kind determines the form of the envelope and the HTTP status.
type Kind string

const (
	// KindInvalid means that an argument is missing or invalid.
	KindInvalid Kind = "invalid"
	// KindNotFound means that an object named in the call, such as a mailbox, does not exist.
	KindNotFound Kind = "not_found"
	// KindFailed means that the function ran but could not do its work.
	KindFailed Kind = "failed"
	// KindDenied means that the caller is not allowed to make this call.
	KindDenied Kind = "denied"
	// KindUnavailable means that the module can't answer now. The same call may succeed later.
	KindUnavailable Kind = "unavailable"
	// KindInternal means an error in the host or a plugin. The caller sees only an id; the log contains the
	// cause with the same id.
	KindInternal Kind = "internal"
	// KindNoModule means that no plugin serves the module.
	KindNoModule Kind = "no_module"
	// KindNoFunction means that the module does not have the function.
	KindNoFunction Kind = "no_function"
	// KindReadOnly means that the function may change something, but the call came in a way that must not
	// change anything (see Call.ReadOnly).
	KindReadOnly Kind = "read_only"
	// KindBadRequest means that a frame was read completely, but its content is not a valid call.
	KindBadRequest Kind = "bad_request"
)

// Error is a failure of a call. The caller sees only Kind and Message.
type Error struct {
	Kind    Kind
	Message string // Public: names the parameter. No path, hash or foreign data.
	Err     error  // Private cause for the log, never sent. May be nil.
}

// NewError returns an error without a private cause. message is shown to the caller. There is no variant with
// a format string, because that would make it easy to put private values into the public message.
func NewError(kind Kind, message string) *Error {
	return &Error{Kind: kind, Message: message}
}

// Error returns the public message and the private cause, for the log only. Callers receive only Message.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the private cause, for errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Missing returns the error for a missing or empty argument. The text is cPanel's own; a live cPanel server,
// version 11.110, answered “Provide the ‘zone’ argument.”
func Missing(param string) *Error {
	return NewError(KindInvalid, "Provide the ‘"+param+"’ argument.")
}

// AsError returns the first *Error in the chain of err, or nil if the chain contains none.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
