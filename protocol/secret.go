package protocol

import (
	"fmt"
	"log/slog"
)

// Secret is text that must never be shown, such as a password that a person typed. fmt, slog and the text
// encoders print it as [secret]; only Reveal returns the text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text, for hashing and comparing.
func (s Secret) Reveal() string { return s.text }

// Len returns the number of bytes.
func (s Secret) Len() int { return len(s.text) }

// Format prints [secret], whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// String returns [secret].
func (s Secret) String() string { return "[secret]" }

// LogValue logs [secret].
func (s Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText encodes [secret], so that no encoder can leak the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
