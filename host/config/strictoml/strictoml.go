// Package strictoml decodes TOML strictly: an unknown key is an error, and each error contains the number of
// the line. The package does not open files.
package strictoml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Decode decodes text into the struct to which into points.
func Decode(text []byte, into any) error {
	dec := toml.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	// The method Error of the library's errors does not return the line number, and the method String quotes
	// the surrounding lines, which may contain a password. So Decode adds the position to the text itself.
	var missing *toml.StrictMissingError
	var decode *toml.DecodeError
	switch {
	case errors.As(err, &missing):
		var all []error
		for i := range missing.Errors {
			line, _ := missing.Errors[i].Position()
			all = append(all, fmt.Errorf("line %d: unknown key: %s", line, strings.Join(missing.Errors[i].Key(), ".")))
		}
		return errors.Join(all...)
	case errors.As(err, &decode):
		line, column := decode.Position()
		if key := decode.Key(); len(key) > 0 {
			return fmt.Errorf("line %d, column %d: %s: %w", line, column, strings.Join(key, "."), err)
		}
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	return err
}
