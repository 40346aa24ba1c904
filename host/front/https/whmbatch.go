package https

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
)

// Limits of a batch: the maximum number of functions, and the size of the answers, in bytes, after which no
// further function is called.
const (
	maxBatch       = 50
	maxBatchAnswer = 8 << 20
)

// batch implements batch: it runs several functions of WHM API 1 in order, and returns all answers. A function
// that fails does not stop the others.
func (c *whmCall) batch() {
	commands, problem := c.commands()
	if problem != "" {
		c.fail(http.StatusOK, problem)
		return
	}
	results := make([]any, 0, len(commands))
	failed, size := 0, 0
	admission.Share(c.ctx)
	c.q.batch = c.ctx
	defer func() { c.q.batch = nil }()
	started := time.Now()
	for _, sub := range commands {
		var answer map[string]any
		sub.inBatch = &answer
		switch {
		case size > maxBatchAnswer:
			sub.fail(http.StatusOK, "The answers of the batch are too large. This function was not called; call it in another batch.")
		case time.Since(started) > protocol.CallTimeout:
			sub.fail(http.StatusOK, "The batch takes too long. This function was not called; call it in another batch.")
		default:
			sub.run()
		}
		if meta, ok := answer["metadata"].(map[string]any); ok && meta["result"] != 1 {
			failed++
		}
		text, err := json.Marshal(answer)
		if err != nil {
			text = []byte("null")
		}
		size += len(text)
		results = append(results, json.RawMessage(text))
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
