// Command gen generates the packaged configuration and the manual page liveapid.toml(5) from the doc comments
// and tags of Go structs: the configuration's and that of the Email plugin's settings. It parses the source
// text of these packages and does not import them. To run it: go generate ./host/config.
package main

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"text/template"
)

// key describes a key of the configuration: its name, its documentation and its values in the generated
// files.
type key struct {
	Name, Doc string
	Packaged  string // Value in the packaged configuration; "" omits the key.
	Example   string
}

// section is a table of the configuration with its keys.
type section struct {
	Title string // The table's header, such as [web]; "" for the top level.
	Keys  []key
}

//go:embed liveapid.toml.tmpl
var tomlText string

//go:embed liveapid.toml.5.tmpl
var manText string

// outputs maps the path of each generated file, relative to the module's root directory, to its template.
var outputs = map[string]string{
	"packaging/liveapid.toml":       tomlText,
	"packaging/man/liveapid.toml.5": manText,
}

func main() {
	root := filepath.Join("..", "..")
	texts, err := generate(root)
	for name, text := range texts {
		if err == nil {
			err = os.WriteFile(filepath.Join(root, name), []byte(text), 0o644)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate returns the text of each output, by path. root is the root directory of the module.
func generate(root string) (map[string]string, error) {
	sections, err := read(root)
	if err != nil {
		return nil, err
	}
	texts := make(map[string]string)
	for name, text := range outputs {
		t, err := template.New(name).Funcs(template.FuncMap{"comment": comment, "man": man, "wrap": wrap}).Parse(text)
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		if err := t.Execute(&b, sections); err != nil {
			return nil, err
		}
		texts[name] = b.String()
	}
	return texts, nil
}

// read parses the source files below root and returns the sections, keyed by the name of their Go struct.
func read(root string) (map[string]section, error) {
	sections := make(map[string]section)
	for _, s := range []struct{ file, structName, tag, title string }{
		{"host/config/config.go", "Config", "toml", ""},
		{"host/config/plugins.go", "Plugin", "toml", "[[plugin]]"},
		{"host/config/mock.go", "Mock", "toml", "[[mock]]"},
		{"plugins/email/settings.go", "Settings", "setting", "[plugin.settings]"},
		{"host/config/config.go", "Limits", "toml", "[limits]"},
		{"host/config/web.go", "Web", "toml", "[web]"},
	} {
		keys, err := fields(filepath.Join(root, s.file), s.structName, s.tag)
		if err != nil {
			return nil, err
		}
		sections[s.structName] = section{s.title, keys}
	}
	return sections, nil
}

// tables contains the keys that have a section of their own. fields skips these keys.
var tables = map[string]bool{"plugin": true, "mock": true, "web": true, "limits": true, "settings": true}

// fields parses the file at path and returns the keys of the struct called structName. tag is the struct tag
// that contains a key's name. Each key needs a doc comment, and an example or a packaged value.
func fields(path, structName, tag string) (keys []key, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != structName || err != nil {
			return err == nil
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			if field.Tag == nil {
				continue
			}
			tags := reflect.StructTag(strings.Trim(field.Tag.Value, "`"))
			name := tags.Get(tag)
			if name == "" || name == "-" || tables[name] {
				continue
			}
			k := key{Name: name, Doc: strings.Join(strings.Fields(field.Doc.Text()), " "), Packaged: tags.Get("packaged"), Example: tags.Get("example")}
			if k.Doc == "" || k.Packaged == "" && k.Example == "" {
				err = fmt.Errorf("%s: the key %s of %s needs a comment, and an example or a packaged value", path, name, structName)
				return false
			}
			keys = append(keys, k)
		}
		return false
	})
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("%s: no struct %s with keys", path, structName)
	}
	return keys, err
}

// lineWidth is the width of wrapped text, in bytes.
const lineWidth = 100

// wrap breaks a text into lines that begin with prefix.
func wrap(prefix, text string) string {
	var b strings.Builder
	line := prefix
	for _, word := range strings.Fields(text) {
		if len(line) > len(prefix) && len(line)+1+len(word) > lineWidth {
			b.WriteString(line + "\n")
			line = prefix
		}
		if len(line) > len(prefix) {
			line += " "
		}
		line += word
	}
	b.WriteString(line)
	return b.String()
}

// comment returns a text as comment lines of TOML.
func comment(text string) string { return wrap("# ", text) }

// man returns a text as lines of a manual page.
func man(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(wrap("", text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
