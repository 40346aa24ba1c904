package apitool

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// write prints an answer. form is json, jsonpretty, xml, yaml or text, and answer is the JSON of the envelope. The
// output ends with a newline.
func write(w io.Writer, form string, answer []byte) error {
	var out bytes.Buffer
	switch form {
	case "json":
		out.Write(answer)
		out.WriteByte('\n')
	case "xml":
		body, ok := envelope.XML(answer, protocol.MaxAnswer)
		if !ok {
			return errors.New("the answer is too large for XML; use --output=json")
		}
		out.WriteString("<?xml version=\"1.0\" ?>\n<cpanelresult>")
		out.Write(body)
		out.WriteString("</cpanelresult>\n")
	case "jsonpretty":
		value, err := parse(answer)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(&out) // encoding/json sorts the keys.
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "   ")
		if err := enc.Encode(value); err != nil {
			return err
		}
	case textOutput:
		if err := writeText(&out, answer); err != nil {
			return err
		}
	default:
		value, err := parse(answer)
		if err != nil {
			return err
		}
		out.WriteString("---\n")
		if err := writeYAML(&out, value, ""); err != nil {
			return err
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

func parse(answer []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("the host's answer is not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the host's answer contains more than one JSON value")
	}
	return value, nil
}

// writeText prints the text that a function of API 1 returned, or its error.
func writeText(out *bytes.Buffer, answer []byte) error {
	var a struct {
		Data  struct{ Result any }
		Error string
		Event struct{ Reason string }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("the host's answer is not JSON: %w", err)
	}
	text, _ := a.Data.Result.(string)
	if a.Data.Result != nil && text == "" {
		text = fmt.Sprint(a.Data.Result)
	}
	if text == "" {
		text = cmp.Or(a.Error, a.Event.Reason)
	}
	if out.WriteString(text); text != "" && !strings.HasSuffix(text, "\n") {
		out.WriteByte('\n')
	}
	return nil
}

// writeYAML prints a value in the style of cPanel's commands: keys are sorted, null is ~, and each record of a
// list begins on a line of its own below its dash, because scripts read the output line by line.
func writeYAML(out *bytes.Buffer, value any, indent string) error {
	switch v := value.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		for _, key := range keys {
			name, err := scalar(key)
			if err != nil {
				return err
			}
			if err := writeEntry(out, indent+name+":", v[key], indent+"  "); err != nil {
				return err
			}
		}
		return nil
	case []any:
		for _, item := range v {
			if err := writeEntry(out, indent+"-", item, indent+"  "); err != nil {
				return err
			}
		}
		return nil
	}
	text, err := scalar(value)
	out.WriteString(indent + text + "\n")
	return err
}

// writeEntry prints a value of an object or a list. head is the line's beginning, and indent that of the lines
// below it.
func writeEntry(out *bytes.Buffer, head string, value any, indent string) error {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			out.WriteString(head + " {}\n")
			return nil
		}
	case []any:
		if len(v) == 0 {
			out.WriteString(head + " []\n")
			return nil
		}
	default:
		text, err := scalar(value)
		out.WriteString(head + " " + text + "\n")
		return err
	}
	out.WriteString(head + "\n")
	return writeYAML(out, value, indent)
}

// scalar returns a text, a number or null in YAML, on a single line. The library decides about quotes, so that
// every version of YAML reads the same value.
func scalar(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "~", nil
	case json.Number:
		return v.String(), nil
	case string:
		node := yaml.Node{}
		if v == "=" || strings.ContainsAny(v, "\n\r\u0085\u2028\u2029") { // "=" is special in YAML 1.1.
			node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v, Style: yaml.DoubleQuotedStyle}
		} else if err := node.Encode(v); err != nil {
			return "", err
		}
		text, err := yaml.Marshal(&node)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	text, err := yaml.Marshal(value)
	return strings.TrimSuffix(string(text), "\n"), err
}
