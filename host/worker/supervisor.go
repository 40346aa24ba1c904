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

// PluginOptions are the options of a plugin. Two plugins with the same options are the same plugin.
type PluginOptions struct {
	Path     string         // The plugin's binary.
	Args     []string       // The arguments after the path; files among them are checked like the binary.
	SHA256   []byte         // The checksum that the binary must have; nil skips the check.
	Settings map[string]any // Sent to the plugin in Describe.
	Serves   []string       // The modules that it serves, if that is known before its start.
}

// Options are the parts of a supervisor.
type Options struct {
	PluginOptions
	Trusted bool // Only root may have written the binary. Server mode.
	RunDir  *isolate.RunDir
	Spawner *isolate.Spawner
	TLS     bool          // Mutual TLS between host and worker. Server mode.
	Idle    time.Duration // A worker without calls for this time is stopped; 0 means never.
	Log     *slog.Logger
	// Credential returns the user of an account's worker; nil means the host's own user.
	Credential func(protocol.Account) (*syscall.Credential, error)
	// Helper is the user of the plugin's helper, which describes the plugin and gets the secrets of calls and
	// settings. Nil means that there is no helper: the workers do everything.
	Helper  *protocol.Account
	Pool    *Pool              // Limits the workers of all plugins; nil means no limit.
	Start   time.Duration      // Limits the start of a worker; 0 means protocol.WorkerStartTimeout.
	Cgroups *isolate.Cgroups   // Creates a control group for each worker; may be nil.
	Memory  int64              // Bytes that a worker may hold; 0 means no limit.
	Answers *admission.Answers // Limits large answers; nil means no limit.
}

// Supervisor runs a plugin: a worker for each account that calls it.
type Supervisor struct {
	o   Options
	log *slog.Logger

	hard   *admission.FairSemaphore // For the helper's work on secrets, which needs processor time.
	shared *admission.FairSemaphore // For the helper's work that waits, mostly for a database.
	mail   *admission.FairSemaphore // For the helper's work for the mail server.

	mu      sync.Mutex
	workers map[identity]*accountWorker
	helper  *accountWorker // Nil if there is no helper.
	closed  bool

	restarts, hangs, memoryKills atomic.Uint64
}

var (
	// sharedWork mostly waits for a database.
	sharedWork = admission.FairOptions{Slots: 32, Each: 4, Account: 32, Queue: 512}
	// mailWork is done for the mail server. It must not wait behind the other two.
	mailWork = admission.FairOptions{Slots: 32, Each: 4, Account: 16, Queue: 512}
)

// hardWork is hashing, which may use half of the processors.
func hardWork() admission.FairOptions {
	return admission.FairOptions{Slots: max(1, runtime.NumCPU()/2), Each: 1, Account: 16, Queue: 64}
}

// identity is the account of a worker. If an account is created again with its old name and another uid, it
// is another account.
type identity struct {
	name     string
	uid, gid int
}

var _ host.Plugin = (*Supervisor)(nil)

// New returns a supervisor. It starts no worker before the first call.
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

// Modules implements host.Plugin. It returns the description of the helper, or of the account's worker if
// there is no helper.
func (s *Supervisor) Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error) {
	aw, err := s.workerOf(account)
	if err != nil {
		return nil, err
	}
	if s.helper != nil {
		// A tenant can change what a worker with its uid says, so the helper is asked.
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

// Serves implements host.StaticModules, so that a plugin is not started when another plugin's module is
// called.
func (s *Supervisor) Serves() []string { return s.o.Serves }

// maxTries is how many workers get a call if each of them dies before the call reaches it.
const maxTries = 3

// errNotSent means that a call did not leave the host, because its worker had just died.
var errNotSent = fmt.Errorf("%w: the worker ended before the call reached it", host.ErrNotRun)

// ask sends a call to an account's worker.
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
		// The worker says that it did not run the call and is about to exit.
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
	// The connection broke, or the host is closing it because the worker ended. Another worker takes the
	// call.
	_ = w.process.Process.Kill()
	return nil, fmt.Errorf("%w: %w", errNotSent, clipped(err))
}

// clipped shortens an error that may contain a worker's text.
func clipped(err error) error {
	text := err.Error()
	if len(text) <= protocol.MaxText {
		return err
	}
	return errors.New(protocol.Clip(text, protocol.MaxText))
}

// decode decodes a worker's answer when there is room for it.
func (s *Supervisor) decode(ctx context.Context, account string, answer *pluginpb.Payload) (*protocol.Result, error) {
	doc := answer.GetMsgpack()
	values, err := payload.Count(doc, protocol.MaxResultNodes)
	if err == nil {
		err = s.o.Answers.Take(ctx, account, int64(len(doc)), int64(values))
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

// callError returns the error for a call without an answer.
func (s *Supervisor) callError(ctx context.Context, aw *accountWorker, w *worker, err error) error {
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Canceled:
		if ctx.Err() != nil {
			go aw.checkHealth(w)
		}
	case codes.Unavailable:
		// The connection broke. If the process has ended, name it as the log does.
		err = fmt.Errorf("worker %d is gone: %w", w.process.PID(), err)
	}
	if status.Code(err) == codes.DeadlineExceeded {
		// The worker's clock may be slightly ahead of the host's.
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

// Close stops all workers. Calls in flight fail.
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

// errStarting returns the error for a worker that could not start. Nothing was run.
func errStarting(err error) error {
	if errors.Is(err, host.ErrNotRun) {
		return err
	}
	return fmt.Errorf("%w: %w", host.ErrNotRun, err)
}

// EndAccount stops the workers of an account that was removed or belongs to another user now. Calls in flight
// fail.
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

// Path returns the plugin's program.
func (s *Supervisor) Path() string { return s.o.Path }

// Status is the state of a supervisor.
type Status struct {
	Plugin                       string
	Workers                      []WorkerStatus
	Restarts, Hangs, MemoryKills uint64 // Workers that ended by themselves, hung, or were killed because of their memory.
}

// WorkerStatus is the state of a worker.
type WorkerStatus struct {
	Account string // "" means the helper.
	PID     int
	Memory  int64 // Bytes.
	Calls   int   // In flight.
	Started time.Time
	Crashes int       // In a row.
	RetryAt time.Time // When it may start again after crashes.
}

// Status returns the state of the workers.
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
