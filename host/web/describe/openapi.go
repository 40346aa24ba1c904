package describe

import (
	"fmt"

	"github.com/liveapid/liveapid/protocol"
)

type object = map[string]any

// Port is what a document is for.
type Port struct {
	Scheme string // Of the header with a token; "" where there are none.
	// Account says that calls name the account they are for: WHM's port, which has no /execute.
	Account   bool
	Functions []string // The port's own, by /json-api/NAME.
}

// OpenAPI returns the OpenAPI 3.1 document of the UAPI functions, under /execute, and of API 2's,
// by /json-api/cpanel. version is the API level.
func OpenAPI(modules []protocol.Module, port Port, version string) map[string]any {
	paths := object{}
	tags := []any{}
	for _, m := range modules {
		tags = append(tags, object{"name": m.Name, "description": m.Help})
		for _, f := range m.Functions {
			// A query in a path key is not allowed; the fragment keeps the functions apart.
			key := fmt.Sprintf("/json-api/cpanel#%d/", f.API) + m.Name + "::" + f.Name
			switch {
			case f.API == protocol.UAPI && port.Account:
				paths[key] = methods(m.Name, f, object{"$ref": "#/components/schemas/UAPI"}, names("3", m.Name, f.Name, true))
			case f.API == protocol.UAPI:
				paths["/execute/"+m.Name+"/"+f.Name] = methods(m.Name, f, object{"$ref": "#/components/schemas/Result"}, nil)
			case f.API == protocol.API2:
				paths[key] = methods(m.Name, f, object{"$ref": "#/components/schemas/API2"}, names("2", m.Name, f.Name, port.Account))
			}
		}
	}
	for _, name := range port.Functions {
		paths["/json-api/"+name] = object{"get": object{
			"operationId": "whm_" + name, "tags": []any{"WHM"}, "summary": "WHM's own function " + name + ".",
			"parameters": []any{object{"name": "api.version", "in": "query", "schema": object{"type": "integer", "const": 1}}},
			"responses":  object{"200": object{"description": "The answer, or why there is none.", "content": object{"application/json": object{"schema": object{"type": "object"}}}}},
		}}
	}
	schemes, security := object{"basic": object{"type": "http", "scheme": "basic"}}, []any{object{"basic": []any{}}}
	if port.Scheme != "" {
		schemes["token"] = object{"type": "apiKey", "in": "header", "name": "Authorization", "description": port.Scheme + " USER:TOKEN"}
		security = append(security, object{"token": []any{}})
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "liveapid", "version": version, "description": "The functions that this account can call, as their modules describe them.",
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []any{object{"url": "/"}},
		"tags":       tags,
		"paths":      paths,
		"security":   security,
		"components": object{"securitySchemes": schemes, "schemas": schemas()},
	}
}

// names are the parameters that name a function, and the account that it is for.
func names(api, module, function string, account bool) []any {
	var out []any
	if account {
		out = append(out, object{"name": "cpanel_jsonapi_user", "in": "query", "required": true, "description": "The account.", "schema": object{"type": "string"}})
	}
	for _, p := range [][2]string{{"cpanel_jsonapi_apiversion", api}, {"cpanel_jsonapi_module", module}, {"cpanel_jsonapi_func", function}} {
		out = append(out, object{"name": p[0], "in": "query", "required": true, "schema": object{"type": "string", "const": p[1]}})
	}
	return out
}

// methods describes a function: by GET where it changes nothing, and by POST.
func methods(module string, f protocol.Function, answer object, named []any) object {
	operation := func(id string) object {
		return object{
			"operationId": id, "tags": []any{module}, "summary": f.Help, "description": f.Returns,
			"responses": object{
				"200": object{"description": "The call ran, or failed: its status says which.", "content": object{"application/json": object{"schema": answer}}},
				"401": object{"description": "Nobody, or somebody else."}, "403": object{"description": "Not allowed."},
			},
		}
	}
	id := module + "_" + f.Name + "_" + map[protocol.API]string{protocol.API2: "2", protocol.UAPI: "uapi"}[f.API]
	fields, required := object{}, []any{}
	query := append([]any{}, named...)
	for _, p := range f.Params {
		schema := schemaOf(p)
		schema["description"] = p.Help
		fields[p.Name] = schema
		if p.Required {
			required = append(required, p.Name)
		}
		query = append(query, object{"name": p.Name, "in": "query", "required": p.Required, "description": p.Help, "schema": schemaOf(p)})
	}
	body := object{"type": "object", "properties": fields, "additionalProperties": true}
	if len(required) > 0 {
		body["required"] = required
	}
	post := operation(id)
	if len(named) > 0 {
		post["parameters"] = named
	}
	post["requestBody"] = object{"required": len(required) > 0, "content": object{
		"application/x-www-form-urlencoded": object{"schema": body}, "application/json": object{"schema": body}, "multipart/form-data": object{"schema": body},
	}}
	out := object{"post": post}
	if !f.Changes && !f.Open && !hasSecret(f) {
		get := operation(id + "_get")
		get["parameters"] = query
		out["get"] = get
	}
	return out
}

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
