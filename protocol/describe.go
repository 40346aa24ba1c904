package protocol

import "fmt"

// Type is the type of a parameter. It determines how Check validates the value.
type Type string

const (
	// TypeString accepts text. A number is accepted as the text that the client wrote.
	TypeString Type = "string"
	// TypeSecret accepts text that must never be shown or logged, such as a password. The function receives a
	// Secret.
	TypeSecret Type = "secret"
	// TypeInteger accepts a whole number, sent as a number or as text. The number must be in the range of
	// int64, and must not be the minimum of int64.
	TypeInteger Type = "integer"
	// TypeFlag accepts 1, 0, a boolean, or an empty text.
	TypeFlag Type = "flag"
	// TypeAny accepts any value, including lists and objects.
	TypeAny Type = "any"
)

// Param describes a parameter of a function. Check uses the description.
type Param struct {
	Name     string
	Type     Type // The empty type means TypeString.
	Required bool // Missing is an error, and so is "" unless Type is TypeAny.
	// List means that the parameter may be repeated, and may be sent with indexes: name-0, name-1 and so on.
	// The function receives a list of all values, in order. Type then describes each value.
	List bool
	Help string
}

// Function describes a function of a module: its parameters, the roles that may call it, and the process that runs it.
type Function struct {
	API     API
	Name    string
	Help    string
	Params  []Param
	Returns string // A sentence that describes the returned data.
	Roles   []Role // The roles that may call the function. It must not be empty.
	Changes bool   // The function changes something.
	// Open means that the function receives all arguments. Arguments that Params does not describe are passed
	// unchanged. Modules that do not describe their parameters need open functions.
	Open bool
	// Feature is the feature that the account must have to call the function; "" means that no feature is
	// required.
	Feature string
	// Before, After and Shared apply if the host runs a plugin in two processes: as the helper and as a
	// worker of the account. Before means that the helper runs a stage of the function before the worker's
	// stage, and After means that the helper runs a stage after it. Only the helper receives the secrets
	// among the arguments. Shared means that the helper runs the whole function, and no worker of the account
	// is used.
	Before, After, Shared bool
	// Shapes means that the plugin can filter, sort and page the list that the function returns, so that the rest of
	// the list is neither made nor sent.
	Shapes bool
	// Source is the place of the function's code, for its author: "FILE line N". It may be empty, and callers never
	// see it on a host with many accounts.
	Source string
	// Example is an example of the data that the function returns; nil means that there is none. Its types describe
	// the data in documents for programs.
	Example any
}

// Stage is a part of a function that runs in a single process, the helper or a worker of the account.
type Stage string

// The stages of a function. A function with stages runs Before, Do and After in this order; Before or After
// may be missing.
const (
	Whole  Stage = ""       // The function is not split: a single process runs it.
	Before Stage = "before" // The helper's stage before the worker's.
	Do     Stage = "do"     // The stage of the account's worker.
	After  Stage = "after"  // The helper's stage after the worker's.
)

// Module describes a module: a named group of functions.
type Module struct {
	Name      string
	Help      string
	Functions []Function
	// HelperSettings lists the names of the settings that only the helper receives.
	HelperSettings []string
}

// Validate returns an error for the first mistake in the description of a module, or nil.
func (m Module) Validate() error {
	if !isName(m.Name) {
		return fmt.Errorf("module %.40q: the name must be a letter followed by letters, digits and _, and have at most 64 characters", m.Name)
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
		return fmt.Errorf("function %.40q: the name must be a letter followed by letters, digits and _, and have at most 64 characters", f.Name)
	}
	if f.API < API1 || f.API > UAPI {
		return fmt.Errorf("function %s: %s is not an API", f.Name, f.API)
	}
	if len(f.Roles) == 0 {
		return fmt.Errorf("function %s of %s: the list of roles is empty, so nobody could call the function", f.Name, f.API)
	}
	if f.Shared && (f.Before || f.After) {
		return fmt.Errorf("function %s of %s: a shared function can't have Before or After", f.Name, f.API)
	}
	seen := make(map[string]bool)
	for _, p := range f.Params {
		switch p.Type {
		case "", TypeString, TypeSecret, TypeInteger, TypeFlag, TypeAny:
		default:
			return fmt.Errorf("function %s: parameter %.40q: %.40q is not a known type", f.Name, p.Name, p.Type)
		}
		if p.Name == "" || seen[p.Name] {
			return fmt.Errorf("function %s: parameter %.40q is unnamed or repeated", f.Name, p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// isName reports whether s is a valid name of a module or a function.
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

// WithoutSecrets returns a copy of args without the named arguments of type TypeSecret. Positional arguments
// are not changed.
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
