package script

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/strictjson"
)

// bytesKey is the only key of a JSON object that represents a string that is not valid UTF-8: {"$base64":
// "..."}. JSON can't contain such a string directly.
const bytesKey = "$base64"

// errNotTaken means that the document was not completely sent to the script. The script can't have executed
// the call, so the host may send the call to another worker.
var errNotTaken = errors.New("the script did not read a call")

// process is a running script with the pipes to its standard input and output. It must not be used
// concurrently.
type process struct {
	cmd *exec.Cmd
	in  *os.File
	out *os.File
	buf *bufio.Reader

	source string        // The script's path.
	gone   chan struct{} // Closed when the script has ended.
	how    error         // How it ended; set before gone is closed.
}

// startProcess starts the script. The script stays in the worker's process group, so that the host kills it
// together with the worker.
func startProcess(set settings, stderr *os.File) (*process, error) {
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		_ = stdin.Close()
		_ = in.Close()
		return nil, err
	}
	cmd := exec.Command(set.command[0], set.command[1:]...)
	cmd.Dir, cmd.Env = set.dir, environ(set.env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	// A script that loops does not notice that its standard input has ended, so the kernel ends it with the worker.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = startOnOwnThread(cmd)
	_ = stdin.Close()
	_ = stdout.Close()
	if err != nil {
		_ = in.Close()
		_ = out.Close()
		return nil, startError(set, err)
	}
	return &process{cmd: cmd, in: in, out: out, buf: bufio.NewReader(out), source: set.source, gone: make(chan struct{})}, nil
}

// startOnOwnThread starts cmd on a thread that lives as long as this process: the kernel sends Pdeathsig when the thread
// ends that started the process.
func startOnOwnThread(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	return <-started
}

// startError returns the error for a script that can't be started, with a hint at the usual reason.
func startError(set settings, err error) error {
	program := set.command[0]
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s can't be started: %w: make it executable (chmod +x %s), or name its interpreter in command of module.toml", set.source, err, program)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s can't be started: the program %s is not installed", set.source, program)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s can't be started: %w: the file, or the interpreter in its first line (#!), does not exist", set.source, err)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s can't be started: %w: its first line must name its interpreter, such as #!/usr/bin/perl", set.source, err)
	}
	return fmt.Errorf("%s can't be started: %w", set.source, err)
}

// lastStatus is the maximum time to wait for the exit status of a script that has closed its standard output.
const lastStatus = 500 * time.Millisecond

// ended reports how the script ended, if it has ended or ends soon.
func (p *process) ended() (how error, ended bool) {
	select {
	case <-p.gone:
		return p.how, true
	case <-time.After(lastStatus):
		return nil, false
	}
}

// whileLoading explains err, the error of the first answer.
func (p *process) whileLoading(err error) error {
	if !errors.Is(err, errClosed) && !errors.Is(err, errNotTaken) {
		return fmt.Errorf("%s: %w", p.source, err)
	}
	how, ended := p.ended()
	switch {
	case !ended:
		return fmt.Errorf("%s: %w", p.source, err)
	case how == nil:
		return fmt.Errorf("%s ended without answering: does it call serve?", p.source)
	}
	return fmt.Errorf("%s ended before it described its module: %w", p.source, how)
}

// during explains err, the error of a call of the given function.
func (p *process) during(err error, function string) error {
	if errors.Is(err, errClosed) {
		if how, ended := p.ended(); ended {
			return fmt.Errorf("%s ended while it ran %s: %w", p.source, function, orSuccess(how))
		}
	}
	return fmt.Errorf("%s: the function %s: %w", p.source, function, err)
}

func orSuccess(how error) error {
	if how == nil {
		return errors.New("exit status 0: a function must return, and not call exit")
	}
	return how
}

// wait waits until the script has ended and returns an error that describes how it ended.
func (p *process) wait() error {
	p.how = p.cmd.Wait()
	close(p.gone)
	if p.how != nil {
		return p.how
	}
	return errors.New("exit status 0")
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

// errUnfit means that ask read a complete answer, but its content is not valid. The script can still be used,
// because the next answer begins directly after this answer.
var errUnfit = errors.New("the script's answer")

// ask sends a document to the script and returns the script's answer. limit is the maximum time for sending
// and receiving together; 0 means no limit.
func (p *process) ask(limit time.Duration, document any) (any, error) {
	if p.buf.Buffered() > 0 {
		return nil, fmt.Errorf("%w: the script wrote more than one answer to the previous call", errNotTaken)
	}
	deadline := time.Time{}
	if limit > 0 {
		deadline = time.Now().Add(limit)
	}
	if err := errors.Join(p.in.SetWriteDeadline(deadline), p.out.SetReadDeadline(deadline)); err != nil {
		return nil, err
	}
	raw, err := encode(document)
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotTaken, late(err))
	}
	answer, err := readFrame(p.buf)
	if errors.Is(err, errUnfit) {
		return nil, err
	}
	if err != nil {
		return nil, late(err)
	}
	return answer, nil
}

// late replaces the error of an exceeded deadline with an error for operators. It returns
// other errors unchanged.
func late(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the time limit was exceeded")
	}
	return err
}

// encode returns a document as a frame: the length of the JSON in bytes, a line feed, and the JSON.
func encode(document any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(marked(document)); err != nil {
		return nil, fmt.Errorf("encode the call: %w", err)
	}
	return append([]byte(strconv.Itoa(raw.Len())+"\n"), raw.Bytes()...), nil
}

// marked returns a copy of value in which each string that is not valid UTF-8 is replaced by {"$base64":
// "..."}.
func marked(value any) any {
	switch v := value.(type) {
	case string:
		if !utf8.ValidString(v) {
			return map[string]any{bytesKey: base64.StdEncoding.EncodeToString([]byte(v))}
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = marked(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = marked(v[key])
		}
		return out
	}
	return value
}

// readFrame reads an answer of the script: its length, a line feed, and the JSON.
func readFrame(r *bufio.Reader) (any, error) {
	size := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		if err != nil {
			return nil, closedOr(err)
		}
		if c == '\n' && digits > 0 {
			break
		}
		if c < '0' || c > '9' || digits == protocol.MaxLengthDigits {
			return nil, fmt.Errorf("the answer does not begin with its length, but with %q: standard output is for answers only, so print other text to standard error", printed(r))
		}
		size = size*10 + int(c-'0')
	}
	if size > protocol.MaxWorkerMessage {
		return nil, fmt.Errorf("the answer has %d bytes, but at most %d are accepted", size, protocol.MaxWorkerMessage)
	}
	// The buffer grows only as data arrives. So an answer that announces a large length but contains little
	// data does not use much memory.
	var raw bytes.Buffer
	if _, err := io.CopyN(&raw, r, int64(size)); err != nil {
		return nil, closedOr(err)
	}
	value, err := strictjson.DecodeNodes(raw.Bytes(), protocol.MaxNodes)
	if err == nil {
		value, err = plain(value)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnfit, err)
	}
	return value, nil
}

// printed returns the beginning of text that is not an answer: the byte that was read last, and what follows.
func printed(r *bufio.Reader) string {
	_ = r.UnreadByte()
	text, _ := r.Peek(min(max(r.Buffered(), 1), 60))
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// errClosed means that the script has closed its standard output, or has ended.
var errClosed = errors.New("it closed its standard output")

func closedOr(err error) error {
	if errors.Is(err, io.EOF) {
		return errClosed
	}
	return err
}

// plain converts decoded JSON into the types of a result: it converts numbers, and decodes {"$base64":
// "..."}.
func plain(value any) (any, error) {
	switch v := value.(type) {
	case protocol.Number:
		return number(string(v))
	case []any:
		for i := range v {
			var err error
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if text, ok := v[bytesKey].(string); ok && len(v) == 1 {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, fmt.Errorf("the value of %s is not valid base64", bytesKey)
			}
			return string(raw), nil
		}
		for key := range v {
			var err error
			if v[key], err = plain(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

func number(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("the number %.40s is too large", text)
	}
	return f, nil
}
