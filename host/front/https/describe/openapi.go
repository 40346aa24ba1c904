package describe

import (
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

type object = map[string]any

// Port describes the port for which an OpenAPI document is made.
type Port struct {
	Scheme string // Authorization scheme for tokens; "" if none are accepted.
	// Account means that each call must name an account. It is true only for WHM's port, which does not serve
	// /execute.
	Account   bool
	Functions []protocol.Function // The port's own functions, at /json-api/NAME.
	Missing   []string            // Modules that can't be described now; named in the document.
}

// path is the OpenAPI path of the functions that are not selected by the URL's path but by parameters. All
// these functions share one path, because a path in OpenAPI can't contain a query.
const path = "/json-api/cpanel"

// OpenAPI returns an OpenAPI 3.1 document of the given modules and of the port's own functions. UAPI
// functions have paths under /execute, or under /json-api/cpanel if port.Account is set. API 2 functions are
// always under /json-api/cpanel. version is the API level.
func OpenAPI(modules []protocol.Module, port Port, version string) map[string]any {
	paths, schemas := object{}, schemas()
	tags := []any{}
	named := named{account: port.Account}
	for _, m := range modules {
		tags = append(tags, object{"name": m.Name, "description": m.Help})
		for _, f := range m.Functions {
			switch {
			case f.API == protocol.UAPI && !port.Account:
				paths["/execute/"+m.Name+"/"+f.Name] = methods(m.Name, f)
			case f.API == protocol.UAPI, f.API == protocol.API2:
				named.add(m.Name, f, schemas)
			}
		}
	}
	if len(named.all) > 0 {
		paths[path] = named.methods()
	}
	if len(port.Functions) > 0 {
		tags = append(tags, object{"name": "WHM", "description": "The port's own functions."})
	}
	for _, f := range port.Functions {
		paths["/json-api/"+f.Name] = own(f)
	}
	description := "The functions that this account can call, as their modules describe them."
	if len(port.Missing) > 0 {
		description += " Missing, because it can't be started at the moment: " + strings.Join(port.Missing, "; ") + "."
	}
	schemes, security := object{"basic": object{"type": "http", "scheme": "basic"}}, []any{object{"basic": []any{}}}
	if port.Scheme != "" {
		schemes["token"] = object{"type": "apiKey", "in": "header", "name": "Authorization", "description": port.Scheme + " USER:TOKEN"}
		security = append(security, object{"token": []any{}})
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "liveapid", "version": version, "description": description,
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []any{object{"url": "/"}},
		"tags":       tags,
		"paths":      paths,
		"security":   security,
		"components": object{"securitySchemes": schemes, "schemas": schemas},
	}
}

// named collects the functions at the path that is named path. A request selects one of them by its
// parameters, so one OpenAPI path describes them all.
type named struct {
	account bool
	all     []any // References to the functions' schemas.
	apis    []any
	// Names of the modules and functions that a GET request may call; see readsOnly.
	modules, functions []any
}

func addNew(list []any, value any) []any {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

// add adds a function. Its parameters become one of the alternative schemas (oneOf) of the path's request
// body.
func (n *named) add(module string, f protocol.Function, schemas object) {
	api := strconv.Itoa(int(f.API))
	fields, required := object{}, []any{}
	if n.account {
		fields["cpanel_jsonapi_user"] = object{"type": "string", "description": "The account."}
		required = append(required, "cpanel_jsonapi_user")
	}
	for _, p := range [][2]string{{"cpanel_jsonapi_apiversion", api}, {"cpanel_jsonapi_module", module}, {"cpanel_jsonapi_func", f.Name}} {
		fields[p[0]] = object{"type": "string", "const": p[1]}
		required = append(required, p[0])
	}
	name := module + "." + f.Name + "." + api // Unique, because module names contain no dot.
	body := bodyOf(f, fields, required)
	body["title"], body["description"] = module+"::"+f.Name, f.Help
	schemas[name] = body
	n.all = append(n.all, object{"$ref": "#/components/schemas/" + name})
	n.apis = addNew(n.apis, api)
	if readsOnly(f) {
		n.modules, n.functions = addNew(n.modules, module), addNew(n.functions, f.Name)
	}
}

// methods returns the OpenAPI description of the path: POST for all functions, and GET if any function may be
// called with GET; see readsOnly.
func (n *named) methods() object {
	answers := []any{}
	for _, api := range n.apis {
		answers = append(answers, object{"$ref": "#/components/schemas/" + map[any]string{"2": "API2", "3": "UAPI"}[api]})
	}
	post := operation("cpanel_call", "API", "Call a function by its name.", "", object{"oneOf": answers})
	post["requestBody"] = bodies(object{"oneOf": n.all}, true)
	out := object{"post": post}
	if len(n.functions) == 0 {
		return out
	}
	get := operation("cpanel_call_get", "API", "Call by its name a function that changes nothing.", "", object{"oneOf": answers})
	params := []any{}
	if n.account {
		params = append(params, object{"name": "cpanel_jsonapi_user", "in": "query", "required": true, "description": "The account.", "schema": object{"type": "string"}})
	}
	for _, p := range []struct {
		name   string
		values []any
	}{{"cpanel_jsonapi_apiversion", n.apis}, {"cpanel_jsonapi_module", n.modules}, {"cpanel_jsonapi_func", n.functions}} {
		params = append(params, object{"name": p.name, "in": "query", "required": true, "schema": object{"type": "string", "enum": p.values}})
	}
	get["parameters"] = append(params, further())
	out["get"] = get
	return out
}

// further returns an OpenAPI query parameter that stands for all arguments of a function, because their names
// differ from function to function.
func further() object {
	return object{
		"name": "arguments", "in": "query", "style": "form", "explode": true, "description": "The function's own arguments, by their names.",
		"schema": object{"type": "object", "additionalProperties": object{"type": "string"}},
	}
}

// own describes one of the port's own functions: POST, and GET if the function changes nothing.
func own(f protocol.Function) object {
	version := object{"name": "api.version", "in": "query", "required": true, "schema": object{"type": "integer", "const": 1}}
	post := operation("whm_"+f.Name+"_post", "WHM", f.Help, f.Returns, object{"type": "object"})
	post["parameters"] = []any{version}
	body := bodyOf(f, object{}, []any{})
	post["requestBody"] = bodies(body, body["required"] != nil)
	out := object{"post": post}
	if !f.Changes {
		get := operation("whm_"+f.Name, "WHM", f.Help, f.Returns, object{"type": "object"})
		params := append([]any{version}, queryOf(f)...)
		if f.Open {
			params = append(params, further())
		}
		get["parameters"] = params
		out["get"] = get
	}
	return out
}

func operation(id, tag, summary, description string, answer object) object {
	return object{
		"operationId": id, "tags": []any{tag}, "summary": summary, "description": description,
		"responses": object{
			"200": object{"description": "The call ran, or failed: its status says which.", "content": object{"application/json": object{"schema": answer}}},
			"401": object{"description": "Nobody, or somebody else."}, "403": object{"description": "Not allowed."},
		},
	}
}

// bodyOf returns the schema of a request body. The body contains the function's arguments and the given
// fields; required lists the names of the required fields.
func bodyOf(f protocol.Function, fields object, required []any) object {
	for _, p := range f.Params {
		schema := schemaOf(p)
		schema["description"] = p.Help
		fields[p.Name] = schema
		if p.Required {
			required = append(required, p.Name)
		}
	}
	body := object{"type": "object", "properties": fields, "additionalProperties": true}
	if len(required) > 0 {
		body["required"] = required
	}
	return body
}

func queryOf(f protocol.Function) []any {
	out := []any{}
	for _, p := range f.Params {
		out = append(out, object{"name": p.Name, "in": "query", "required": p.Required, "description": p.Help, "schema": schemaOf(p)})
	}
	return out
}

func bodies(schema object, required bool) object {
	return object{"required": required, "content": object{
		"application/x-www-form-urlencoded": object{"schema": schema}, "application/json": object{"schema": schema}, "multipart/form-data": object{"schema": schema},
	}}
}

// methods returns the OpenAPI description of a UAPI function, which has its own path: POST, and GET if the
// function may be called by GET; see readsOnly.
func methods(module string, f protocol.Function) object {
	answer := object{"$ref": "#/components/schemas/Result"}
	if f.Example != nil {
		data := schemaOfExample(f.Example, 0)
		data["examples"] = []any{f.Example}
		answer = object{"allOf": []any{answer, object{"type": "object", "properties": object{"data": data}}}}
	}
	id := module + "." + f.Name + ".uapi"
	body := bodyOf(f, object{}, []any{})
	post := operation(id, module, f.Help, f.Returns, answer)
	post["requestBody"] = bodies(body, body["required"] != nil)
	out := object{"post": post}
	if readsOnly(f) {
		get := operation(id+".get", module, f.Help, f.Returns, answer)
		get["parameters"] = queryOf(f)
		out["get"] = get
	}
	return out
}

// readsOnly reports whether a function may be called by a GET request, with its arguments in the URL: the
// function changes nothing, accepts only known parameters, and none of the parameters is a secret.
func readsOnly(f protocol.Function) bool { return !f.Changes && !f.Open && !hasSecret(f) }

func hasSecret(f protocol.Function) bool {
	for _, p := range f.Params {
		if p.Type == protocol.TypeSecret {
			return true
		}
	}
	return false
}

func schemaOf(p protocol.Param) object {
	switch p.Type {
	case protocol.TypeSecret:
		return object{"type": "string", "format": "password", "writeOnly": true}
	case protocol.TypeInteger:
		return object{"type": "integer"}
	case protocol.TypeFlag:
		return object{"type": "integer", "enum": []any{0, 1}}
	case protocol.TypeAny:
		return object{}
	}
	return object{"type": "string"}
}

// maxExample is the maximum depth of a schema that is made from an example.
const maxExample = 16

// schemaOfExample returns a schema of the values that have the types of an example. A failed call returns null.
func schemaOfExample(example any, depth int) object {
	kind := func(name string) object { return object{"type": []any{name, "null"}} }
	switch v := example.(type) {
	case string:
		return kind("string")
	case bool:
		return kind("boolean")
	case int, int64, uint64:
		return kind("integer")
	case float64:
		return kind("number")
	case []any:
		out := kind("array")
		if len(v) > 0 && depth < maxExample {
			out["items"] = schemaOfExample(v[0], depth+1)
		}
		return out
	case map[string]any:
		out := kind("object")
		fields := object{}
		for name, item := range v {
			if depth < maxExample {
				fields[name] = schemaOfExample(item, depth+1)
			}
		}
		out["properties"] = fields
		return out
	}
	return object{}
}

func schemas() object {
	texts := object{"type": []any{"array", "null"}, "items": object{"type": "string"}}
	one := object{"type": "integer", "enum": []any{0, 1}}
	return object{
		"Result": object{"type": "object", "required": []any{"status", "data", "errors"}, "properties": object{
			"status": one, "data": object{}, "errors": texts, "messages": texts, "warnings": texts, "metadata": object{"type": "object"},
		}},
		"UAPI": object{"type": "object", "required": []any{"result"}, "properties": object{"result": object{"$ref": "#/components/schemas/Result"}}},
		"API2": object{"type": "object", "required": []any{"cpanelresult"}, "properties": object{
			"cpanelresult": object{"type": "object", "properties": object{
				"apiversion": object{"type": "integer"}, "module": object{"type": "string"}, "func": object{"type": "string"},
				"data":  object{"type": "array", "items": object{"type": "object"}},
				"event": object{"type": "object", "properties": object{"result": one, "reason": object{"type": "string"}}},
				"error": object{"type": "string"},
			}},
		}},
	}
}
