// Package strictoml reads TOML as this project's files want it read: no unknown key, and
// an error that shows the place. It opens no file.
package strictoml

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// Decode reads text into the struct that into points to.
func Decode(text []byte, into any) error {
	dec := toml.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	// The library's errors leave the place out of their text.
	var missing *toml.StrictMissingError
	var decode *toml.DecodeError
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("unknown key:\n%s", missing.String())
	case errors.As(err, &decode):
		return fmt.Errorf("%w:\n%s", err, decode.String())
	}
	return err
}
