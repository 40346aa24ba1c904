package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// PluginOptions are the options that identify a plugin. A reload compares them to detect that a plugin has
// changed.
type PluginOptions struct {
	Path     string         // Path of the plugin's binary.
	Args     []string       // Arguments of the program; absolute paths: see Trusted.
	SHA256   []byte         // Required checksum of the binary; nil skips the check.
	Settings map[string]any // Sent to the plugin with Describe.
	Serves   []string       // The plugin's modules; nil if unknown before the start.
	Source   string         // The file that the author edits; "" means Path.
	Stamp    string         // Changes with the files that the plugin loads, besides the binary and the arguments.
}

// Options are the options of a Supervisor: the plugin and the shared parts of the host that it uses.
type Options struct {
	PluginOptions
	Trusted bool // Server mode: reject files that others than root can write.
	RunDir  *isolate.RunDir
	Spawner *isolate.Spawner
	TLS     bool          // Server mode: mutual TLS between host and worker.
	Idle    time.Duration // Stop a worker after this time without calls; 0: never.
	Log     *slog.Logger
	// Credential returns the uid and gid of an account's worker. A nil function means that workers run as the
	// host's own user.
	Credential func(protocol.Account) (*syscall.Credential, error)
	// Helper is the user of the plugin's helper. The helper describes the plugin, and only it gets the
	// secrets in calls and settings. Nil means that the plugin has no helper and its workers do everything.
	Helper  *protocol.Account
	Pool    *Pool              // Limits the number of workers of all plugins; nil: no limit.
	Start   time.Duration      // Maximum time of a start; 0: protocol.WorkerStartTimeout.
	Cgroups *isolate.Cgroups   // Creates a control group for each worker; nil: no groups.
	Memory  int64              // Maximum memory in bytes; 0 (only without Cgroups): no limit.
	Answers *admission.Answers // Limits the memory of large answers; nil means no limit.
}

// Supervisor runs a plugin: a worker process for each account that calls the plugin, and the helper if the
// plugin has one. It is safe for concurrent use. The caller must call Close at the end.
type Supervisor struct {
	o   Options
	log *slog.Logger

	hard   *admission.FairSemaphore // For parts of calls that hash secrets on the processor.
	shared *admission.FairSemaphore // For parts of calls that mostly wait for a database.
	mail   *admission.FairSemaphore // For parts of calls from the mail server.

	mu      sync.Mutex
	workers map[identity]*accountWorker
	helper  *accountWorker // Nil if the plugin has no helper.
	closed  bool

	restarts, hangs, memoryKills atomic.Uint64
}

var (
	// sharedWork limits the helper's work that mostly waits for a database.
	sharedWork = admission.FairOptions{Slots: 32, Each: 4, Account: 32, Queue: 512}
	// mailWork limits the helper's work for the mail server, which must not wait behind work of the other two
	// kinds.
	mailWork = admission.FairOptions{Slots: 32, Each: 4, Account: 16, Queue: 512}
)

// hardWork returns the limits for the helper's work that hashes secrets. All such work together may use half
// of the processors.
func hardWork() admission.FairOptions {
	return admission.FairOptions{Slots: max(1, runtime.NumCPU()/2), Each: 1, Account: 16, Queue: 64}
}

// identity identifies the account of a worker. If an account is removed and later created again with the same
// name and another uid or gid, it is a different account and gets a different worker.
type identity struct {
	name     string
	uid, gid int
}

var _ host.Plugin = (*Supervisor)(nil)

// New returns a Supervisor. No worker is started before the first call.
func New(o Options) *Supervisor {
	log := o.Log.With("plugin", filepath.Base(o.Path))
	if o.Start <= 0 {
		o.Start = protocol.WorkerStartTimeout
	}
	s := &Supervisor{o: o, log: log,
		hard: admission.NewFairSemaphore(hardWork()), shared: admission.NewFairSemaphore(sharedWork), mail: admission.NewFairSemaphore(mailWork),
		workers: make(map[identity]*accountWorker),
	}
	if o.Helper != nil {
		s.helper = &accountWorker{s: s, account: *o.Helper, helper: true}
	}
	return s
}

// Modules implements host.Plugin. It returns the modules that the helper described or, if the plugin has no
// helper, the modules that the account's worker described. If there is no description yet, it starts the
// helper or the worker.
func (s *Supervisor) Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error) {
	aw, err := s.workerOf(account)
	if err != nil {
		return nil, err
	}
	if s.helper != nil {
		// The account's worker runs with the tenant's uid, so the tenant could manipulate its description of
		// the modules. Therefore the helper describes them.
		aw = s.helper
	}
	if modules := aw.described(); modules != nil {
		return modules, nil
	}
	w, err := aw.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer aw.release()
	return w.modules, nil
}

// Serves implements host.StaticModules, so that the host does not start this plugin when a module of another
// plugin is called.
func (s *Supervisor) Serves() []string { return s.o.Serves }

// maxTries is the maximum number of workers to which a call is sent, if each of them ends before the call
// reaches it.
const maxTries = 3

// errNotSent is returned if a call did not reach the worker, because the worker had just ended. The call can
// safely be sent to another worker.
var errNotSent = fmt.Errorf("%w: the worker ended before the call reached it", host.ErrNotRun)

// ask sends the encoded request, which is the parameter ask, to the worker of aw and returns the encoded
// answer. The error wraps host.ErrNotRun if the call was certainly not run.
func (s *Supervisor) ask(ctx context.Context, aw *accountWorker, ask []byte) (*pluginpb.Payload, error) {
	w, err := aw.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer aw.release()
	ctx, sent := withSent(ctx)
	answer, err := w.rpc.Call(ctx, &pluginpb.Payload{Msgpack: ask})
	switch {
	case err == nil:
		return answer, nil
	case status.Code(err) == codes.Aborted:
		// The worker reports that it did not run the call and is about to exit. leave prevents further calls
		// to this worker.
		w.leave()
		return nil, fmt.Errorf("%w: %w", errNotSent, clipped(err))
	case sent.Load():
		return nil, s.callError(ctx, aw, w, err)
	case ctx.Err() != nil || status.Code(err) != codes.Unavailable && status.Code(err) != codes.Canceled:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			go aw.checkHealth(w)
		}
		return nil, fmt.Errorf("%w: %w", host.ErrNotRun, clipped(err))
	}
	// The connection broke, or the host is closing it because the worker ended. The call was not sent, so run
	// sends it to another worker.
	_ = w.process.Process.Kill()
	return nil, fmt.Errorf("%w: %w", errNotSent, clipped(err))
}

// clipped shortens an error if its text, which may come from a worker, is too long.
func clipped(err error) error {
	text := err.Error()
	if len(text) <= protocol.MaxText {
		return err
	}
	return errors.New(protocol.Clip(text, protocol.MaxText))
}

// decode waits until there is room for a worker's answer, and then decodes it.
func (s *Supervisor) decode(ctx context.Context, account string, answer *pluginpb.Payload) (*protocol.Result, error) {
	doc := answer.GetMsgpack()
	values, err := payload.Count(doc, protocol.MaxResultNodes)
	if err == nil {
		if err = s.o.Answers.Take(ctx, account, int64(len(doc)), int64(values)); err != nil {
			err = fmt.Errorf("%w: %w", host.ErrNoRoom, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", host.ErrOutcomeUnknown, err)
	}
	result, err := payload.DecodeResult(answer.GetMsgpack())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", host.ErrOutcomeUnknown, err)
	}
	return result, nil
}

// callError returns the error for a call that was sent but got no answer. The outcome of such a call is
// unknown.
func (s *Supervisor) callError(ctx context.Context, aw *accountWorker, w *worker, err error) error {
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Canceled:
		if ctx.Err() != nil {
			go aw.checkHealth(w)
		}
	case codes.Unavailable:
		// The connection broke. The error contains the worker's process id, by which the log can be searched.
		err = s.because(w, fmt.Errorf("worker %d is gone: %w", w.process.PID(), err), lastOutput)
	case codes.Internal, codes.Unknown:
		// The plugin's own error, such as the end of a script.
		err = s.because(w, err, lastOutput)
	}
	if status.Code(err) == codes.DeadlineExceeded {
		// The worker's clock may be slightly ahead of the host's, so the worker may report the end of the
		// deadline before ctx ends.
		return fmt.Errorf("%w: %w: %w", host.ErrOutcomeUnknown, context.DeadlineExceeded, clipped(err))
	}
	return fmt.Errorf("%w: %w", host.ErrOutcomeUnknown, clipped(err))
}

func (s *Supervisor) workerOf(account protocol.Account) (*accountWorker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%w: the host is shutting down", host.ErrNotRun)
	}
	id := identity{account.Name, account.UID, account.GID}
	aw := s.workers[id]
	if aw == nil {
		aw = &accountWorker{s: s, account: account}
		s.workers[id] = aw
	}
	return aw, nil
}

// Close stops all workers and waits until they have ended. Calls in flight fail, and no new worker is
// started.
func (s *Supervisor) Close() {
	s.mu.Lock()
	s.closed = true
	workers := s.workers
	s.workers = nil
	s.mu.Unlock()
	var all sync.WaitGroup
	if s.helper != nil {
		all.Go(s.helper.close)
	}
	for _, aw := range workers {
		all.Go(aw.close)
	}
	all.Wait()
}

// errStarting returns the error for a worker that could not be started. It wraps host.ErrNotRun, because the
// call was not run.
func errStarting(err error) error {
	if errors.Is(err, host.ErrNotRun) {
		return err
	}
	return fmt.Errorf("%w: %w", host.ErrNotRun, err)
}

// EndAccount stops the workers of an account that was removed, or that now belongs to another user, and waits
// until they have ended. Calls in flight fail.
func (s *Supervisor) EndAccount(name string) {
	s.mu.Lock()
	var ended []*accountWorker
	for id, aw := range s.workers {
		if id.name == name {
			ended = append(ended, aw)
			delete(s.workers, id)
		}
	}
	s.mu.Unlock()
	for _, aw := range ended {
		aw.close()
	}
}

// Source returns the path of the file that the author of the plugin edits: a script, or the plugin's binary.
func (s *Supervisor) Source() string {
	if s.o.Source != "" {
		return s.o.Source
	}
	return s.o.Path
}

// Status is the state of a Supervisor and its workers.
type Status struct {
	Plugin                       string
	Workers                      []WorkerStatus
	Restarts, Hangs, MemoryKills uint64 // Workers that crashed, hung, or used too much memory.
}

// WorkerStatus is the state of an account's worker, or of the helper.
type WorkerStatus struct {
	Account string // "" means the helper.
	PID     int
	Memory  int64 // Resident memory in bytes.
	Calls   int   // Number of calls in flight.
	Started time.Time
	Crashes int       // Number of crashes in a row.
	RetryAt time.Time // Earliest time of the next start after a crash.
}

// Status returns the state of all workers that run or have crashed, sorted by account.
func (s *Supervisor) Status() Status {
	out := Status{Plugin: filepath.Base(s.o.Path), Restarts: s.restarts.Load(), Hangs: s.hangs.Load(), MemoryKills: s.memoryKills.Load()}
	s.mu.Lock()
	workers := make([]*accountWorker, 0, len(s.workers)+1)
	for _, aw := range s.workers {
		workers = append(workers, aw)
	}
	s.mu.Unlock()
	if s.helper != nil {
		workers = append(workers, s.helper)
	}
	for _, aw := range workers {
		if st, ok := aw.status(); ok {
			out.Workers = append(out.Workers, st)
		}
	}
	slices.SortFunc(out.Workers, func(a, b WorkerStatus) int { return strings.Compare(a.Account, b.Account) })
	return out
}
