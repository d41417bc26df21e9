package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Times of a connection.
const (
	// PingInterval is how often a connection is tried.
	PingInterval = 10 * time.Second
	// PongTimeout is how long the answer may take; then the connection is lost.
	PongTimeout = 15 * time.Second
	// WriteTimeout is how long one message may take to be handed to the network;
	// then the connection is lost.
	WriteTimeout = 20 * time.Second
)

// Conn is a WebSocket connection, as of package websocket. Its read limit must
// be [ReadLimit].
type Conn interface {
	Read(ctx context.Context) (websocket.MessageType, []byte, error)
	Write(ctx context.Context, typ websocket.MessageType, p []byte) error
	Ping(ctx context.Context) error
}

// ReadLimit is the limit to set on a connection: a code and a payload.
const ReadLimit = MaxPayload + 1

// Attachment is the right to run a connection for a stream; one at a time has it.
type Attachment struct {
	s *Stream
	// Received is how many data frames the stream has received; it does not change
	// before Run.
	Received uint64
}

// Attach ends the connection that is attached, if any, and returns once the
// stream is free. Call Run or Release on the result. The error is the context's.
func (s *Stream) Attach(ctx context.Context) (*Attachment, error) {
	for {
		select {
		case s.slot <- struct{}{}:
			return &Attachment{s, s.Received()}, nil
		case s.takeover <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Release gives the right back without having used it.
func (a *Attachment) Release() { <-a.s.slot }

// Run serves the connection until the stream is complete, then it returns nil,
// or until the connection is lost, the context ends or the stream is aborted.
// peerReceived is what the peer said it has received. It does not close the
// connection, but when it returns with an error the connection is of no use any
// more. It starts three goroutines and waits for them.
func (a *Attachment) Run(ctx context.Context, conn Conn, peerReceived uint64) error {
	defer a.Release()
	s := a.s
	if err := s.resume(peerReceived); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(s.watch(ctx)) })
	wg.Go(func() { cancel(keepAlive(ctx, conn)) })
	wg.Go(func() { cancel(s.write(ctx, conn, peerReceived)) })
	err := s.read(ctx, conn)
	if s.Complete() {
		err = nil
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(err)
	wg.Wait()
	return err
}

// resume checks where the peer wants to go on. What was acknowledged on the
// connection before may not have arrived: say it again.
func (s *Stream) resume(peerReceived uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.ackDue = s.in.consumed > 0
	if peerReceived < s.out.acked || peerReceived > s.out.sent() {
		return fmt.Errorf("%w: resume at frame %d, have %d to %d", ErrProtocol, peerReceived, s.out.acked, s.out.sent())
	}
	return nil
}

// watch ends with the stream or when another connection wants it.
func (s *Stream) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.takeover:
		return ErrTakenOver
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	}
}

func keepAlive(ctx context.Context, conn Conn) error {
	tick := time.NewTicker(PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		pctx, cancel := context.WithTimeout(ctx, PongTimeout)
		err := conn.Ping(pctx)
		cancel()
		if err != nil {
			return fmt.Errorf("stream: ping: %w", err)
		}
	}
}

// write sends what is queued from the frame after number at on.
func (s *Stream) write(ctx context.Context, conn Conn, at uint64) error {
	for {
		var msg []byte
		var isAck, complete bool
		msg, at, isAck, complete = s.next(at)
		switch {
		case complete:
			return nil
		case msg == nil:
			select {
			case <-s.wake:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			continue
		}
		if err := writeMessage(ctx, conn, msg); err != nil {
			return err
		}
		if Code(msg[0]) == codeBye {
			return ErrLeft
		}
		if isAck && s.sentAck(msg) {
			return s.awaitClose(ctx)
		}
	}
}

// next returns the message to write after frame number at, nil for none, and the
// number to go on from.
func (s *Stream) next(at uint64) (msg []byte, to uint64, isAck, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.final && len(s.out.frames) == 0 {
		return nil, at, false, true
	}
	if s.bye {
		return []byte{byte(codeBye)}, at, false, false
	}
	if s.in.due() {
		s.in.unacked, s.in.ackDue = 0, false
		return marshalAck(s.in.consumed), at, true, false
	}
	at = max(at, s.out.acked)
	if i := at - s.out.acked; i < uint64(len(s.out.frames)) {
		f := s.out.frames[i]
		msg = append(append(make([]byte, 0, 1+len(f.Payload)), byte(f.Code)), f.Payload...)
		return msg, at + 1, false, false
	}
	return nil, at, false, false
}

// due reports whether the peer should hear how much is worked through.
func (in *inbox) due() bool {
	if in.ackDue || in.unacked >= ackAfter {
		return true
	}
	return in.final && len(in.frames) == 0 && in.acked < in.consumed
}

// sentAck notes that the peer was told, and reports whether that was the end.
func (s *Stream) sentAck(msg []byte) bool {
	n, _ := unmarshalAck(msg[1:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.acked = max(s.in.acked, n)
	return s.complete()
}

// closeWait is how long the side that has acknowledged the final frame waits
// for the other to close.
const closeWait = 2 * time.Second

func (s *Stream) awaitClose(ctx context.Context) error {
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

func writeMessage(ctx context.Context, conn Conn, msg []byte) error {
	ctx, cancel := context.WithTimeout(ctx, WriteTimeout)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageBinary, msg); err != nil {
		return fmt.Errorf("stream: write: %w", err)
	}
	return nil
}

func (s *Stream) read(ctx context.Context, conn Conn) error {
	for {
		typ, msg, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("stream: read: %w", err)
		}
		if typ != websocket.MessageBinary || len(msg) == 0 {
			return s.broken("want binary messages of at least one byte")
		}
		if err := s.accept(Code(msg[0]), msg[1:]); err != nil {
			return err
		}
		if s.outDone() {
			return nil
		}
	}
}

// outDone reports whether the peer has acknowledged the final frame.
func (s *Stream) outDone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.final && len(s.out.frames) == 0
}

// broken aborts the stream: a peer that breaks the rules is not spoken to again.
func (s *Stream) broken(format string, args ...any) error {
	err := fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
	s.Abort(err)
	return err
}

func (s *Stream) accept(code Code, payload []byte) error {
	switch {
	case code == codeAck:
		n, err := unmarshalAck(payload)
		if err != nil || !s.acknowledge(n) {
			return s.broken("bad ack")
		}
		return nil
	case code == codeBye && s.role == Server:
		s.Abort(ErrLeft)
		return ErrLeft
	case !s.role.accepts(code):
		return s.broken("code %d is not for this end", code)
	}
	if !s.receive(Frame{code, payload}) {
		return s.broken("more than the window, or data after the end")
	}
	return nil
}

func (s *Stream) acknowledge(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < s.out.acked || n > s.out.sent() {
		return n < s.out.acked // an old one does no harm
	}
	drop := s.out.frames[:n-s.out.acked]
	for i := range drop {
		s.out.bytes -= drop[i].size()
		drop[i] = Frame{}
	}
	s.out.frames = s.out.frames[len(drop):]
	s.out.acked = n
	if s.out.final && len(s.out.frames) == 0 && len(drop) > 0 {
		close(s.delivered)
	}
	signal(s.space)
	signal(s.wake)
	return true
}

func (s *Stream) receive(f Frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The final frame may come on top of a full window.
	if s.in.final || s.in.bytes+f.size() > Window+MaxPayload+frameOverhead {
		return false
	}
	s.in.frames = append(s.in.frames, f)
	s.in.bytes += f.size()
	s.in.received++
	s.in.final = f.Final()
	signal(s.ready)
	return true
}

// WriteHello sends the server's first message on a connection.
func WriteHello(ctx context.Context, conn Conn, h Hello) error {
	body, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("stream: hello: %w", err)
	}
	return writeMessage(ctx, conn, append([]byte{byte(codeHello)}, body...))
}

// ReadHello reads it.
func ReadHello(ctx context.Context, conn Conn) (Hello, error) {
	var h Hello
	_, msg, err := conn.Read(ctx)
	if err != nil {
		return h, fmt.Errorf("stream: hello: %w", err)
	}
	if len(msg) == 0 || Code(msg[0]) != codeHello || json.Unmarshal(msg[1:], &h) != nil || h.Stream == "" {
		return h, fmt.Errorf("%w: no hello", ErrProtocol)
	}
	return h, nil
}
