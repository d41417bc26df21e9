package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/stream"
)

// maxBatch bounds the bytes of records that wait to be sent; a back end that
// makes them faster waits.
const maxBatch = 2 * stream.MaxPayload

// batch collects records while those before are being sent, so that a fast
// source costs few writes and a slow one no delay. One goroutine adds, one sends.
type batch struct {
	mu     sync.Mutex
	buf    []byte
	spare  []byte
	closed bool
	ready  chan struct{} // holds a token when there is something, or the end
	space  chan struct{} // holds a token when buf was taken
}

func newBatch() *batch {
	return &batch{ready: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// add appends a record and its newline, waiting while there is too much.
func (b *batch) add(ctx context.Context, record []byte) error {
	for {
		b.mu.Lock()
		fits := len(b.buf) == 0 || len(b.buf)+len(record) < maxBatch
		if fits {
			b.buf = append(append(b.buf, record...), '\n')
		}
		b.mu.Unlock()
		if fits {
			signal(b.ready)
			return nil
		}
		select {
		case <-b.space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *batch) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	signal(b.ready)
}

// take returns all that is there; it is good until the next call.
func (b *batch) take() (p []byte, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, b.buf, b.spare = b.buf, b.spare[:0], b.buf
	signal(b.space)
	return p, b.closed
}

// drain sends what is added until close, or until sending fails.
func (b *batch) drain(ctx context.Context, send func(context.Context, []byte) error) error {
	for {
		select {
		case <-b.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p, closed := b.take()
		if len(p) > 0 {
			if err := send(ctx, p); err != nil {
				return err
			}
		}
		if closed {
			return nil
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pump sends a sequence of records as JSON lines until it ends, fails, or
// sending fails, which ends the source too. Records are sent before an error is
// returned.
func pump[T any](ctx context.Context, source func(context.Context) iter.Seq2[T, error], send func(context.Context, []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := newBatch()
	var wg sync.WaitGroup
	var sendErr error
	wg.Go(func() {
		if sendErr = b.drain(ctx, send); sendErr != nil {
			cancel(sendErr)
		}
	})
	err := fill(ctx, b, source(ctx))
	b.close()
	wg.Wait()
	if sendErr != nil {
		return sendErr
	}
	return err
}

func fill[T any](ctx context.Context, b *batch, records iter.Seq2[T, error]) error {
	for r, err := range records {
		if err != nil {
			return err
		}
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("gateway: encode record: %w", err)
		}
		if err := b.add(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// records serves a sequence over a WebSocket if that is asked for, otherwise as
// lines to a plain reader.
func records[T any](g *Gateway, w http.ResponseWriter, q *query, source func(context.Context) iter.Seq2[T, error]) error {
	if isWebSocket(q.Request) {
		return g.upgrade(w, q, func(ctx context.Context, st *stream.Stream) (int, error) {
			return 0, pump(ctx, source, func(ctx context.Context, p []byte) error {
				return sendAll(ctx, st, stream.Records, p)
			})
		})
	}
	if q.URL.Query().Has("stream") || q.URL.Query().Has("received") {
		return fmt.Errorf("%w: only WebSocket streams can be resumed", api.ErrMalformed)
	}
	return lines(g, w, q, source)
}

// sendAll sends p in frames. Records may be cut anywhere; the reader joins them.
func sendAll(ctx context.Context, st *stream.Stream, code stream.Code, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), stream.MaxPayload)
		if err := st.Send(ctx, code, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// lines serves a sequence as newline-delimited JSON. An error after the beginning
// is a last line of its own, an [api.Body].
func lines[T any](g *Gateway, w http.ResponseWriter, q *query, source func(context.Context) iter.Seq2[T, error]) error {
	if err := g.sessions.enter(q.principal.tenant); err != nil {
		return err
	}
	defer g.sessions.leave(q.principal.tenant)
	ctx, cancel := context.WithCancelCause(q.Context())
	defer cancel(nil)
	defer context.AfterFunc(g.base, func() { cancel(errStopping) })()
	ctx, stop := context.WithTimeoutCause(ctx, g.cfg.Limits.StreamAge, errTooOld)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	watched, done := context.WithCancel(ctx)
	defer done()
	check := g.recheck(q)
	wg.Go(func() { watchCredential(watched, g.cfg.Limits.Recheck, cancel, check) })

	out := &lineWriter{w: w, rc: http.NewResponseController(w)}
	if err := out.begin(); err != nil {
		return nil // the reader is gone
	}
	err := pump(ctx, source, out.send)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil && !out.broken {
		last, _ := json.Marshal(api.Body{Error: api.FromError(err)})
		_ = out.send(ctx, append(last, '\n')) // the reader may be gone
	}
	return nil
}

// lineWriter writes to a plain reader, who is cut off after [WriteTimeout] of
// taking nothing.
type lineWriter struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	broken bool // nothing more can be written
}

func (lw *lineWriter) begin() error {
	lw.w.Header().Set("Content-Type", "application/x-ndjson")
	lw.w.WriteHeader(http.StatusOK)
	return lw.flush()
}

func (lw *lineWriter) send(_ context.Context, p []byte) error {
	_ = lw.rc.SetWriteDeadline(time.Now().Add(WriteTimeout)) // not every server can
	if _, err := lw.w.Write(p); err != nil {
		lw.broken = true
		return fmt.Errorf("gateway: write lines: %w", err)
	}
	return lw.flush()
}

func (lw *lineWriter) flush() error {
	if err := lw.rc.Flush(); err != nil {
		lw.broken = true
		return fmt.Errorf("gateway: flush lines: %w", err)
	}
	return nil
}
