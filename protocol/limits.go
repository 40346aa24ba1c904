package protocol

import "time"

// The limits of the protocol and of the boundaries. The configuration can change those of sessions and times.
const (
	// MaxFrame limits a frame's payload, in bytes.
	MaxFrame = 1 << 20
	// MaxTag limits a deprecated tag, in bytes.
	MaxTag = 16 << 10
	// MaxLengthDigits limits the length line, in digits.
	MaxLengthDigits = 10
	// MaxDepth limits the nesting of JSON and MessagePack.
	MaxDepth = 32
	// MaxNodes limits the values of a MessagePack document.
	MaxNodes = 200_000
	// MaxResultNodes limits the values of a worker's result: a list of 100,000 records with twenty fields,
	// whose names are sent once.
	MaxResultNodes = 2_500_000
	// MaxAnswerNodes limits the values of an answer in a MessagePack session, in which each record repeats
	// the names of its fields.
	MaxAnswerNodes = 2 * MaxResultNodes
	// MaxFrameNodes limits the values and keys of a frame's JSON: each byte can need fifty bytes of memory
	// while the call runs.
	MaxFrameNodes = 20_000
	// MaxAnswer limits the JSON of an answer, in bytes.
	MaxAnswer = 64 << 20
	// MaxDescription limits a plugin's description, in bytes.
	MaxDescription = 1 << 20
	// MaxText limits a worker's text that is shown or logged, in bytes.
	MaxText = 2 << 10
	// MaxWorkerMessage limits a message to or from a worker, in bytes.
	MaxWorkerMessage = 16 << 20
	// MaxSocketPath is the longest path of a UNIX socket on Linux, in bytes.
	MaxSocketPath = 107
	// MaxSessions and MaxAccountSessions limit the sessions at once.
	MaxSessions        = 4096
	MaxAccountSessions = 256

	// FrameTimeout limits the time from a frame's first byte to its last.
	FrameTimeout = 30 * time.Second
	// IdleTimeout limits the time between frames.
	IdleTimeout = time.Hour
	// CallTimeout limits a call.
	CallTimeout = 60 * time.Second
	// WorkerStartTimeout limits a worker's start, and WorkerKillTimeout its end.
	WorkerStartTimeout = 5 * time.Second
	WorkerKillTimeout  = 2 * time.Second
)
