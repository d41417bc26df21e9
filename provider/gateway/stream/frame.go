package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Code says what a frame is. Do not renumber.
type Code byte

// Codes of frames.
const (
	Stdout  Code = 100
	Stderr  Code = 101
	Result  Code = 102
	Failure Code = 103
	Stdin   Code = 104
	Resize  Code = 105
	EOF     Code = 106
	Records Code = 107

	codeHello Code = 120
	codeAck   Code = 121
	codeBye   Code = 122
)

// Bounds of a stream, in bytes of payload.
const (
	// MaxPayload bounds one frame.
	MaxPayload = 32 << 10
	// Window bounds what is sent and not acknowledged.
	Window = 256 << 10
	// ackAfter is how much is worked through before it is acknowledged.
	ackAfter = Window / 4
	// frameOverhead counts for each frame beside its payload, so that empty ones
	// are bounded as well.
	frameOverhead = 64
)

// Subprotocol is the WebSocket subprotocol of this version.
const Subprotocol = "moorage.stream.v1"

// Errors of streams.
var (
	// ErrProtocol means that the peer broke the rules above.
	ErrProtocol = errors.New("stream: protocol error")
	// ErrEnded means that nothing more can be sent.
	ErrEnded = errors.New("stream: ended")
	// ErrLeft means that the client has ended the stream by [Stream.Leave].
	ErrLeft = errors.New("stream: the client has left")
	// ErrTakenOver means that another connection goes on with the stream.
	ErrTakenOver = errors.New("stream: taken over by another connection")
)

// Frame is one data frame.
type Frame struct {
	Code    Code
	Payload []byte
}

// Final reports whether it is the last of its stream.
func (f Frame) Final() bool { return f.Code == Result || f.Code == Failure }

func (f Frame) size() int { return len(f.Payload) + frameOverhead }

// Hello is the server's first message on a connection.
type Hello struct {
	// Stream names the stream to whoever comes back to it. It is a secret.
	Stream string `json:"stream"`
	// Received is the number of data frames the server has received.
	Received uint64 `json:"received"`
	// GraceSeconds is how long the stream waits for a lost client.
	GraceSeconds int `json:"grace_seconds"`
}

// ResultBody is the payload of a [Result].
type ResultBody struct {
	// ExitCode is the command's; 0 for streams without a command.
	ExitCode int `json:"exit_code"`
}

// MarshalSize returns the payload of a [Resize] frame.
func MarshalSize(width, height uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, width), height)
}

// UnmarshalSize reads the payload of a [Resize] frame. The error wraps
// [ErrProtocol].
func UnmarshalSize(p []byte) (width, height uint16, err error) {
	if len(p) != 4 {
		return 0, 0, fmt.Errorf("%w: resize of %d bytes", ErrProtocol, len(p))
	}
	return binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:]), nil
}

func marshalAck(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(codeAck)}, n)
}

func unmarshalAck(p []byte) (uint64, error) {
	if len(p) != 8 {
		return 0, fmt.Errorf("%w: ack of %d bytes", ErrProtocol, len(p))
	}
	return binary.BigEndian.Uint64(p), nil
}
