package protocol

import "fmt"

// Type is the type of a parameter.
type Type string

const (
	// TypeString accepts text. Numbers keep their spelling.
	TypeString Type = "string"
	// TypeSecret is a string that must never be shown.
	TypeSecret Type = "secret"
	// TypeInteger accepts a whole number, as text or as a number.
	TypeInteger Type = "integer"
	// TypeFlag accepts 1 and 0.
	TypeFlag Type = "flag"
	// TypeAny accepts any value, including nested values.
	TypeAny Type = "any"
)

// Param describes a parameter of a function.
type Param struct {
	Name     string
	Type     Type // "" means TypeString.
	Required bool // A missing and an empty argument are both rejected.
	Help     string
}

// Function describes a function of a module.
type Function struct {
	API     API
	Name    string
	Help    string
	Params  []Param
	Returns string // A sentence on the data that it returns.
	Roles   []Role // The roles that may call it. An empty list is a mistake, never "everybody".
	Changes bool   // It changes something.
	// Open means that the function also gets undescribed arguments, unchanged. It is for modules that do not
	// describe their parameters.
	Open bool
	// Feature is the feature that the account must have; "" means none.
	Feature string
	// If a host runs a plugin as a helper and as the account, Before and After mean that the helper runs a
	// part of the function before and after the account's worker. Only the helper gets the secrets among the
	// arguments. Shared means that the helper runs the whole function.
	Before, After, Shared bool
}

// Stage is a part of a function that runs by itself.
type Stage string

// The stages.
const (
	Whole  Stage = ""       // The whole function, in a single process.
	Before Stage = "before" // The helper's first part.
	Do     Stage = "do"     // The part of the account's worker.
	After  Stage = "after"  // The helper's last part.
)

// Module describes a module: a named group of functions.
type Module struct {
	Name      string
	Help      string
	Functions []Function
	// HelperSettings names the settings that only the helper gets.
	HelperSettings []string
}

// Validate returns the first mistake in a description.
func (m Module) Validate() error {
	if !isName(m.Name) {
		return fmt.Errorf("module %.40q: a name is a letter followed by letters, digits and _, at most 64", m.Name)
	}
	type key struct {
		api  API
		name string
	}
	seen := make(map[key]bool)
	for _, f := range m.Functions {
		if err := f.validate(); err != nil {
			return fmt.Errorf("module %s: %w", m.Name, err)
		}
		if k := (key{f.API, f.Name}); seen[k] {
			return fmt.Errorf("module %s: function %s of %s is repeated", m.Name, f.Name, f.API)
		} else {
			seen[k] = true
		}
	}
	return nil
}

func (f Function) validate() error {
	if !isName(f.Name) {
		return fmt.Errorf("function %.40q: a name is a letter followed by letters, digits and _, at most 64", f.Name)
	}
	if f.API < API1 || f.API > UAPI {
		return fmt.Errorf("function %s: %s is not an API", f.Name, f.API)
	}
	if len(f.Roles) == 0 {
		return fmt.Errorf("function %s of %s: no role may call it; name the roles", f.Name, f.API)
	}
	if f.Shared && (f.Before || f.After) {
		return fmt.Errorf("function %s of %s: it is shared, and so has no parts", f.Name, f.API)
	}
	seen := make(map[string]bool)
	for _, p := range f.Params {
		switch p.Type {
		case "", TypeString, TypeSecret, TypeInteger, TypeFlag, TypeAny:
		default:
			return fmt.Errorf("function %s: parameter %.40q: %.40q is not a type", f.Name, p.Name, p.Type)
		}
		if p.Name == "" || seen[p.Name] {
			return fmt.Errorf("function %s: parameter %.40q is unnamed or repeated", f.Name, p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// isName reports whether s can be the name of a module or a function.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// WithoutSecrets returns args without the values of f's secrets.
func (f Function) WithoutSecrets(args Args) Args {
	out := Args{Named: make(map[string]any, len(args.Named)), Positional: args.Positional}
	for name, value := range args.Named {
		out.Named[name] = value
	}
	for _, p := range f.Params {
		if p.Type == TypeSecret {
			delete(out.Named, p.Name)
		}
	}
	return out
}
