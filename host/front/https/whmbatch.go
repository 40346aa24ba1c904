package https

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
)

// maxBatch is the maximum number of functions in a batch.
const maxBatch = 50

// batch implements batch: it runs several functions of WHM API 1 in order, and returns all answers. A function
// that fails does not stop the others.
func (c *whmCall) batch() {
	commands, problem := c.commands()
	if problem != "" {
		c.fail(http.StatusOK, problem)
		return
	}
	results := make([]any, 0, len(commands))
	failed := 0
	for _, sub := range commands {
		var answer map[string]any
		sub.inBatch = &answer
		sub.run()
		if meta, ok := answer["metadata"].(map[string]any); ok && meta["result"] != 1 {
			failed++
		}
		results = append(results, answer)
	}
	if failed > 0 {
		c.meta = map[string]any{"result": 0, "reason": strconv.Itoa(failed) + " of " + strconv.Itoa(len(commands)) + " functions failed; see their answers."}
	}
	data := map[string]any{"result": results}
	c.reply(data, map[string]any{"result": results, "status": 1, "statusmsg": "OK"})
}

// commands parses the parameters command, command-0, command-1 and so on.
func (c *whmCall) commands() (calls []*whmCall, problem string) {
	list := protocol.Function{API: protocol.UAPI, Params: []protocol.Param{{Name: "command", Required: true, List: true}}}
	args, wrong := list.Check(protocol.Args{Named: c.values.Named()})
	if wrong != nil {
		return nil, wrong.Message
	}
	texts, _ := args.Named["command"].([]any)
	if len(texts) > maxBatch {
		return nil, "The ‘command’ argument has more than " + strconv.Itoa(maxBatch) + " functions."
	}
	for i, item := range texts {
		text, _ := item.(string)
		name, query, _ := strings.Cut(text, "?")
		values, err := request.Form(query)
		if err != nil {
			return nil, "The ‘command’ argument, function " + strconv.Itoa(i+1) + ": " + err.Message
		}
		if slices.Contains([]string{"", "batch", "cpanel"}, name) {
			return nil, "The ‘command’ argument, function " + strconv.Itoa(i+1) + ": it must be a function of WHM with its parameters, such as accountsummary?user=demo."
		}
		delete(values, "api.version")
		calls = append(calls, &whmCall{q: c.q, name: name, values: values, v1: true})
	}
	return calls, ""
}
