// Package describe turns the modules' descriptions of themselves into what people and programs
// read: the OpenAPI document, the list for the API Shell, and the pages of the reference.
package describe

import (
	"cmp"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// For returns the modules with those of their functions that a caller may call. Of modules with one
// name it is the first that is called.
func For(modules []protocol.Module, caller protocol.Caller) []protocol.Module {
	var out []protocol.Module
	seen := make(map[string]bool)
	for _, m := range modules {
		if seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		own := m
		own.Functions = nil
		for _, f := range m.Functions {
			if slices.Contains(f.Roles, caller.Role) && caller.HasFeature(f.Feature) {
				own.Functions = append(own.Functions, f)
			}
		}
		if len(own.Functions) == 0 || len(m.Name) == 0 || m.Name[0] < 'A' || m.Name[0] > 'Z' {
			continue // Of the special requests, print and the like, there is no HTTP form.
		}
		slices.SortFunc(own.Functions, func(a, b protocol.Function) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.API, b.API))
		})
		out = append(out, own)
	}
	slices.SortFunc(out, func(a, b protocol.Module) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Function is one function as the API Shell reads it.
type Function struct {
	API     int     `json:"api"`
	Module  string  `json:"module"`
	Name    string  `json:"name"`
	Help    string  `json:"help"`
	Returns string  `json:"returns"`
	Changes bool    `json:"changes"`
	Open    bool    `json:"open"`
	Params  []Param `json:"params"`
}

// Param is one parameter.
type Param struct {
	Name     string        `json:"name"`
	Type     protocol.Type `json:"type"`
	Required bool          `json:"required"`
	Help     string        `json:"help"`
}

// Functions lists the functions of all modules.
func Functions(modules []protocol.Module) []Function {
	out := []Function{}
	for _, m := range modules {
		for _, f := range m.Functions {
			out = append(out, functionOf(m, f))
		}
	}
	return out
}

func functionOf(m protocol.Module, f protocol.Function) Function {
	params := []Param{}
	for _, p := range f.Params {
		params = append(params, Param{p.Name, cmp.Or(p.Type, protocol.TypeString), p.Required, p.Help})
	}
	return Function{int(f.API), m.Name, f.Name, f.Help, f.Returns, f.Changes, f.Open, params}
}

// Page is one module in the reference.
type Page struct {
	Name, Help string
	Functions  []Entry
}

// Entry is one function in the reference.
type Entry struct {
	Function
	APIName, Anchor string
}

// Pages returns the reference's modules.
func Pages(modules []protocol.Module) []Page {
	var out []Page
	for _, m := range modules {
		p := Page{Name: m.Name, Help: m.Help}
		for _, f := range m.Functions {
			p.Functions = append(p.Functions, Entry{
				Function: functionOf(m, f), APIName: f.API.String(),
				Anchor: strings.ReplaceAll(strings.ToLower(m.Name+"-"+f.Name+"-"+f.API.String()), " ", ""),
			})
		}
		out = append(out, p)
	}
	return out
}
