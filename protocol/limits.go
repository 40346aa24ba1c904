package protocol

import "time"

// Limits of the protocol and of the interfaces to clients and plugins. The configuration can change the
// limits of sessions and times; the others are fixed.
const (
	// MaxFrame is the maximum size of the payload of a frame, in bytes.
	MaxFrame = 1 << 20
	// MaxTag is the maximum size of a deprecated tag, in bytes.
	MaxTag = 16 << 10
	// MaxLengthDigits is the maximum number of digits in the length line of a frame.
	MaxLengthDigits = 10
	// MaxDepth is the maximum nesting depth of JSON and MessagePack documents.
	MaxDepth = 32
	// MaxNodes is the maximum number of values in a MessagePack document, unless another limit is given.
	MaxNodes = 200_000
	// MaxResultNodes is the maximum number of values in the result of a worker. It allows a list of 100,000
	// records with twenty fields each, because the names of the fields are sent only once for the whole list.
	MaxResultNodes = 2_500_000
	// MaxAnswerNodes is the maximum number of values in an answer of a MessagePack session. It is larger than
	// MaxResultNodes, because in such an answer each record repeats the names of its fields.
	MaxAnswerNodes = 2 * MaxResultNodes
	// MaxFrameNodes is the maximum number of keys and values in the JSON of a frame. Without it, a frame full
	// of tiny values could need about fifty bytes of memory for each byte of the frame while the call runs.
	MaxFrameNodes = 20_000
	// MaxAnswer is the maximum size of an answer, in bytes, in JSON and after conversion to XML.
	MaxAnswer = 64 << 20
	// MaxDescription is the maximum size, in bytes, of the description that a plugin returns of its modules.
	MaxDescription = 1 << 20
	// MaxText is the maximum size of a worker's text in messages and logs, in bytes. Longer texts are
	// truncated.
	MaxText = 2 << 10
	// MaxWorkerMessage is the maximum size of a message between the host and a worker, in either direction,
	// in bytes.
	MaxWorkerMessage = 16 << 20
	// MaxSocketPath is the maximum length of the path of a UNIX socket on Linux, in bytes.
	MaxSocketPath = 107
	// MaxSessions is the maximum number of concurrent sessions of the host, and MaxAccountSessions the
	// maximum for a single account.
	MaxSessions        = 4096
	MaxAccountSessions = 256

	// FrameTimeout is the maximum time from the first byte of a frame to its last byte.
	FrameTimeout = 30 * time.Second
	// IdleTimeout is the maximum time that a session may wait for the next frame.
	IdleTimeout = time.Hour
	// CallTimeout is the maximum time of a call.
	CallTimeout = 60 * time.Second
	// WorkerStartTimeout is the maximum time that a worker may take to start. WorkerKillTimeout is the
	// maximum time that the host waits for a worker to exit.
	WorkerStartTimeout = 5 * time.Second
	WorkerKillTimeout  = 2 * time.Second
)
