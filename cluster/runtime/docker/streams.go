package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

const (
	// frameHeader is stream, three zeros, length.
	frameHeader = 8
	// maxFrame bounds one log message: engines cut at 16 KiB, and add a time.
	maxFrame = 1 << 20
	// stderrStream is the stream's number in a frame.
	stderrStream = 2
	// endOfText is what closes a terminal's input (Ctrl-D).
	endOfText = 4
	// exitTime bounds waiting for the engine to say how a command ended.
	exitTime = 10 * time.Second
	exitStep = 20 * time.Millisecond
)

// Logs implements runtime.Streams.
func (r *Runtime) Logs(ctx context.Context, name string, o runtime.LogOptions) iter.Seq2[runtime.LogLine, error] {
	return func(yield func(runtime.LogLine, error) bool) {
		ctx, done, err := r.begin(ctx)
		if err != nil {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				yield(runtime.LogLine{}, err)
			}
			return
		}
		defer done()
		if err := r.logs(ctx, name, o, yield); err != nil && ctx.Err() == nil {
			yield(runtime.LogLine{}, err)
		}
	}
}

func (r *Runtime) logs(ctx context.Context, name string, o runtime.LogOptions, yield func(runtime.LogLine, error) bool) error {
	if _, err := r.inspect(ctx, name); err != nil {
		return err
	}
	tail := "all"
	if o.Tail >= 0 {
		tail = strconv.Itoa(o.Tail)
	}
	if o.Tail == 0 && !o.Follow {
		return nil // some engines take 0 for all
	}
	stream, err := r.engine.ContainerLogs(ctx, r.full(name), client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: o.Follow, Tail: tail,
	})
	if err != nil {
		return fail(ctx, "logs of", name, err)
	}
	defer func() { _ = stream.Close() }()
	in := bufio.NewReader(stream)
	for {
		line, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fail(ctx, "logs of", name, err)
		}
		if !yield(line, nil) {
			return nil
		}
	}
}

// readFrame reads one message of the engine's log stream, which is a line or a
// part of a very long one.
func readFrame(in *bufio.Reader) (l runtime.LogLine, err error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return l, err
	}
	size := binary.BigEndian.Uint32(header[4:])
	if size > maxFrame {
		return l, fmt.Errorf("a log message of %d bytes", size)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil {
		return l, err
	}
	stamp, text, _ := strings.Cut(strings.TrimSuffix(string(data), "\n"), " ")
	if l.Time, err = time.Parse(time.RFC3339Nano, stamp); err != nil {
		return l, fmt.Errorf("a log message without time: %w", err)
	}
	l.Stderr, l.Text = header[0] == stderrStream, strings.TrimSuffix(text, "\r")
	return l, nil
}

// Exec implements runtime.Streams. Engines have no way to end a command: when the
// context ends it is killed by its process ID if the engine runs on this machine,
// and left alone otherwise. Input that blocks in Read after the command has ended
// keeps one goroutine until it returns.
func (r *Runtime) Exec(ctx context.Context, name string, x runtime.Exec) (int, error) {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		return -1, err
	}
	defer done()
	c, err := r.inspect(ctx, name)
	if err != nil {
		return -1, err
	}
	if len(x.Command) == 0 {
		return -1, fmt.Errorf("docker: exec in %s: no command: %w", name, runtime.ErrInvalid)
	}
	if c.State != runtime.Running {
		return -1, fmt.Errorf("docker: exec in %s: %w", name, runtime.ErrNotRunning)
	}
	made, err := r.engine.ExecCreate(ctx, r.full(name), client.ExecCreateOptions{
		TTY: x.TTY, AttachStdin: x.Stdin != nil, AttachStdout: true, AttachStderr: true, Env: x.Env, Cmd: x.Command,
	})
	if err != nil {
		return -1, r.execError(ctx, name, err)
	}
	attached, err := r.engine.ExecAttach(ctx, made.ID, client.ExecAttachOptions{TTY: x.TTY})
	if err != nil {
		return -1, r.execError(ctx, name, err)
	}
	defer attached.Close()
	stop := context.AfterFunc(ctx, func() {
		r.killExec(made.ID)
		attached.Close()
	})
	defer stop()
	return r.converse(ctx, name, made.ID, attached.HijackedResponse, x)
}

// converse carries the streams and waits for the exit code.
func (r *Runtime) converse(ctx context.Context, name, id string, conn client.HijackedResponse, x runtime.Exec) (int, error) {
	if x.Stdin != nil {
		go func() { // see Exec
			_, _ = io.Copy(conn.Conn, x.Stdin)
			if x.TTY {
				_, _ = conn.Conn.Write([]byte{endOfText})
			}
			_ = conn.CloseWrite()
		}()
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	if x.TTY {
		wg.Go(func() { r.resize(ctx, id, x.Resize, over) })
	}
	out, errs := writer(x.Stdout), writer(x.Stderr)
	var err error
	if x.TTY {
		_, err = io.Copy(out, conn.Reader)
	} else {
		_, err = stdcopy.StdCopy(out, errs, conn.Reader)
	}
	close(over)
	wg.Wait()
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	if err != nil {
		return -1, fail(ctx, "exec in", name, err)
	}
	return r.exitCode(ctx, name, id)
}

func writer(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func (r *Runtime) resize(ctx context.Context, id string, sizes <-chan runtime.TerminalSize, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case s, ok := <-sizes:
			if !ok {
				return
			}
			r.setSize(ctx, id, s, over)
		}
	}
}

// setSize tries again for a while: engines refuse it until the command runs,
// which may be after it is attached.
func (r *Runtime) setSize(ctx context.Context, id string, s runtime.TerminalSize, over <-chan struct{}) {
	for deadline := time.Now().Add(exitTime); time.Now().Before(deadline); {
		if _, err := r.engine.ExecResize(ctx, id, client.ExecResizeOptions{Height: uint(s.Height), Width: uint(s.Width)}); err == nil {
			return
		}
		select {
		case <-over:
			return
		case <-time.After(exitStep):
		}
	}
}

// exitCode asks until the engine knows: streams end a moment before.
func (r *Runtime) exitCode(ctx context.Context, name, id string) (int, error) {
	for deadline := time.Now().Add(exitTime); ; {
		got, err := r.engine.ExecInspect(ctx, id, client.ExecInspectOptions{})
		if err != nil {
			return -1, r.execError(ctx, name, err)
		}
		if !got.Running {
			return got.ExitCode, nil
		}
		if time.Now().After(deadline) {
			return -1, fmt.Errorf("docker: exec in %s: its streams ended and it did not", name)
		}
		select {
		case <-ctx.Done():
			return -1, context.Cause(ctx)
		case <-time.After(exitStep):
		}
	}
}

func (r *Runtime) execError(ctx context.Context, name string, err error) error {
	text := err.Error()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errdefs.IsConflict(err) || errdefs.IsNotFound(err) || strings.Contains(text, "is not running"):
		return fmt.Errorf("docker: exec in %s: %w", name, runtime.ErrNotRunning)
	case strings.Contains(text, "executable file not found"):
		return fmt.Errorf("docker: exec in %s: %s: %w", name, text, runtime.ErrInvalid)
	}
	return fmt.Errorf("docker: exec in %s: %w", name, err)
}

// killExec kills a command if its process is one of this machine and certainly
// the container's.
func (r *Runtime) killExec(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), exitTime)
	defer cancel()
	got, err := r.engine.ExecInspect(ctx, id, client.ExecInspectOptions{})
	if err != nil || !got.Running || got.PID <= 1 {
		return
	}
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(got.PID) + "/cgroup")
	if err != nil || !strings.Contains(string(groups), got.ContainerID) {
		return
	}
	if p, err := os.FindProcess(got.PID); err == nil {
		_ = p.Signal(syscall.SIGKILL)
	}
}
