package protocol

import (
	"fmt"
	"log/slog"
)

// Secret contains text that must never be shown, such as a password. fmt, slog and encoders of text, such as
// encoding/json, print it as [secret]. Only Reveal returns the text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the secret text. It is meant for hashing, comparing, and sending the text to a plugin or
// host.
func (s Secret) Reveal() string { return s.text }

// Len returns the length of the secret text in bytes.
func (s Secret) Len() int { return len(s.text) }

// Format prints [secret] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// String returns [secret].
func (s Secret) String() string { return "[secret]" }

// LogValue returns [secret], so that slog does not log the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText returns [secret], so that encoders such as encoding/json do not write the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
