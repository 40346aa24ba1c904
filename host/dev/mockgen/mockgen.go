// Package mockgen writes mocks from an OpenAPI description of UAPI: for each function an answer that is made of the
// description's examples and types. It reads no network and follows no reference to another document.
package mockgen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/liveapid/liveapid/protocol"
)

// File is a file with the mocks of a module.
type File struct {
	Module    string
	Functions int
	Text      []byte
}

const (
	maxDepth     = 12       // Maximum depth of a value that is made from a schema.
	maxDocument  = 64 << 20 // Maximum size of a description in bytes.
	maxReference = 16       // Maximum number of references in a row.
	maxMade      = 5000     // Maximum number of values that are made for a function.
	maxNesting   = 200      // Maximum depth of a description.
)

type object = map[string]any

// document is an OpenAPI description.
type document struct {
	root object
	made int // Number of values that were made for the current function.
}

// Generate returns the mocks of the modules in an OpenAPI description, in JSON or YAML. If modules is not empty, only
// they are returned.
func Generate(text []byte, modules []string) ([]File, error) {
	if len(text) > maxDocument {
		return nil, fmt.Errorf("the description has more than %d bytes", maxDocument)
	}
	var parsed any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if dec.Decode(&parsed) != nil {
		parsed = nil
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			return nil, fmt.Errorf("the description is neither JSON nor YAML: %w", err)
		}
	}
	var d document
	d.root, _ = plain(parsed, 0).(object)
	paths, ok := d.root["paths"].(object)
	if !ok {
		return nil, errors.New("the description has no paths: is it an OpenAPI document?")
	}
	answers := make(map[string][]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		module, function, ok := functionOf(path)
		if !ok || len(modules) > 0 && !slices.Contains(modules, module) {
			continue
		}
		operation := d.operation(paths[path])
		if operation == nil {
			continue
		}
		d.made = 0
		answer := object{"function": function, "data": literal(d.data(operation))}
		if help := firstOf(operation, "summary", "description"); help != "" {
			answer["help"] = protocol.Clip(strings.Join(strings.Fields(help), " "), 200)
		}
		answers[module] = append(answers[module], answer)
	}
	var out []File
	for _, module := range slices.Sorted(maps.Keys(answers)) {
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(object{"module": module, "help": "Mocks from an OpenAPI description.", "answer": answers[module]}); err != nil {
			return nil, err
		}
		out = append(out, File{Module: module, Functions: len(answers[module]), Text: text.Bytes()})
	}
	if len(out) == 0 && len(modules) > 0 {
		return nil, fmt.Errorf("the description has no module %s", strings.Join(modules, ", "))
	}
	if len(out) == 0 {
		return nil, errors.New("the description has no function of UAPI: a path must have the form /Module/function or /execute/Module/function")
	}
	return out, nil
}

// plain returns decoded YAML with the keys of all maps as text: the keys of responses may be numbers.
func plain(value any, depth int) any {
	if depth > maxNesting {
		return nil
	}
	switch v := value.(type) {
	case map[any]any:
		out := make(object, len(v))
		for key, item := range v {
			out[fmt.Sprint(key)] = plain(item, depth+1)
		}
		return out
	case object:
		for key := range v {
			v[key] = plain(v[key], depth+1)
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i], depth+1)
		}
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return value
}

// literal returns data in which no text is a template of a mock.
func literal(data any) any {
	switch v := data.(type) {
	case string:
		return strings.ReplaceAll(v, "{{", `{{"{{"}}`)
	case object:
		out := make(object, len(v))
		for key, item := range v {
			out[key] = literal(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = literal(item)
		}
		return out
	}
	return data
}

// functionOf returns the function that an OpenAPI path names.
func functionOf(path string) (module, function string, ok bool) {
	parts := strings.Split(strings.Trim(strings.TrimPrefix(path, "/execute"), "/"), "/")
	if len(parts) != 2 {
		return "", "", false
	}
	m := protocol.Module{Name: parts[0], Functions: []protocol.Function{{API: protocol.UAPI, Name: parts[1], Roles: []protocol.Role{protocol.RoleAccount}}}}
	return parts[0], parts[1], m.Validate() == nil
}

// operation returns the description of the first method of a path that has one.
func (d *document) operation(item any) object {
	methods, _ := d.follow(item).(object)
	for _, method := range []string{"get", "post", "put"} {
		if operation, ok := d.follow(methods[method]).(object); ok {
			return operation
		}
	}
	return nil
}

// follow returns the value to which a reference inside the document leads, or value itself.
func (d *document) follow(value any) any {
	for range maxReference {
		reference, ok := value.(object)
		if !ok {
			return value
		}
		path, ok := reference["$ref"].(string)
		if !ok || !strings.HasPrefix(path, "#/") {
			return value
		}
		var at any = d.root
		for _, part := range strings.Split(path[2:], "/") {
			inner, _ := at.(object)
			at = inner[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
		}
		value = at
	}
	return nil
}

// data returns the data of a function's answer: from an example of the answer, or made from its schema.
func (d *document) data(operation object) any {
	responses, _ := operation["responses"].(object)
	response, _ := d.follow(responses["200"]).(object)
	content, _ := response["content"].(object)
	media, _ := content["application/json"].(object)
	example, found := media["example"]
	if !found {
		if examples, ok := media["examples"].(object); ok {
			for _, name := range slices.Sorted(maps.Keys(examples)) {
				if one, ok := d.follow(examples[name]).(object); ok {
					example, found = one["value"], true
					break
				}
			}
		}
	}
	if !found {
		example = d.sample(media["schema"], 0)
	}
	answer, _ := example.(object)
	if result, ok := answer["result"].(object); ok {
		answer = result
	}
	return answer["data"]
}

// sample makes a value from a schema: its example, its default, its first allowed value, or a value of its type.
func (d *document) sample(schema any, depth int) any {
	s, ok := d.follow(schema).(object)
	if d.made++; !ok || depth > maxDepth || d.made > maxMade {
		return nil
	}
	for _, key := range []string{"example", "default", "const"} {
		if value, ok := s[key]; ok {
			return value
		}
	}
	for _, key := range []string{"examples", "enum"} {
		if list, ok := s[key].([]any); ok && len(list) > 0 {
			return list[0]
		}
	}
	if all, ok := s["allOf"].([]any); ok {
		out := object{}
		for _, part := range all {
			if fields, ok := d.sample(part, depth+1).(object); ok {
				maps.Copy(out, fields)
			}
		}
		return out
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if list, ok := s[key].([]any); ok && len(list) > 0 {
			return d.sample(list[0], depth+1)
		}
	}
	switch typeOf(s) {
	case "object":
		out := object{}
		properties, _ := s["properties"].(object)
		for name, property := range properties {
			out[name] = d.sample(property, depth+1)
		}
		return out
	case "array":
		return []any{d.sample(s["items"], depth+1)}
	case "integer", "number":
		if minimum, ok := s["minimum"]; ok {
			return minimum
		}
		return 0
	case "boolean":
		return 0
	case "string":
		return sampleText(s)
	}
	return nil
}

// typeOf returns the type of a schema. A list of types means its first type that is not null.
func typeOf(s object) string {
	switch kind := s["type"].(type) {
	case string:
		return kind
	case []any:
		for _, one := range kind {
			if name, ok := one.(string); ok && name != "null" {
				return name
			}
		}
	}
	if s["properties"] != nil {
		return "object"
	}
	if s["items"] != nil {
		return "array"
	}
	return ""
}

func sampleText(s object) string {
	format, _ := s["format"].(string)
	return map[string]string{
		"email": "user@example.com", "date": "2020-01-01", "date-time": "2020-01-01T00:00:00Z", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
		"domain": "example.com", "hostname": "example.com", "uri": "https://example.com/", "url": "https://example.com/",
	}[format]
}

func firstOf(o object, keys ...string) string {
	for _, key := range keys {
		if text, _ := o[key].(string); text != "" {
			return text
		}
	}
	return ""
}
