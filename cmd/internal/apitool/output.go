package apitool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// write prints an answer. form is json, jsonpretty, xml or yaml, and answer is the JSON of the envelope. The
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
	default:
		value, err := parse(answer)
		if err != nil {
			return err
		}
		out.WriteString("---\n")
		enc := yaml.NewEncoder(&out)
		enc.SetIndent(2)
		if err := enc.Encode(node(value)); err != nil {
			return err
		}
		if err := enc.Close(); err != nil {
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

// node converts a decoded JSON value to YAML in the style of cPanel's commands: keys are sorted, and null is
// printed as ~.
func node(value any) *yaml.Node {
	switch v := value.(type) {
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "~"}
	case json.Number:
		tag := "!!int"
		if bytes.ContainsAny([]byte(v), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, item := range v {
			n.Content = append(n.Content, node(item))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			n.Content = append(n.Content, node(key), node(v[key]))
		}
		return n
	default:
		var n yaml.Node
		if err := n.Encode(v); err != nil { // A string or bool always encodes.
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
		}
		return &n
	}
}
