package payload

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/liveapid/liveapid/protocol"
)

// Request is a call as the host sends it to a plugin, with the account and the role of the caller.
type Request struct {
	ID      string // The id of the call in the logs of host and plugin.
	Call    protocol.Call
	Account protocol.Account
	Role    protocol.Role
	Mailbox string // The mailbox's address; "" unless Role is RoleMailbox.
	// Stage is the stage of the function to run. Input is the data that the previous stage returned, and
	// Warnings are the warnings of that stage.
	Stage    protocol.Stage
	Input    any
	Warnings []string
	// Shape are the meta-parameters for the list that the function returns; see package listing.
	Shape map[string]string
}

// EncodeRequest encodes r as a MessagePack document.
func EncodeRequest(r Request) ([]byte, error) {
	account := map[string]any{
		"name": r.Account.Name, "uid": r.Account.UID, "gid": r.Account.GID,
		"home": r.Account.Home, "domains": r.Account.Domains,
	}
	if r.Account.Features != nil {
		account["features"] = r.Account.Features
	}
	if len(r.Account.Data) > 0 {
		data := make(map[string]any, len(r.Account.Data))
		for key, value := range r.Account.Data {
			data[key] = value
		}
		account["data"] = data
	}
	document := map[string]any{
		"id": r.ID, "api": int(r.Call.API), "module": r.Call.Module, "func": r.Call.Func,
		"args": r.Call.Args.Named, "role": string(r.Role), "account": account,
	}
	if r.Mailbox != "" {
		document["mailbox"] = r.Mailbox
	}
	if r.Stage != protocol.Whole {
		document["stage"], document["handed"], document["warnings"] = string(r.Stage), r.Input, r.Warnings
	}
	if len(r.Shape) > 0 {
		shape := make(map[string]any, len(r.Shape))
		for key, value := range r.Shape {
			shape[key] = value
		}
		document["shape"] = shape
	}
	return Encode(document)
}

// DecodeRequest decodes a document that EncodeRequest wrote.
func DecodeRequest(doc []byte) (Request, error) {
	f, err := decodeFields(doc)
	if err != nil {
		return Request{}, err
	}
	account := f.object("account")
	features := account.texts("features")
	if account["features"] != nil && features == nil {
		features = []string{} // No features. Nil would mean all features.
	}
	return Request{
		ID: f.text("id"),
		Call: protocol.Call{
			API: protocol.API(f.number("api")), Module: f.text("module"), Func: f.text("func"),
			Args: protocol.Args{Named: f.object("args")},
		},
		Account: protocol.Account{
			Name: account.text("name"), UID: account.number("uid"), GID: account.number("gid"),
			Home: account.text("home"), Domains: account.texts("domains"), Features: features, Data: account.object("data").allTexts(),
		},
		Role: protocol.Role(f.text("role")), Mailbox: f.text("mailbox"),
		Stage: protocol.Stage(f.text("stage")), Input: f["handed"], Warnings: f.texts("warnings"),
		Shape: f.object("shape").allTexts(),
	}, nil
}

// EncodeResult encodes r as a MessagePack document. If r is a failure, the document contains only the kind
// and the public message, never the private cause.
func EncodeResult(r *protocol.Result) ([]byte, error) {
	if r.Err != nil {
		return EncodeError(r.Err)
	}
	document := map[string]any{"messages": r.Messages, "warnings": r.Warnings, "metadata": r.Metadata}
	if r.Shaped {
		document["shaped"] = true
	}
	if r.Paginate != nil { // An empty map would become a part of the answer.
		document["paginate"] = r.Paginate
	}
	if table, ok := tableOf(r.Data); ok {
		document["table"] = table
	} else {
		document["data"] = whole(r.Data)
	}
	return Encode(document)
}

// EncodeError encodes a failure as a MessagePack document, like EncodeResult. The private cause is included: it is for
// the host's log, and, in personal mode, for the author of the module.
func EncodeError(e *protocol.Error) ([]byte, error) {
	document := map[string]any{"kind": string(e.Kind), "message": e.Message}
	if e.Err != nil {
		document["cause"] = protocol.Clip(e.Err.Error(), protocol.MaxText)
	}
	return Encode(map[string]any{"error": document})
}

// DecodeResult decodes a document that EncodeResult wrote. A table becomes a protocol.Records. Some kinds of failures
// must not come from a plugin, such as KindNoModule, which only the host can determine: DecodeResult replaces them by
// KindInternal.
func DecodeResult(doc []byte) (*protocol.Result, error) {
	if err := WalkNodes(doc, protocol.MaxResultNodes); err != nil {
		return nil, err
	}
	parts, err := partsOf(doc, part{0, len(doc)}, "data", "table", "error", "messages", "warnings", "metadata", "shaped", "paginate")
	if err != nil {
		return nil, err
	}
	if table, ok := parts["table"]; ok && doc[table.from] == nilByte {
		delete(parts, "table")
	}
	if _, both := parts["data"]; both && parts["table"].to > 0 {
		return nil, fmt.Errorf("%w: the answer has both data and a table", ErrPayload)
	}
	f := make(fields, len(parts))
	for key, value := range parts {
		if key == "table" {
			f["data"], err = recordsOf(doc, value)
		} else {
			f[key], err = decodeChecked(doc[value.from:value.to])
		}
		if err != nil {
			return nil, err
		}
	}
	if f["error"] != nil {
		e := f.object("error")
		kind := protocol.Kind(e.text("kind"))
		switch kind {
		case protocol.KindInvalid, protocol.KindNotFound, protocol.KindFailed, protocol.KindDenied, protocol.KindUnavailable:
		default:
			kind = protocol.KindInternal
		}
		failure := protocol.NewError(kind, protocol.Clip(e.text("message"), protocol.MaxText))
		if cause := e.text("cause"); cause != "" {
			failure.Err = errors.New(protocol.Clip(cause, protocol.MaxText))
		}
		return protocol.Failed(failure), nil
	}
	return &protocol.Result{
		Data: f["data"], Messages: f.texts("messages"), Warnings: f.texts("warnings"), Metadata: f.object("metadata"),
		Shaped: f.flag("shaped"), Paginate: f.object("paginate"),
	}, nil
}

// EncodeModules encodes the descriptions of a plugin's modules, as the answer to the gRPC method Describe.
func EncodeModules(modules []protocol.Module) ([]byte, error) {
	list := make([]any, 0, len(modules))
	for _, m := range modules {
		functions := make([]any, 0, len(m.Functions))
		for _, fn := range m.Functions {
			functions = append(functions, encodeFunction(fn))
		}
		module := map[string]any{"name": m.Name, "help": m.Help, "functions": functions}
		if len(m.HelperSettings) > 0 {
			module["helper_settings"] = m.HelperSettings
		}
		list = append(list, module)
	}
	return Encode(map[string]any{"modules": list})
}

func encodeFunction(fn protocol.Function) map[string]any {
	params := make([]any, 0, len(fn.Params))
	for _, p := range fn.Params {
		param := map[string]any{"name": p.Name, "type": string(p.Type), "required": p.Required, "help": p.Help}
		if p.List {
			param["list"] = true
		}
		params = append(params, param)
	}
	roles := make([]string, 0, len(fn.Roles))
	for _, r := range fn.Roles {
		roles = append(roles, string(r))
	}
	function := map[string]any{
		"api": int(fn.API), "name": fn.Name, "help": fn.Help, "params": params,
		"returns": fn.Returns, "roles": roles, "changes": fn.Changes,
		"open": fn.Open, "feature": fn.Feature,
		"before": fn.Before, "after": fn.After, "shared": fn.Shared, "shapes": fn.Shapes,
	}
	if fn.Source != "" {
		function["source"] = fn.Source
	}
	if fn.Example != nil {
		function["example"] = fn.Example
	}
	return function
}

// DecodeModules decodes the answer to the gRPC method Describe and validates the descriptions. It returns an
// error if the plugin rejected its settings.
func DecodeModules(doc []byte) ([]protocol.Module, error) {
	if len(doc) > protocol.MaxDescription {
		return nil, fmt.Errorf("%w: the description has %d bytes, but at most %d are accepted", ErrPayload, len(doc), protocol.MaxDescription)
	}
	f, err := decodeFields(doc)
	if err != nil {
		return nil, err
	}
	if f["error"] != nil {
		return nil, fmt.Errorf("the plugin rejected its settings: %s", protocol.Clip(f.object("error").text("message"), protocol.MaxText))
	}
	var modules []protocol.Module
	for _, m := range f.objects("modules") {
		module := protocol.Module{Name: m.text("name"), Help: m.text("help"), HelperSettings: m.texts("helper_settings")}
		for _, fn := range m.objects("functions") {
			if _, ok := fn["feature"].(string); !ok && fn["feature"] != nil {
				// The feature restricts the accounts that may call the function. An invalid value is an error, because
				// ignoring it would remove the restriction.
				return nil, fmt.Errorf("%w: function %.40q: the feature is not a string", ErrPayload, fn.text("name"))
			}
			module.Functions = append(module.Functions, decodeFunction(fn))
		}
		if err := module.Validate(); err != nil {
			return nil, err
		}
		modules = append(modules, module)
	}
	return modules, nil
}

func decodeFunction(f fields) protocol.Function {
	fn := protocol.Function{
		API: protocol.API(f.number("api")), Name: f.text("name"), Help: f.text("help"),
		Returns: f.text("returns"), Changes: f.flag("changes"),
		Open: f.flag("open"), Feature: protocol.Clip(f.text("feature"), protocol.MaxText),
		Before: f.flag("before"), After: f.flag("after"), Shared: f.flag("shared"),
		Shapes: f.flag("shapes"), Source: protocol.Clip(f.text("source"), protocol.MaxText), Example: f["example"],
	}
	for _, r := range f.texts("roles") {
		fn.Roles = append(fn.Roles, protocol.Role(r))
	}
	for _, p := range f.objects("params") {
		fn.Params = append(fn.Params, protocol.Param{
			Name: p.text("name"), Type: protocol.Type(p.text("type")), Required: p.flag("required"), List: p.flag("list"), Help: p.text("help"),
		})
	}
	return fn
}

// EncodeSettings encodes a plugin's settings, as the request of the gRPC method Describe.
func EncodeSettings(settings map[string]any) ([]byte, error) {
	return Encode(map[string]any{"settings": settings})
}

// DecodeSettings decodes a document that EncodeSettings wrote.
func DecodeSettings(doc []byte) (map[string]any, error) {
	f, err := decodeFields(doc)
	return f.object("settings"), err
}

// AccountOf returns the account in an encoded Request, with only Name and UID set. It is cheaper than
// DecodeRequest.
func AccountOf(doc []byte) (protocol.Account, error) {
	if err := Walk(doc); err != nil {
		return protocol.Account{}, err
	}
	// Query finds the account and skips the other fields without decoding them.
	found, err := msgpack.NewDecoder(bytes.NewReader(doc)).Query("account")
	if err != nil || len(found) != 1 {
		return protocol.Account{}, fmt.Errorf("%w: the request names no account", ErrPayload)
	}
	account, _ := found[0].(map[string]any)
	uid, err := strconv.Atoi(fmt.Sprint(account["uid"]))
	if err != nil {
		return protocol.Account{}, fmt.Errorf("%w: the account's uid is not a number", ErrPayload)
	}
	return protocol.Account{Name: fmt.Sprint(account["name"]), UID: uid}, nil
}
