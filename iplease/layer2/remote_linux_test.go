package layer2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/layer2"
)

// childVariable holds the configuration of a test process that is the announcer
// of a host. It lives in the host's namespace and can be killed.
const childVariable = "MOORAGE_TEST_LAYER2_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := childMain(text); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stdio is the connection of a child to the test.
type stdio struct {
	in   io.Reader
	over func() // called when the test has closed its end
	io.Writer
}

func (s stdio) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	if err != nil {
		s.over()
	}
	return n, err
}

func (stdio) Close() error { return nil }

func childMain(text string) error {
	var c layer2.Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("host", c.Node)
	a, err := layer2.New(c)
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() { ran <- a.Run(context.Background()) }()
	s := rpc.NewServer()
	if err := s.RegisterName("A", &service{a: a, watches: map[int]*watch{}}); err != nil {
		return err
	}
	go func() {
		if err := <-ran; err != nil && !errors.Is(err, driver.ErrClosed) { // closed before it began to run
			_, _ = fmt.Fprintln(os.Stderr, "run:", err)
			os.Exit(1)
		}
	}()
	// Calls that wait, those of watches, end with the announcer.
	var closed error
	s.ServeConn(stdio{os.Stdin, func() { closed = a.Close() }, os.Stdout})
	return closed
}

// service is an announcer for net/rpc, whose errors are texts.
type service struct {
	a *layer2.Announcer

	mu      sync.Mutex
	watches map[int]*watch
}

type watch struct {
	next func() (iplease.ClaimID, error, bool)
	stop func()
}

// Reply is what every method answers.
type Reply struct {
	Error, Sentinel string
	Status          driver.Status
	List            []iplease.ClaimID
	Claim           iplease.ClaimID
	OK              bool
	Watch           int
}

// sentinels are errors by their text.
func sentinels() map[string]error {
	out := map[string]error{}
	for _, err := range []error{driver.ErrNotFound, driver.ErrInvalid, driver.ErrConflict, driver.ErrClosed, errors.ErrUnsupported} {
		out[err.Error()] = err
	}
	return out
}

func (r *Reply) fail(err error) {
	if err == nil {
		return
	}
	r.Error = err.Error()
	for text, s := range sentinels() {
		if errors.Is(err, s) {
			r.Sentinel = text
		}
	}
}

// Apply is the announcer's.
func (s *service) Apply(a driver.Announcement, r *Reply) error {
	r.fail(s.a.Apply(context.Background(), a))
	return nil
}

// Withdraw is the announcer's.
func (s *service) Withdraw(id iplease.ClaimID, r *Reply) error {
	r.fail(s.a.Withdraw(context.Background(), id))
	return nil
}

// Status is the announcer's.
func (s *service) Status(id iplease.ClaimID, r *Reply) (err error) {
	r.Status, err = s.a.Status(context.Background(), id)
	r.fail(err)
	return nil
}

// List is the announcer's.
func (s *service) List(_ int, r *Reply) (err error) {
	r.List, err = s.a.List(context.Background())
	r.fail(err)
	return nil
}

// Close is the announcer's.
func (s *service) Close(_ int, r *Reply) error {
	r.fail(s.a.Close())
	return nil
}

// WatchStart begins a watch.
func (s *service) WatchStart(_ int, r *Reply) error {
	ctx, cancel := context.WithCancel(context.Background())
	next, stop := iter.Pull2(s.a.Watch(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Watch = len(s.watches) + 1
	s.watches[r.Watch] = &watch{next, func() {
		cancel()
		stop()
	}}
	return nil
}

// WatchNext waits for what a watch says next.
func (s *service) WatchNext(id int, r *Reply) (err error) {
	s.mu.Lock()
	w := s.watches[id]
	s.mu.Unlock()
	r.Claim, err, r.OK = w.next()
	r.fail(err)
	return nil
}

// remote is the announcer of a host, in a process of its own.
type remote struct {
	cmd    *exec.Cmd
	client *rpc.Client
	stderr *notes
	once   sync.Once
}

// notes is what a process says, read while it goes on.
type notes struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements io.Writer.
func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(p)
}

// String implements fmt.Stringer.
func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

// start starts the announcer of a host in its namespace. It is closed, and the
// host found clean, at the end of the test, unless it was killed.
func start(tb testing.TB, h *machine, c layer2.Config) *remote {
	tb.Helper()
	r, err := startChild(h, c)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		r.shut()
		if strings.Contains(r.stderr.String(), "DATA RACE") {
			tb.Error("the race detector complains")
		}
		if tb.Failed() {
			tb.Logf("host %s: %s", h.name, r.stderr)
		}
	})
	return r
}

func startChild(h *machine, c layer2.Config) (*remote, error) {
	c.Node = h.name
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	r := &remote{cmd: exec.Command(os.Args[0]), stderr: &notes{}}
	r.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	r.cmd.Stderr = r.stderr
	if os.Getenv("MOORAGE_TEST_LOG") != "" {
		r.cmd.Stderr = os.Stderr
	}
	in, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.in(r.cmd.Start); err != nil {
		return nil, err
	}
	r.client = rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	return r, nil
}

// shut ends the process as its user would.
func (r *remote) shut() {
	r.once.Do(func() {
		_ = r.client.Close()
		_ = r.cmd.Wait()
	})
}

// kill is kill -9.
func (r *remote) kill() {
	r.once.Do(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		_ = r.client.Close()
	})
}

// call asks the process.
func (r *remote) call(ctx context.Context, method string, arg any) (Reply, error) {
	if err := ctx.Err(); err != nil {
		return Reply{}, err
	}
	var reply Reply
	c := r.client.Go("A."+method, arg, &reply, make(chan *rpc.Call, 1))
	select {
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	case <-c.Done:
	}
	if c.Error != nil {
		return reply, fmt.Errorf("%s: %w: %s", method, c.Error, r.stderr)
	}
	if reply.Error == "" {
		return reply, nil
	}
	if s := sentinels()[reply.Sentinel]; s != nil {
		return reply, fmt.Errorf("%s: %w", reply.Error, s)
	}
	return reply, errors.New(reply.Error)
}

// Apply implements driver.Announcer.
func (r *remote) Apply(ctx context.Context, a driver.Announcement) error {
	_, err := r.call(ctx, "Apply", a)
	return err
}

// Withdraw implements driver.Announcer.
func (r *remote) Withdraw(ctx context.Context, id iplease.ClaimID) error {
	_, err := r.call(ctx, "Withdraw", id)
	return err
}

// Status implements driver.Announcer.
func (r *remote) Status(ctx context.Context, id iplease.ClaimID) (driver.Status, error) {
	reply, err := r.call(ctx, "Status", id)
	return reply.Status, err
}

// List implements driver.Announcer.
func (r *remote) List(ctx context.Context) ([]iplease.ClaimID, error) {
	reply, err := r.call(ctx, "List", 0)
	return reply.List, err
}

// Close implements driver.Announcer.
func (r *remote) Close() error {
	_, err := r.call(context.Background(), "Close", 0)
	return err
}

// Watch implements driver.Watcher.
func (r *remote) Watch(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
	return func(yield func(iplease.ClaimID, error) bool) {
		w, err := r.call(ctx, "WatchStart", 0)
		for err == nil {
			var next Reply
			next, err = r.call(ctx, "WatchNext", w.Watch)
			if err == nil && !next.OK || ctx.Err() != nil {
				return
			}
			if err == nil && !yield(next.Claim, nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(iplease.ClaimID{}, err)
		}
	}
}

// CanEgress implements driver.Egresser.
func (*remote) CanEgress() error { return nil }

// CanFilterSources implements driver.SourceFilterer.
func (*remote) CanFilterSources() error { return nil }
