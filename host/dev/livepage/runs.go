package livepage

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/liveapid/liveapid/protocol"
)

// PageRun is one run of a page, with the calls that the page made and the errors of its code.
type PageRun struct {
	ID     int           `json:"id"`
	Time   time.Time     `json:"time"`
	Method string        `json:"method"` // "REPLAY" for a call that the author repeated.
	Path   string        `json:"path"`
	Status int           `json:"status"`
	Took   time.Duration `json:"took_ns"`
	Errors []PageError   `json:"errors"`
	Calls  []Call        `json:"calls"`
}

// failed reports whether an error ended the page.
func (r PageRun) failed() bool { return slices.ContainsFunc(r.Errors, PageError.Fatal) }

// replayed is the method of a run that repeats a call.
const replayed = "REPLAY"

// record calls run and then adds an entry for the page run to the list of runs. run writes the answer into
// the given buffer, passes each call to the LiveAPI to the given function, and returns the page's errors. When run has
// returned, record sends the buffered answer to the client.
func (d *Dev) record(w http.ResponseWriter, req *http.Request, run func(*buffer, func(Call)) []PageError) {
	began := time.Now()
	var mu sync.Mutex
	calls := []Call{}
	answer := &buffer{header: make(http.Header), status: http.StatusOK}
	errors := run(answer, func(c Call) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, c)
	})
	if errors == nil {
		errors = []PageError{}
	}
	mu.Lock()
	maskErrors(errors, calls)
	seen := PageRun{Time: began, Method: req.Method, Path: req.URL.Path, Status: answer.status, Took: time.Since(began), Errors: errors, Calls: calls}
	mu.Unlock()
	seen.ID = d.keep(seen)
	answer.sendTo(w, req, seen)
}

// keep adds a run to the list and returns its id.
func (d *Dev) keep(run PageRun) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	run.ID = d.next
	d.runs = append(d.runs, run)
	if len(d.runs) > keptRuns {
		d.runs = slices.Delete(d.runs, 0, len(d.runs)-keptRuns)
	}
	return run.ID
}

// serveRuns sends the list of runs, the newest first, with a version. If the client names this version already, the
// answer has status 204 and no list.
func (d *Dev) serveRuns(w http.ResponseWriter, req *http.Request) {
	d.mu.Lock()
	runs := slices.Clone(d.runs)
	version := fmt.Sprintf("%d-%d-%d", d.began.UnixNano(), d.next, len(runs))
	d.mu.Unlock()
	if req.URL.Query().Get("version") == version {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	slices.Reverse(runs)
	writeJSON(w, map[string]any{"version": version, "user": d.runner.Account.Name, "runs": append([]PageRun{}, runs...)})
}

func writeJSON(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document) // An error means that the client has disconnected.
}

// run returns the run that the request names.
func (d *Dev) run(req *http.Request) (PageRun, bool) {
	id, _ := strconv.Atoi(req.PathValue("id"))
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.runs, func(r PageRun) bool { return r.ID == id })
	if i < 0 {
		return PageRun{}, false
	}
	return d.runs[i], true
}

// serveRun sends one run.
func (d *Dev) serveRun(w http.ResponseWriter, req *http.Request) {
	run, ok := d.run(req)
	if !ok {
		http.Error(w, "The run is no longer in the list.", http.StatusNotFound)
		return
	}
	writeJSON(w, run)
}

// serveReplay repeats a call of a run, and sends the run that it becomes.
func (d *Dev) serveReplay(w http.ResponseWriter, req *http.Request) {
	run, ok := d.run(req)
	number, err := strconv.Atoi(req.PathValue("call"))
	if !ok || err != nil || number < 0 || number >= len(run.Calls) {
		http.Error(w, "The call is no longer in the list.", http.StatusNotFound)
		return
	}
	made := run.Calls[number].made
	if made.Func == "" {
		http.Error(w, "This call can't be repeated: reload its page instead.", http.StatusConflict)
		return
	}
	began := time.Now()
	caller := protocol.Caller{Account: d.runner.Account, Role: protocol.RoleAccount, Door: "page"}
	made.Args = protocol.Args{Named: maps.Clone(made.Args.Named), Positional: slices.Clone(made.Args.Positional)}
	result := d.runner.Doer.Do(req.Context(), caller, made)
	took := time.Since(began)
	seen := PageRun{
		Time: began, Method: replayed, Path: run.Path, Status: http.StatusOK, Took: took, Errors: []PageError{},
		Calls: []Call{seenCall(run.Calls[number].made, result, took)},
	}
	seen.ID = d.keep(seen)
	writeJSON(w, seen)
}

// serveClear empties the list of runs.
func (d *Dev) serveClear(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	d.runs = nil
	d.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
