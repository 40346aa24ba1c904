package protocol

import "time"

// The limits of the protocol and of the boundaries, in one place. The configuration
// may lower or raise those that are about sessions and time.
const (
	// MaxFrame bounds one frame's payload, in bytes.
	MaxFrame = 1 << 20
	// MaxTag bounds one of the deprecated tags, in bytes.
	MaxTag = 16 << 10
	// MaxLengthDigits bounds the length line, in digits.
	MaxLengthDigits = 10
	// MaxDepth bounds the nesting of JSON and MessagePack.
	MaxDepth = 32
	// MaxNodes bounds the values of one MessagePack document.
	MaxNodes = 200_000
	// MaxResultNodes bounds the values of one result on its way from a worker: a list of
	// 100,000 records of twenty fields, whose names are sent once.
	MaxResultNodes = 2_500_000
	// MaxAnswerNodes bounds the values of one answer of a MessagePack session, where each record
	// has the names of its fields.
	MaxAnswerNodes = 2 * MaxResultNodes
	// MaxFrameNodes bounds the values and keys of one frame's JSON: a byte of it can cost
	// fifty bytes of memory, for as long as the call runs.
	MaxFrameNodes = 20_000
	// MaxAnswer bounds the JSON of one answer, in bytes.
	MaxAnswer = 64 << 20
	// MaxDescription bounds what a plugin says of itself, in bytes.
	MaxDescription = 1 << 20
	// MaxText bounds a text from a worker that is shown or logged, in bytes.
	MaxText = 2 << 10
	// MaxWorkerMessage bounds one message to or from a worker, in bytes.
	MaxWorkerMessage = 16 << 20
	// MaxSocketPath is the longest path of a UNIX socket on Linux, in bytes.
	MaxSocketPath = 107
	// MaxSessions and MaxAccountSessions bound the sessions at once.
	MaxSessions        = 4096
	MaxAccountSessions = 256

	// FrameTimeout bounds the time to finish a frame once its first byte came.
	FrameTimeout = 30 * time.Second
	// IdleTimeout bounds the time between frames.
	IdleTimeout = time.Hour
	// CallTimeout bounds one call.
	CallTimeout = 60 * time.Second
	// WorkerStartTimeout bounds a worker's start, and WorkerKillTimeout its end.
	WorkerStartTimeout = 5 * time.Second
	WorkerKillTimeout  = 2 * time.Second
)
