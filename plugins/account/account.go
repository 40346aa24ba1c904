// Package account implements the modules that read or write files of an account outside its mail: NVData and
// Personalization, which keep the settings of programs in the home, and Quota, which measures the home. The
// package accesses only the home of the calling account.
package account

import (
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// Modules returns the modules NVData, Personalization and Quota.
func Modules() []*sdk.Module {
	q := newQuota()
	return []*sdk.Module{
		{Name: "NVData", Help: "Settings of programs, which are kept in the home.", Functions: nvdataFunctions()},
		{Name: "Personalization", Help: "Settings of programs, which are kept in the home.", Functions: personalizationFunctions()},
		{Name: "Quota", Help: "The disk use of the account, and its limits.", Functions: q.functions()},
	}
}

// describe returns the description of a function that the owner of the account may call.
func describe(api protocol.API, name, help, returns string, changes bool, params ...protocol.Param) protocol.Function {
	return protocol.Function{
		API: api, Name: name, Help: help, Returns: returns, Changes: changes, Params: params, Roles: []protocol.Role{protocol.RoleAccount},
	}
}
