package stream

import (
	"bytes"
	"context"
	"fmt"
	"sync"
)

// Stream is one end of a stream. Send and Recv may be called concurrently with
// each other and with a running attachment; Send by any number of goroutines,
// Recv by one at a time. A Stream starts no goroutines of its own.
type Stream struct {
	role Role
	// sendMu makes senders wait in line for room in the window.
	sendMu sync.Mutex
	// slot holds a token while a connection is attached; takeover ends that one.
	slot     chan struct{}
	takeover chan struct{}
	// space, ready and wake hold a token when a sender, a receiver or the
	// connection's writer should look again.
	space, ready, wake chan struct{}
	done               chan struct{}
	delivered          chan struct{}

	mu  sync.Mutex
	out outbox
	in  inbox
	bye bool  // the client leaves
	err error // why the stream was aborted
}

// outbox is what was sent and not acknowledged.
type outbox struct {
	frames []Frame
	acked  uint64 // data frames acknowledged: frames[0] has number acked+1
	bytes  int
	final  bool // the last frame is in
}

func (o *outbox) sent() uint64 { return o.acked + uint64(len(o.frames)) }

// inbox is what was received and not worked through.
type inbox struct {
	frames   []Frame
	received uint64
	consumed uint64
	acked    uint64 // consumed as last told to the peer
	bytes    int
	unacked  int  // bytes consumed since then
	ackDue   bool // tell the peer again: it may not have heard
	final    bool
}

// Role says which end of a stream this is.
type Role uint8

// Roles.
const (
	// Server sends output and the end.
	Server Role = 1
	// Client sends input.
	Client Role = 2
)

// accepts reports whether this end may receive such a data frame.
func (r Role) accepts(c Code) bool {
	switch c {
	case Stdin, Resize, EOF:
		return r == Server
	case Stdout, Stderr, Result, Failure, Records:
		return r == Client
	default:
		return false
	}
}

// New returns one end of a stream, not attached to anything.
func New(role Role) *Stream {
	return &Stream{
		role: role,
		slot: make(chan struct{}, 1), takeover: make(chan struct{}),
		space: make(chan struct{}, 1), ready: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		done: make(chan struct{}), delivered: make(chan struct{}),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Send queues a data frame and waits while the window is full. The payload is
// copied. The error is the context's, the cause given to [Stream.Abort], or
// wraps [ErrEnded] after Finish.
func (s *Stream) Send(ctx context.Context, code Code, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes", ErrProtocol, len(payload))
	}
	f := Frame{code, bytes.Clone(payload)}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	for {
		ok, err := s.offer(f)
		if ok || err != nil {
			return err
		}
		select {
		case <-s.space:
		case <-s.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Stream) offer(f Frame) (ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return false, s.err
	case s.out.final:
		return false, ErrEnded
	case s.out.bytes+f.size() > Window:
		return false, nil
	}
	s.push(f)
	return true, nil
}

func (s *Stream) push(f Frame) {
	s.out.frames = append(s.out.frames, f)
	s.out.bytes += f.size()
	signal(s.wake)
}

// Finish queues the last frame, [Result] or [Failure]. It does not wait: there
// is always room for it. Later calls do nothing.
func (s *Stream) Finish(code Code, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.final || s.err != nil {
		return
	}
	s.out.final = true
	s.push(Frame{code, bytes.Clone(payload)})
	signal(s.space)
}

// Recv returns the next data frame. After the final one it returns [ErrEnded];
// after Abort its cause, once what was received before has been returned.
func (s *Stream) Recv(ctx context.Context) (Frame, error) {
	for {
		f, ok, err := s.take()
		if ok || err != nil {
			return f, err
		}
		select {
		case <-s.ready:
		case <-s.done:
		case <-ctx.Done():
			return Frame{}, context.Cause(ctx)
		}
	}
}

func (s *Stream) take() (Frame, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in.frames) == 0 {
		switch {
		case s.err != nil:
			return Frame{}, false, s.err
		case s.in.final:
			return Frame{}, false, ErrEnded
		}
		return Frame{}, false, nil
	}
	f := s.in.frames[0]
	s.in.frames[0] = Frame{}
	s.in.frames = s.in.frames[1:]
	s.in.bytes -= f.size()
	s.in.unacked += f.size()
	s.in.consumed++
	if s.in.unacked >= ackAfter || f.Final() {
		signal(s.wake)
	}
	return f, true, nil
}

// Abort ends the stream at once for the cause, which Send, Recv and Run return
// from now on. Only the first call counts.
func (s *Stream) Abort(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = cause
		close(s.done)
	}
}

// Leave tells the server that this client will not come back, if a connection is
// attached; its Run then returns [ErrLeft].
func (s *Stream) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bye = true
	signal(s.wake)
}

// Delivered is closed once the peer has acknowledged the final frame.
func (s *Stream) Delivered() <-chan struct{} { return s.delivered }

// Ended returns why the stream is over for this end: the cause given to Abort,
// [ErrEnded] when the final frame of the other end is worked through, nil while
// it goes on.
func (s *Stream) Ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.in.final && len(s.in.frames) == 0:
		return ErrEnded
	}
	return nil
}

// Received returns how many data frames have been received.
func (s *Stream) Received() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.received
}

// Complete reports whether everything came to its end: the final frame of this
// end is acknowledged, or the final frame of the other end is worked through and
// that was said.
func (s *Stream) Complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.complete()
}

func (s *Stream) complete() bool {
	if s.out.final && len(s.out.frames) == 0 {
		return true
	}
	return s.in.final && len(s.in.frames) == 0 && s.in.acked == s.in.consumed
}
