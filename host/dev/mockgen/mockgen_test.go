package mockgen_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/dev/mockgen"
)

const description = `
openapi: 3.0.2
paths:
  /Mysql/list_databases:
    get:
      summary: List the  databases.
      responses:
        200:
          content:
            application/json:
              schema:
                type: object
                properties:
                  apiversion: {type: integer, example: 3}
                  result:
                    type: object
                    properties:
                      data:
                        type: array
                        items: {$ref: "#/components/schemas/Database"}
                      status: {type: integer}
  /execute/SSL/fetch:
    post:
      responses:
        "200":
          content:
            application/json:
              example: {result: {data: {crt: "{{ not a template }}", n: 9007199254740993}}}
  /SSL/list/more: {get: {}}
  /SSL/loop:
    get:
      responses: {"200": {content: {application/json: {schema: {$ref: "#/components/schemas/Loop"}}}}}
components:
  schemas:
    Database:
      type: object
      properties:
        database: {type: string, example: user_db}
        created: {type: string, format: date}
        kind: {enum: [a, b]}
        size: {type: integer, minimum: 7}
        users: {type: array, items: {type: string, format: email}}
        both: {allOf: [{properties: {x: {type: string}}}, {properties: {y: {type: [integer, "null"]}}}]}
        either: {oneOf: [{type: boolean}]}
    Loop: {$ref: "#/components/schemas/Loop"}
`

func TestGenerate(t *testing.T) {
	files, err := mockgen.Generate([]byte(description), nil)
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.Equal(t, "Mysql", files[0].Module)
	require.JSONEq(t, `{"module":"Mysql","help":"Mocks from an OpenAPI description.","answer":[{"function":"list_databases","help":"List the databases.",
		"data":[{"database":"user_db","created":"2020-01-01","kind":"a","size":7,"users":["user@example.com"],"both":{"x":"","y":0},"either":0}]}]}`, string(files[0].Text))
	require.JSONEq(t, `{"module":"SSL","help":"Mocks from an OpenAPI description.","answer":[
		{"function":"loop","data":null},{"function":"fetch","data":{"crt":"{{\"{{\"}} not a template }}","n":9007199254740993}}]}`, string(files[1].Text))
	only, err := mockgen.Generate([]byte(description), []string{"SSL"})
	require.NoError(t, err)
	require.Equal(t, files[1:], only)
	for text, says := range map[string]string{"": "has no paths", "[": "neither JSON nor YAML", `{"paths":{}}`: "has no function of UAPI", `{"paths":{"/version":{"get":{}}}}`: "has no function"} {
		_, err := mockgen.Generate([]byte(text), nil)
		require.ErrorContains(t, err, says)
	}
}

// No description makes the generator fail, and what it writes is JSON.
func FuzzGenerate(f *testing.F) {
	f.Add([]byte(description))
	f.Fuzz(func(t *testing.T, text []byte) {
		files, err := mockgen.Generate(text, nil)
		if err != nil {
			return
		}
		for _, file := range files {
			require.True(t, json.Valid(file.Text))
		}
	})
}
