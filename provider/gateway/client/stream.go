package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/stream"
)

// Bounds of streams.
const (
	// maxRecord bounds the bytes of one record.
	maxRecord = 1 << 20
	// goodbye is how long leaving a stream early may take.
	goodbye = 2 * time.Second
	// maxGrace bounds the time that a server can make a client try to come back.
	maxGrace = 5 * time.Minute
	// reconnectPause is the wait before the first try to come back; it doubles up
	// to maxReconnectPause.
	reconnectPause    = 50 * time.Millisecond
	maxReconnectPause = 2 * time.Second
)

// Logs implements [driver.LogStreamer]: it yields what the containers of a lease
// print. Without Follow it ends with what there is. An error is yielded last.
func (c *Client) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	q := url.Values{"tail": {strconv.Itoa(o.Tail)}}
	if o.Service != "" {
		q.Set("service", o.Service)
	}
	if o.Follow {
		q.Set("follow", "true")
	}
	if o.Replica != nil {
		q.Set("replica", strconv.FormatUint(uint64(*o.Replica), 10))
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	lines := records[api.LogLine](ctx, c, id, "/logs", q)
	return func(yield func(driver.LogLine, error) bool) {
		for l, err := range lines {
			if !yield(driver.LogLine{Service: l.Service, Replica: l.Replica, Time: l.Time, Stderr: l.Stderr, Text: l.Text}, err) {
				return
			}
		}
	}
}

// Events yields what happens to a lease, beginning with its present phase, until
// the context ends or the lease is gone. An error is yielded last.
func (c *Client) Events(ctx context.Context, id market.LeaseID) iter.Seq2[api.Event, error] {
	return records[api.Event](ctx, c, id, "/events", url.Values{})
}

// records yields the JSON records of a stream. The end of the context ends it
// with the context's error.
func records[T any](ctx context.Context, c *Client, id market.LeaseID, path string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if err := c.lease(id); err != nil {
			yield(none, err)
			return
		}
		s, err := c.open(ctx, leasePath(id)+path, q)
		if err != nil {
			yield(none, err)
			return
		}
		defer s.close()
		if err := readRecords(ctx, s.st, yield); err != nil {
			yield(none, err)
		}
	}
}

// readRecords yields records until the stream ends, fails, or the caller stops.
func readRecords[T any](ctx context.Context, st *stream.Stream, yield func(T, error) bool) error {
	var rest []byte
	for {
		f, err := st.Recv(ctx)
		if err != nil {
			return err
		}
		switch f.Code {
		case stream.Records:
			rest = append(rest, f.Payload...)
			more, going, err := yieldLines(rest, yield)
			if err != nil || !going {
				return err
			}
			rest = more
		case stream.Result:
			return nil
		case stream.Failure:
			return failure(f.Payload)
		default:
			return fmt.Errorf("%w: code %d among records", stream.ErrProtocol, f.Code)
		}
	}
}

// yieldLines yields the whole lines of p and returns the rest, and whether to go
// on.
func yieldLines[T any](p []byte, yield func(T, error) bool) (rest []byte, going bool, err error) {
	for {
		line, after, ok := bytes.Cut(p, []byte{'\n'})
		if !ok {
			if len(p) > maxRecord {
				return nil, false, fmt.Errorf("%w: record without end", stream.ErrProtocol)
			}
			return p, true, nil
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, false, fmt.Errorf("%w: record: %w", stream.ErrProtocol, err)
		}
		if !yield(v, nil) {
			return nil, false, nil
		}
		p = after
	}
}

// failure reads the payload of a failure frame.
func failure(payload []byte) error {
	var doc api.Body
	if json.Unmarshal(payload, &doc) != nil || doc.Error == nil {
		return fmt.Errorf("%w: failure that cannot be read", stream.ErrProtocol)
	}
	doc.Error.Status = api.Status(doc.Error.Code)
	return doc.Error
}

// Exec implements [driver.Execer]: it runs a command in a replica and returns its
// exit code. When the context ends the command is killed. A goroutine that reads
// x.Stdin ends when that returns, which may be after Exec.
func (c *Client) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if err := c.lease(id); err != nil {
		return 0, err
	}
	s, err := c.open(ctx, leasePath(id)+"/shell", execQuery(x))
	if err != nil {
		return 0, err
	}
	defer s.close()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if x.Stdin != nil {
		go sendInput(ctx, s.st, x.Stdin)
	}
	if x.TTY && x.Resize != nil {
		wg.Go(func() { sendSizes(ctx, s.st, x.Resize) })
	}
	return readOutput(ctx, s.st, x)
}

func execQuery(x driver.Exec) url.Values {
	q := url.Values{"service": {x.Service}, "replica": {strconv.FormatUint(uint64(x.Replica), 10)}}
	if x.TTY {
		q.Set("tty", "true")
	}
	if x.Stdin != nil {
		q.Set("stdin", "true")
	}
	for i, part := range x.Command {
		q.Set("cmd"+strconv.Itoa(i), part)
	}
	return q
}

// sendInput ends with the input, the context or the stream.
func sendInput(ctx context.Context, st *stream.Stream, r io.Reader) {
	buf := make([]byte, stream.MaxPayload)
	for {
		n, err := r.Read(buf)
		if n > 0 && st.Send(ctx, stream.Stdin, buf[:n]) != nil {
			return
		}
		if err != nil {
			_ = st.Send(ctx, stream.EOF, nil) // the stream may be over
			return
		}
	}
}

func sendSizes(ctx context.Context, st *stream.Stream, sizes <-chan driver.TerminalSize) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, ok := <-sizes:
			if !ok || st.Send(ctx, stream.Resize, stream.MarshalSize(size.Width, size.Height)) != nil {
				return
			}
		}
	}
}

func readOutput(ctx context.Context, st *stream.Stream, x driver.Exec) (int, error) {
	for {
		f, err := st.Recv(ctx)
		if err != nil {
			return 0, err
		}
		switch f.Code {
		case stream.Stdout:
			err = write(x.Stdout, f.Payload)
		case stream.Stderr:
			err = write(x.Stderr, f.Payload)
		case stream.Result:
			var r stream.ResultBody
			if err := json.Unmarshal(f.Payload, &r); err != nil {
				return 0, fmt.Errorf("%w: result: %w", stream.ErrProtocol, err)
			}
			return r.ExitCode, nil
		case stream.Failure:
			return 0, failure(f.Payload)
		default:
			err = fmt.Errorf("%w: code %d in a shell", stream.ErrProtocol, f.Code)
		}
		if err != nil {
			return 0, err
		}
	}
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(p); err != nil {
		return fmt.Errorf("gateway client: write output: %w", err)
	}
	return nil
}

// session is a stream and the goroutine that keeps a connection under it.
type session struct {
	c     *Client
	path  string
	query url.Values
	st    *stream.Stream
	hello stream.Hello
	done  chan struct{}
	stop  context.CancelFunc
	// leave is closed when the caller has no more use for the stream.
	leave chan struct{}
}

// open begins a stream.
func (c *Client) open(ctx context.Context, path string, q url.Values) (*session, error) {
	s := &session{c: c, path: path, query: q, st: stream.New(stream.Client), done: make(chan struct{}), leave: make(chan struct{})}
	conn, err := attempt(ctx, func() (*websocket.Conn, error) { return s.dial(ctx) })
	if err != nil {
		return nil, fmt.Errorf("gateway client: %s: %w", path, err)
	}
	// The goroutine outlives the context a little, to say goodbye.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.run(run, conn)
	return s, nil
}

// close ends the stream and waits for its goroutine. What did not come to its end
// by itself is ended at the server too.
func (s *session) close() {
	close(s.leave)
	if s.st.Ended() == nil {
		s.st.Leave()
	}
	t := time.NewTimer(goodbye)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
	}
	s.stop()
	<-s.done
}

// run keeps a connection under the stream until it is complete or lost for good.
func (s *session) run(ctx context.Context, conn *websocket.Conn) {
	defer close(s.done)
	for {
		err := s.serve(ctx, conn)
		if err == nil || ctx.Err() != nil || errors.Is(err, stream.ErrProtocol) || errors.Is(err, stream.ErrLeft) {
			s.st.Abort(cmpErr(err, stream.ErrEnded))
			return
		}
		if conn, err = s.reconnect(ctx, err); err != nil {
			s.st.Abort(err)
			return
		}
	}
}

func cmpErr(err, def error) error {
	if err != nil {
		return err
	}
	return def
}

func (s *session) serve(ctx context.Context, conn *websocket.Conn) error {
	defer func() { _ = conn.CloseNow() }()
	a, err := s.st.Attach(ctx)
	if err != nil {
		return err
	}
	return a.Run(ctx, conn, s.hello.Received)
}

// dial makes a connection and reads the server's hello.
func (s *session) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	h := http.Header{}
	if err := s.c.authorize(ctx, h); err != nil {
		return nil, err
	}
	//nolint:bodyclose // the library keeps the body, closed
	conn, resp, err := websocket.Dial(ctx, s.c.base.String()+s.path+"?"+s.query.Encode(), &websocket.DialOptions{
		HTTPClient: s.c.http, HTTPHeader: h, Subprotocols: []string{stream.Subprotocol},
	})
	if err != nil {
		return nil, dialError(resp, err)
	}
	conn.SetReadLimit(stream.ReadLimit)
	if s.hello, err = stream.ReadHello(ctx, conn); err != nil {
		_ = conn.CloseNow()
		return nil, err
	}
	return conn, nil
}

// dialError prefers what the server said to what the library makes of it.
func dialError(resp *http.Response, err error) error {
	if resp == nil || resp.Body == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what the library keeps
	return refusal(resp.StatusCode, body)
}

// reconnect comes back to the stream within its grace time.
func (s *session) reconnect(ctx context.Context, lost error) (*websocket.Conn, error) {
	grace := min(time.Duration(s.hello.GraceSeconds)*time.Second, maxGrace)
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	s.query.Set("stream", s.hello.Stream)
	for pause := reconnectPause; ; pause = min(2*pause, maxReconnectPause) {
		s.query.Set("received", strconv.FormatUint(s.st.Received(), 10))
		conn, err := s.dial(ctx)
		if err == nil {
			return conn, nil
		}
		if e, ok := errors.AsType[*api.Error](err); ok && !e.Temporary() {
			return nil, e
		}
		select {
		case <-time.After(pause):
		case <-s.leave:
			return nil, stream.ErrLeft
		case <-ctx.Done():
			return nil, fmt.Errorf("gateway client: stream: %w: %w", market.ErrUnavailable, lost)
		}
	}
}
