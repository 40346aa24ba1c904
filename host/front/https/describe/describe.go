// Package describe converts the modules' descriptions into documents for people and programs: the OpenAPI
// document, the list of functions for the API Shell, and the pages of the API reference.
package describe

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// For returns the given modules, each with only the functions that caller may call. Modules without such a
// function are left out. If several modules have the same name, only the first is returned, because calls go
// to the first.
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
			continue // Special modules such as print can't be called over HTTP.
		}
		slices.SortFunc(own.Functions, func(a, b protocol.Function) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.API, b.API))
		})
		out = append(out, own)
	}
	slices.SortFunc(out, func(a, b protocol.Module) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Function describes a function in the list for the API Shell, which is served as /functions.json.
type Function struct {
	API     int     `json:"api"`
	Module  string  `json:"module"`
	Name    string  `json:"name"`
	Help    string  `json:"help"`
	Returns string  `json:"returns"`
	Changes bool    `json:"changes"`
	Open    bool    `json:"open"`
	Params  []Param `json:"params"`
	Example any     `json:"example,omitempty"` // An example of the data.
}

// Param describes a parameter of a Function.
type Param struct {
	Name     string        `json:"name"`
	Type     protocol.Type `json:"type"`
	Required bool          `json:"required"`
	Help     string        `json:"help"`
}

// Functions returns the functions of all given modules, for the API Shell.
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
	return Function{int(f.API), m.Name, f.Name, f.Help, f.Returns, f.Changes, f.Open, params, f.Example}
}

// Page describes a module in the API reference.
type Page struct {
	Name, Help string
	Functions  []Entry
}

// Entry describes a function in the API reference.
type Entry struct {
	Function
	APIName, Anchor string
	ExampleText     string // The example as indented JSON.
	TryIt           string // The function's address in the API Shell; "" if the API Shell does not have it.
}

// Pages converts the given modules to pages of the API reference.
func Pages(modules []protocol.Module) []Page {
	var out []Page
	for _, m := range modules {
		p := Page{Name: m.Name, Help: m.Help}
		for _, f := range m.Functions {
			e := Entry{
				Function: functionOf(m, f), APIName: f.API.String(),
				Anchor: strings.ReplaceAll(strings.ToLower(m.Name+"-"+f.Name+"-"+f.API.String()), " ", ""),
			}
			if f.Example != nil {
				text, _ := json.MarshalIndent(f.Example, "", "  ") // The example came as MessagePack or JSON.
				e.ExampleText = string(text)
			}
			if api := map[protocol.API]string{protocol.API2: "api2", protocol.UAPI: "uapi"}[f.API]; api != "" {
				e.TryIt = "#shell/" + api + "/" + m.Name + "/" + f.Name
			}
			p.Functions = append(p.Functions, e)
		}
		out = append(out, p)
	}
	return out
}
