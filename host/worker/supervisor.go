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

// PluginOptions are the options of one plugin. Two plugins with the same options are the same plugin.
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
	Trusted bool // Nobody but root may have written the binary. Server mode.
	RunDir  *isolate.RunDir
	Spawner *isolate.Spawner
	TLS     bool          // Mutual TLS between host and worker. Server mode.
	Idle    time.Duration // A worker without calls for so long is stopped; 0 never.
	Log     *slog.Logger
	// Credential gives a worker its identity; nil runs it as the host's own user.
	Credential func(protocol.Account) (*syscall.Credential, error)
	// Helper is as whom the plugin runs beside its workers of accounts: it describes the plugin,
	// and gets the secrets of calls and settings. Nil has none: then workers do it all.
	Helper  *protocol.Account
	Pool    *Pool              // Bounds the workers of all plugins; nil sets no bound.
	Start   time.Duration      // Bounds a worker's start; 0 means protocol.WorkerStartTimeout.
	Cgroups *isolate.Cgroups   // Bounds each worker; nil has none.
	Memory  int64              // Bytes that a worker may hold; 0 sets no bound.
	Answers *admission.Answers // Bounds large answers; nil sets no bound.
}

// Supervisor runs one plugin: a worker for each account that calls it.
type Supervisor struct {
	o   Options
	log *slog.Logger

	hard   *admission.FairSemaphore // Before the helper's work on secrets, which takes processor time,
	shared *admission.FairSemaphore // before its work that waits for others,
	mail   *admission.FairSemaphore // and before what it does for the mail server.

	mu      sync.Mutex
	workers map[identity]*accountWorker
	helper  *accountWorker // Nil where there is no helper.
	closed  bool

	restarts, hangs, memoryKills atomic.Uint64
}

var (
	// sharedWork mostly waits for a database.
	sharedWork = admission.FairOptions{Slots: 32, Each: 4, Account: 32, Queue: 512}
	// mailWork is what the mail server asks, which must not wait behind either.
	mailWork = admission.FairOptions{Slots: 32, Each: 4, Account: 16, Queue: 512}
)

// hardWork is hashing, which may take half of the processors.
func hardWork() admission.FairOptions {
	return admission.FairOptions{Slots: max(1, runtime.NumCPU()/2), Each: 1, Account: 16, Queue: 64}
}

// identity is whom a worker works for. An account that was made anew, with its old name
// and another uid, is another one.
type identity struct {
	name     string
	uid, gid int
}

var _ host.Plugin = (*Supervisor)(nil)

// New returns a supervisor. It starts nothing before the first call.
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

// Modules implements host.Plugin with the last word of the helper or, where there is none, of
// the account's own worker.
func (s *Supervisor) Modules(ctx context.Context, account protocol.Account) ([]protocol.Module, error) {
	aw, err := s.workerOf(account)
	if err != nil {
		return nil, err
	}
	if s.helper != nil {
		// Of a worker with a tenant's uid the tenant may have made another.
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

// Serves implements host.StaticModules: a worker whose modules are known is not started to be
// asked for another.
func (s *Supervisor) Serves() []string { return s.o.Serves }

// maxTries is how many workers a call is offered to that die before it reaches them.
const maxTries = 3

// errNotSent is a call that did not leave the host: its worker had just died.
var errNotSent = fmt.Errorf("%w: the worker ended before the call reached it", host.ErrNotRun)

// ask hands one call to the accountWorker's worker.
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
		// It says that it did not run the call, and is about to end.
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
	// The connection broke, or the host is closing it because the worker ended. Another worker takes the call.
	_ = w.process.Process.Kill()
	return nil, fmt.Errorf("%w: %w", errNotSent, clipped(err))
}

// clipped bounds an error whose text a worker may have chosen.
func clipped(err error) error {
	text := err.Error()
	if len(text) <= protocol.MaxText {
		return err
	}
	return errors.New(protocol.Clip(text, protocol.MaxText))
}

// decode decodes a worker's answer when there is room for what it becomes.
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

// callError says what became of a call that brought no answer.
func (s *Supervisor) callError(ctx context.Context, aw *accountWorker, w *worker, err error) error {
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Canceled:
		if ctx.Err() != nil {
			go aw.checkHealth(w)
		}
	case codes.Unavailable:
		// The connection broke. Where the process has ended, say how the log knows it.
		err = fmt.Errorf("worker %d is gone: %w", w.process.PID(), err)
	}
	if status.Code(err) == codes.DeadlineExceeded {
		// The worker's clock may say so a moment before ours.
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

// Close ends all workers. Calls in flight get an error.
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

// errStarting says why a worker can't be had; nothing ran.
func errStarting(err error) error {
	if errors.Is(err, host.ErrNotRun) {
		return err
	}
	return fmt.Errorf("%w: %w", host.ErrNotRun, err)
}

// EndAccount ends the workers of an account that is no more, or is another one now. Calls in
// flight get an error.
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

// Path is the plugin's program.
func (s *Supervisor) Path() string { return s.o.Path }

// Status is what a supervisor can say of its workers.
type Status struct {
	Plugin                       string
	Workers                      []WorkerStatus
	Restarts, Hangs, MemoryKills uint64 // Of workers that ended by themselves, or had to.
}

// WorkerStatus is what there is to know of one worker.
type WorkerStatus struct {
	Account string // "" is the helper.
	PID     int
	Memory  int64 // Bytes.
	Calls   int   // In flight.
	Started time.Time
	Crashes int       // In a row.
	RetryAt time.Time // Where it rests after crashes.
}

// Status returns what there is to know of the workers.
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
