package builtin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/protocol"
)

// Tokens serves the module Tokens, by which an account manages its own tokens for the HTTPS API. Functions,
// fields and rules follow cPanel's documentation (UAPI, "API Token Management").
type Tokens struct{ Store *token.Store }

var (
	_ host.Plugin        = Tokens{}
	_ host.StaticModules = Tokens{}
)

// Serves implements host.StaticModules.
func (Tokens) Serves() []string { return []string{"Tokens"} }

// Modules implements host.Plugin.
func (Tokens) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	name := protocol.Param{Name: "name", Required: true, Help: "The token's name: letters, digits, - and _, at most 50."}
	expires := protocol.Param{Name: "expires_at", Type: protocol.TypeInteger, Help: "When it ends, in seconds since 1970. Default: never."}
	function := func(name, help, returns string, changes bool, params ...protocol.Param) protocol.Function {
		return protocol.Function{
			API: protocol.UAPI, Name: name, Help: help, Returns: returns, Changes: changes, Params: params,
			Roles: []protocol.Role{protocol.RoleAccount}, Feature: "apitokens",
		}
	}
	return []protocol.Module{{
		Name: "Tokens", Help: "Tokens by which programs call over HTTPS.",
		Functions: []protocol.Function{
			function("create_full_access", "Create a token that may do all that the account may.", "The token, which can't be shown again, and create_time.", true, name, expires,
				protocol.Param{Name: "readonly", Type: protocol.TypeFlag, Help: "Only 0: this server creates no read-only tokens."}),
			function("list", "List the account's tokens.", "A record for each: name, create_time, expires_at, has_full_access, features.", false),
			function("revoke", "End a token.", "1, also if there is no token of this name.", true, name),
			function("rename", "Give a token another name.", "Nothing.", true, name,
				protocol.Param{Name: "new_name", Required: true, Help: "Its new name."}),
		},
	}}, nil
}

// Call implements host.Plugin.
func (p Tokens) Call(_ context.Context, r host.Request) (*protocol.Result, error) {
	caller, call := r.Caller, r.Call
	a := caller.Account
	if caller.Features != nil && call.Func != "list" {
		// A token that is limited to features must not create tokens. Otherwise it could create a token with
		// more permissions than its own.
		return protocol.Failed(protocol.NewError(protocol.KindDenied, "A token that is limited to features can't create or change tokens.")), nil
	}
	name, _ := call.Args.Named["name"].(string)
	switch call.Func {
	case "create_full_access":
		if flag, ok := call.Args.Named["readonly"]; ok && flag != "0" {
			return protocol.Failed(protocol.NewError(protocol.KindInvalid, "The ‘readonly’ argument must be 0: this server creates no read-only tokens.")), nil
		}
		return p.create(a, name, call.Args.Named["expires_at"]), nil
	case "list":
		return p.list(a), nil
	case "revoke":
		err := p.Store.Revoke(a.Name, a.UID, token.CPanel, name)
		if errors.Is(err, token.ErrNone) { // The token does not exist, which is what the caller wants.
			return &protocol.Result{Data: int64(1), Messages: []string{noToken}}, nil
		}
		return done(name, err), nil
	}
	to, _ := call.Args.Named["new_name"].(string)
	result := done(to, p.Store.Rename(a.Name, a.UID, token.CPanel, name, to))
	result.Data = nil
	return result, nil
}

func (p Tokens) create(a protocol.Account, name string, expires any) *protocol.Result {
	g := token.Grant{User: a.Name, UID: a.UID, Service: token.CPanel, Name: name}
	if text, ok := expires.(protocol.Number); ok {
		seconds, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || seconds <= time.Now().Unix() {
			return protocol.Failed(protocol.NewError(protocol.KindInvalid, "The ‘expires_at’ argument must be a time in the future, in seconds since the start of 1970 (Unix time)."))
		}
		g.Expires = time.Unix(seconds, 0)
	}
	text, t, err := p.Store.Create(g)
	if err != nil {
		return done(name, err)
	}
	return &protocol.Result{Data: map[string]any{"token": text, "create_time": t.Created}}
}

func (p Tokens) list(a protocol.Account) *protocol.Result {
	all, err := p.Store.List(a.Name)
	if err != nil {
		return done("", err)
	}
	records := []any{}
	for _, t := range all {
		if t.UID != a.UID || t.Service != token.CPanel {
			continue
		}
		record := map[string]any{"name": t.Name, "create_time": t.Created, "expires_at": nil, "has_full_access": int64(0), "features": []any{}}
		if t.Expires != 0 {
			record["expires_at"] = t.Expires
		}
		if t.Full() {
			record["has_full_access"] = int64(1)
		} else {
			features := []any{}
			for _, f := range t.Features {
				features = append(features, f)
			}
			record["features"] = features
		}
		records = append(records, record)
	}
	return &protocol.Result{Data: records, Metadata: map[string]any{"transformed": int64(1)}}
}

const noToken = "You have no API token with this name."

// done returns the result of a change to the token called name. If err is not nil, the result is an error
// message for the caller.
func done(name string, err error) *protocol.Result {
	fail := func(kind protocol.Kind, message string) *protocol.Result {
		return protocol.Failed(protocol.NewError(kind, message))
	}
	switch {
	case err == nil:
		return &protocol.Result{Data: int64(1)}
	case errors.Is(err, token.ErrNone):
		return fail(protocol.KindNotFound, noToken)
	case errors.Is(err, token.ErrExists):
		return fail(protocol.KindInvalid, "You have an API token “"+name+"” already.")
	case errors.Is(err, token.ErrFull):
		return fail(protocol.KindFailed, "You have "+strconv.Itoa(token.MaxEach)+" API tokens, which is the limit. Revoke some.")
	case errors.Is(err, token.ErrInvalid):
		return fail(protocol.KindInvalid, "The token's name may have only letters, digits, - and _, at most "+strconv.Itoa(token.MaxName)+".")
	}
	return protocol.Failed(&protocol.Error{Kind: protocol.KindUnavailable, Message: "The tokens can't be read or written at the moment. Nothing was changed.", Err: err})
}
