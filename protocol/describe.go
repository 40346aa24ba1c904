package protocol

import "fmt"

// Type is what a parameter accepts.
type Type string

const (
	// TypeString accepts text; numbers are taken as they were spelled.
	TypeString Type = "string"
	// TypeSecret is a string that must never be shown.
	TypeSecret Type = "secret"
	// TypeInteger accepts a whole number, spelled as text or as a number.
	TypeInteger Type = "integer"
	// TypeFlag accepts 1 and 0.
	TypeFlag Type = "flag"
	// TypeAny accepts anything, nested values too.
	TypeAny Type = "any"
)

// Param describes one parameter of a function.
type Param struct {
	Name     string
	Type     Type // "" means TypeString.
	Required bool // Missing and empty are refused alike.
	Help     string
}

// Function describes one function of a module.
type Function struct {
	API     API
	Name    string
	Help    string
	Params  []Param
	Returns string // One sentence on the data it returns.
	Roles   []Role // Who may call it. None is a mistake, never "everybody".
	Changes bool   // It changes something.
	// Open says that arguments beyond Params reach the function too, as they came. For
	// modules that do not describe their parameters.
	Open bool
	// Feature is the feature that the account must have; "" asks for none.
	Feature string
	// Where a host runs a plugin both as its helper and as the account, Before and After say
	// that the helper has a part in the function before, or after, the account's worker has:
	// it alone gets the secrets among the arguments. Shared says that the helper runs it all.
	Before, After, Shared bool
}

// Stage is a part of a function that runs by itself.
type Stage string

// The stages.
const (
	Whole  Stage = ""       // All of it, in one process.
	Before Stage = "before" // What the helper does first.
	Do     Stage = "do"     // What the account's worker does.
	After  Stage = "after"  // What the helper does then.
)

// Module describes one module: a named group of functions.
type Module struct {
	Name      string
	Help      string
	Functions []Function
	// HelperSettings names the settings that are for the helper alone: the account's worker is
	// not given them.
	HelperSettings []string
}

// Validate reports the first mistake in a description.
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
			return fmt.Errorf("module %s: function %s of %s stands twice", m.Name, f.Name, f.API)
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
		return fmt.Errorf("function %s: %s is no API", f.Name, f.API)
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
			return fmt.Errorf("function %s: parameter %.40q: %.40q is no type", f.Name, p.Name, p.Type)
		}
		if p.Name == "" || seen[p.Name] {
			return fmt.Errorf("function %s: parameter %.40q is unnamed or stands twice", f.Name, p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// isName reports whether s can name a module or a function.
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
