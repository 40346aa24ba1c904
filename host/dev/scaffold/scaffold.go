// Package scaffold writes new modules: a module with one function, and a test of it, in each language. It starts no
// module.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/liveapid/liveapid/protocol"
)

//go:embed templates
var templates embed.FS

// Languages are the languages of new modules.
var languages = []string{"go", "perl", "php", "python"}

// Languages returns the names of the languages in which New writes modules.
func Languages() []string { return slices.Clone(languages) }

// Module describes a new module.
type Module struct {
	Name     string
	Language string
	Version  string // For Go: the version of liveapid, without "v".
	Replace  string // For Go: a directory with liveapid's source, which replaces the published version; "" for none.
}

// goVersion is the version of Go in a new go.mod.
const goVersion = "1.26"

// ErrExists means that the directory of a new module already exists.
var ErrExists = errors.New("the directory already exists")

// New writes the module into the directory dir, which New creates, and returns the paths of the files.
func New(m Module, dir string) ([]string, error) {
	if !slices.Contains(languages, m.Language) {
		return nil, fmt.Errorf("%.40q is not one of the languages %s", m.Language, strings.Join(languages, ", "))
	}
	if err := (protocol.Module{Name: m.Name}).Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%s: %w", dir, ErrExists)
		}
		return nil, err
	}
	values := map[string]string{
		"Name": m.Name, "Lower": strings.ToLower(m.Name), "Version": m.Version, "Replace": m.Replace, "GoVersion": goVersion,
	}
	var files []string
	root := path.Join("templates", m.Language)
	err := fs.WalkDir(templates, root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := templates.ReadFile(name)
		if err != nil {
			return err
		}
		t, err := template.New(name).Delims("<%", "%>").Parse(string(text))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, values); err != nil {
			return err
		}
		file := filepath.Join(dir, strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), ".tmpl"))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		files = append(files, file)
		return os.WriteFile(file, out.Bytes(), 0o644)
	})
	return files, err
}
