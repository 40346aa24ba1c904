package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/liveapid/liveapid/protocol"
)

// Parse decodes an envelope that JSON or Special wrote for call, and returns its Result. An envelope does not
// contain the exact Kind of a failure, so Parse chooses a kind for which JSON would write the same envelope
// again.
func Parse(call protocol.Call, body []byte) (*protocol.Result, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var raw map[string]any
	if err := decoder.Decode(&raw); err != nil {
		return nil, fmt.Errorf("the answer is not a JSON object: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text follows the answer's JSON object")
	}
	answer, _ := protocol.Exact(raw).(map[string]any)
	if outer, ok := answer["cpanelresult"].(map[string]any); ok {
		answer = outer
	}
	if call.API == protocol.UAPI {
		return parseUAPI(answer), nil
	}
	result := &protocol.Result{Data: answer["data"]}
	if call.API == protocol.API1 {
		data, _ := answer["data"].(map[string]any)
		result.Data = data["result"]
	}
	if paginate, ok := answer["paginate"].(map[string]any); ok {
		result.Paginate = paginate
	}
	if message, _ := answer["error"].(string); message != "" {
		result = protocol.Failed(protocol.NewError(kindOf(answer), message))
	}
	return result, nil
}

// kindOf chooses a kind for the failure in an envelope of API 1 or API 2: KindFailed if the event reports
// that the function ran, otherwise KindUnavailable.
func kindOf(answer map[string]any) protocol.Kind {
	event, ok := answer["event"].(map[string]any)
	if ok && event["result"] == int64(1) {
		return protocol.KindFailed
	}
	return protocol.KindUnavailable
}

func parseUAPI(answer map[string]any) *protocol.Result {
	in, ok := answer["result"].(map[string]any)
	if !ok { // A failure in the general form has no key "result" at the top.
		message, _ := answer["error"].(string)
		return protocol.Failed(protocol.NewError(protocol.KindUnavailable, message))
	}
	result := &protocol.Result{Data: in["data"], Messages: texts(in["messages"]), Warnings: texts(in["warnings"])}
	result.Metadata, _ = in["metadata"].(map[string]any)
	if in["status"] != int64(1) {
		message := ""
		if errs := texts(in["errors"]); len(errs) > 0 {
			message = errs[0]
		}
		result.Err = protocol.NewError(protocol.KindFailed, message)
	}
	return result
}

func texts(value any) []string {
	list, _ := value.([]any)
	var out []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}
