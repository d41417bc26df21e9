package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/stream"
)

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// leased makes sure that the lease is there before a stream begins, so that the
// usual refusal can still be sent.
func (g *Gateway) leased(q *query) error {
	_, err := g.cfg.Backend.LeaseStatus(q.Context(), q.lease)
	return err
}

func (g *Gateway) logs(w http.ResponseWriter, q *query) error {
	b, ok := g.cfg.Backend.(Logger)
	if !ok {
		return fmt.Errorf("gateway: logs: %w", errors.ErrUnsupported)
	}
	opts, err := logOptions(q.URL.Query())
	if err != nil {
		return err
	}
	if err := g.leased(q); err != nil {
		return err
	}
	lease, may := q.lease, q.mayRead(g.cfg.Provider)
	return records(g, w, q, func(ctx context.Context) iter.Seq2[api.LogLine, error] {
		return logLines(only(b.Logs(ctx, lease, opts), func(l driver.LogLine) bool { return may(lease.GSeq, l.Service) }))
	})
}

// only leaves out what is not wanted.
func only[T any](in iter.Seq2[T, error], wanted func(T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range in {
			if (err != nil || wanted(v)) && !yield(v, err) {
				return
			}
		}
	}
}

func logLines(in iter.Seq2[driver.LogLine, error]) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		for l, err := range in {
			if !yield(api.LogLine{Service: l.Service, Replica: l.Replica, Time: l.Time, Stderr: l.Stderr, Text: l.Text}, err) {
				return
			}
		}
	}
}

// logOptions reads service, replica, follow, since and tail. Without tail all
// lines that are kept are sent.
func logOptions(v url.Values) (driver.LogOptions, error) {
	o := driver.LogOptions{Service: v.Get("service"), Tail: -1}
	var err error
	if o.Follow, err = boolean(v, "follow"); err != nil {
		return o, err
	}
	if v.Has("replica") {
		n, err := unsigned(v.Get("replica"), 32)
		if err != nil {
			return o, err
		}
		replica := uint32(n)
		o.Replica = &replica
	}
	if v.Has("since") {
		if o.Since, err = time.Parse(time.RFC3339Nano, v.Get("since")); err != nil {
			return o, fmt.Errorf("%w: since is a time as 2006-01-02T15:04:05Z (RFC 3339)", api.ErrMalformed)
		}
	}
	if !v.Has("tail") {
		return o, nil
	}
	if o.Tail, err = strconv.Atoi(v.Get("tail")); err != nil || o.Tail > MaxTail {
		return o, fmt.Errorf("%w: tail is a number of lines, at most %d", api.ErrMalformed, MaxTail)
	}
	return o, nil
}

func (g *Gateway) events(w http.ResponseWriter, q *query) error {
	b, ok := g.cfg.Backend.(Eventer)
	if !ok {
		return fmt.Errorf("gateway: events: %w", errors.ErrUnsupported)
	}
	if err := g.leased(q); err != nil {
		return err
	}
	lease, may := q.lease, q.mayRead(g.cfg.Provider)
	return records(g, w, q, func(ctx context.Context) iter.Seq2[api.Event, error] {
		return only(b.Events(ctx, lease), func(e api.Event) bool { return may(lease.GSeq, e.Service) })
	})
}

func (g *Gateway) shell(w http.ResponseWriter, q *query) error {
	b, ok := g.cfg.Backend.(Execer)
	if !ok {
		return fmt.Errorf("gateway: shell: %w", errors.ErrUnsupported)
	}
	if !isWebSocket(q.Request) {
		return fmt.Errorf("%w: a shell needs a WebSocket", api.ErrMalformed)
	}
	x, stdin, err := execOptions(q.URL.Query())
	if err != nil {
		return err
	}
	if err := g.leased(q); err != nil {
		return err
	}
	lease := q.lease
	return g.upgrade(w, q, func(ctx context.Context, st *stream.Stream) (int, error) {
		return runExec(ctx, st, stdin, x, func(ctx context.Context, x driver.Exec) (int, error) {
			return b.Exec(ctx, lease, x)
		})
	})
}

// execOptions reads service, replica, tty, stdin and cmd0, cmd1, …
func execOptions(v url.Values) (x driver.Exec, stdin bool, err error) {
	x.Service = v.Get("service")
	if x.Service == "" {
		return x, false, fmt.Errorf("%w: a shell needs a service", api.ErrMalformed)
	}
	replica, err := unsigned(v.Get("replica"), 32)
	if err != nil {
		return x, false, err
	}
	x.Replica = uint32(replica)
	if x.TTY, err = boolean(v, "tty"); err != nil {
		return x, false, err
	}
	if stdin, err = boolean(v, "stdin"); err != nil {
		return x, false, err
	}
	x.Command, err = command(v)
	return x, stdin, err
}

// command reads cmd0, cmd1 and so on, without gaps.
func command(v url.Values) ([]string, error) {
	var parts int
	for name := range v {
		if commandIndex(name) >= 0 {
			parts++
		}
	}
	out := make([]string, 0, parts)
	for i := range parts {
		name := "cmd" + strconv.Itoa(i)
		if !v.Has(name) {
			return nil, fmt.Errorf("%w: %s is missing", api.ErrMalformed, name)
		}
		out = append(out, v.Get(name))
	}
	if len(out) == 0 || out[0] == "" {
		return nil, fmt.Errorf("%w: cmd0 is missing", api.ErrMalformed)
	}
	return out, nil
}

// commandIndex returns N for "cmdN" with N below [MaxCommand], and -1 for every
// other name.
func commandIndex(name string) int {
	digits, ok := strings.CutPrefix(name, "cmd")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n >= MaxCommand || strconv.Itoa(n) != digits {
		return -1
	}
	return n
}

func boolean(v url.Values, name string) (bool, error) {
	switch v.Get(name) {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, fmt.Errorf("%w: %s is true or false", api.ErrMalformed, name)
}

// unsigned reads a decimal number; "" is 0.
func unsigned(s string, bits int) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%w: want a decimal number", api.ErrMalformed)
	}
	return n, nil
}

// runExec connects a stream to a command. The goroutine that takes input ends
// with the command.
func runExec(ctx context.Context, st *stream.Stream, stdin bool, x driver.Exec, run func(context.Context, driver.Exec) (int, error)) (int, error) {
	in := newInput(stdin, x.TTY)
	if stdin {
		x.Stdin = in.reader
	}
	if x.TTY {
		x.Resize = in.resize
	}
	x.Stdout = frameWriter{ctx, st, stream.Stdout}
	x.Stderr = frameWriter{ctx, st, stream.Stderr}
	taking, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { in.take(taking, st) })
	defer wg.Wait()
	defer in.reader.CloseWithError(io.ErrClosedPipe)
	defer stop()
	return run(ctx, x)
}

// frameWriter sends what a command prints. It waits while the client does not
// read, and so does the command.
type frameWriter struct {
	ctx  context.Context //nolint:containedctx // io.Writer has no place for it
	st   *stream.Stream
	code stream.Code
}

// Write implements [io.Writer].
func (w frameWriter) Write(p []byte) (int, error) {
	if err := sendAll(w.ctx, w.st, w.code, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// input is what a client sends to a command.
type input struct {
	stdin, tty bool
	reader     *io.PipeReader
	writer     *io.PipeWriter
	resize     chan driver.TerminalSize
}

func newInput(stdin, tty bool) *input {
	in := &input{stdin: stdin, tty: tty, resize: make(chan driver.TerminalSize, 1)}
	in.reader, in.writer = io.Pipe()
	return in
}

// take passes frames on until the context or the stream ends. Input that nobody
// asked for is dropped; of several sizes not yet taken the last one counts.
func (in *input) take(ctx context.Context, st *stream.Stream) {
	for {
		f, err := st.Recv(ctx)
		if err != nil {
			_ = in.writer.CloseWithError(err)
			return
		}
		switch f.Code {
		case stream.Stdin:
			if in.stdin {
				_, _ = in.writer.Write(f.Payload) // fails once the command is gone
			}
		case stream.EOF:
			_ = in.writer.Close()
		case stream.Resize:
			in.setSize(f.Payload)
		default: // the stream accepts no others
		}
	}
}

func (in *input) setSize(p []byte) {
	width, height, err := stream.UnmarshalSize(p)
	if err != nil || !in.tty {
		return
	}
	select {
	case <-in.resize:
	default:
	}
	in.resize <- driver.TerminalSize{Width: width, Height: height} // there is room: only take puts
}
