// Package describe turns the modules' descriptions into documents for people and programs: the OpenAPI
// document, the list for the API Shell, and the pages of the reference.
package describe

import (
	"cmp"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// For returns the modules with the functions that a caller may call. If several modules have the same name,
// it returns the first, which is the one that is called.
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
			continue // The special requests, such as print, can't be made over HTTP.
		}
		slices.SortFunc(own.Functions, func(a, b protocol.Function) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.API, b.API))
		})
		out = append(out, own)
	}
	slices.SortFunc(out, func(a, b protocol.Module) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Function is a function in the API Shell's list.
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

// Param is a parameter.
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

// Page is a module in the reference.
type Page struct {
	Name, Help string
	Functions  []Entry
}

// Entry is a function in the reference.
type Entry struct {
	Function
	APIName, Anchor string
}

// Pages returns the modules of the reference.
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
