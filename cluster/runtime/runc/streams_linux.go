//go:build cgo

package runc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/linelog"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

const (
	// outputTime is how long output of a command may still come after its end, from
	// what it left running.
	outputTime = time.Second
	// lookTime is the pause between looks at folders that the kernel does not watch.
	lookTime = 200 * time.Millisecond
	// endOfText is what closes a terminal's input (Ctrl-D).
	endOfText = 4
)

// Logs implements runtime.Streams.
func (r *Runtime) Logs(ctx context.Context, name string, o runtime.LogOptions) iter.Seq2[runtime.LogLine, error] {
	return func(yield func(runtime.LogLine, error) bool) {
		err := r.closed()
		if err == nil {
			_, _, err = r.load(name)
		}
		if err == nil {
			err = r.follow(ctx, name, o, yield)
		}
		if err != nil && ctx.Err() == nil && r.ctx.Err() == nil {
			yield(runtime.LogLine{}, err)
		}
	}
}

// follow reads kept lines, and waits for more while the container runs.
func (r *Runtime) follow(ctx context.Context, name string, o runtime.LogOptions, yield func(runtime.LogLine, error) bool) error {
	dir := r.containerDir(name)
	changes := watchFolders(dir, filepath.Join(dir, plan.LogDir))
	defer changes.close()
	defer context.AfterFunc(ctx, changes.close)()
	defer context.AfterFunc(r.ctx, changes.close)()
	lines, err := linelog.NewReader(filepath.Join(dir, plan.LogDir), o.Tail)
	if err != nil {
		return err
	}
	defer func() { _ = lines.Close() }()
	for {
		c, _, err := r.load(name) // before reading: an ended container prints no more
		over := err != nil || c.State == runtime.Exited
		for {
			l, err := lines.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if ctx.Err() != nil || !yield(runtime.LogLine{Time: l.Time, Stderr: l.Stderr, Text: l.Text}, nil) {
				return nil
			}
		}
		if !o.Follow || over || changes.wait() != nil {
			return nil
		}
	}
}

// folderWatch waits for changes in folders. The kernel lets a user watch only so
// many (128 by default); beyond that the folders are looked at now and then.
type folderWatch struct {
	f      *os.File // nil without the kernel's help
	closed chan struct{}
	once   sync.Once
}

func watchFolders(dirs ...string) *folderWatch {
	w := &folderWatch{closed: make(chan struct{})}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	for _, d := range dirs {
		const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF
		if _, err := unix.InotifyAddWatch(fd, d, events); err != nil {
			_ = unix.Close(fd)
			return w
		}
	}
	w.f = os.NewFile(uintptr(fd), "inotify")
	return w
}

func (w *folderWatch) wait() error {
	if w.f != nil {
		_, err := w.f.Read(make([]byte, 4096))
		return err
	}
	select {
	case <-w.closed:
		return os.ErrClosed
	case <-time.After(lookTime):
		return nil
	}
}

func (w *folderWatch) close() {
	w.once.Do(func() {
		close(w.closed)
		if w.f != nil {
			_ = w.f.Close()
		}
	})
}

// Exec implements runtime.Streams. Input that blocks in Read after the command
// has ended keeps one goroutine until it returns.
func (r *Runtime) Exec(ctx context.Context, name string, x runtime.Exec) (int, error) {
	if err := r.closed(); err != nil {
		return -1, err
	}
	c, _, err := r.load(name)
	if err != nil {
		return -1, err
	}
	if len(x.Command) == 0 {
		return -1, fmt.Errorf("%w: no command", runtime.ErrInvalid)
	}
	if c.State != runtime.Running {
		return -1, fmt.Errorf("runc: exec in %s: %w", name, runtime.ErrNotRunning)
	}
	link, err := dial(ctx, r.containerDir(name))
	if err != nil {
		return -1, r.execError(ctx, name, err)
	}
	defer func() { _ = link.Close() }()
	defer context.AfterFunc(ctx, func() { _ = link.Close() })()
	defer context.AfterFunc(r.ctx, func() { _ = link.Close() })()
	var code int
	if x.TTY {
		code, err = execTerminal(link, x)
	} else {
		code, err = execPlain(link, x)
	}
	if err != nil {
		return -1, r.execError(ctx, name, err)
	}
	return code, nil
}

func (r *Runtime) execError(ctx context.Context, name string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.ctx.Err() != nil:
		return r.closed()
	case errors.Is(err, errShimGone):
		return fmt.Errorf("runc: exec in %s: %w", name, runtime.ErrNotRunning)
	}
	return err
}

func request(x runtime.Exec) plan.Request {
	return plan.Request{Op: plan.OpExec, Args: x.Command, Env: x.Env, TTY: x.TTY}
}

// pipes are our ends of a command's streams and the command's.
type pipes struct {
	ours, theirs []*os.File
}

func (p *pipes) input(from io.Reader) error {
	if from == nil {
		f, err := os.Open(os.DevNull)
		p.theirs = append(p.theirs, f)
		p.ours = append(p.ours, nil)
		return err
	}
	r, w, err := os.Pipe()
	p.theirs, p.ours = append(p.theirs, r), append(p.ours, w)
	return err
}

func (p *pipes) output(to io.Writer) error {
	if to == nil {
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		p.theirs = append(p.theirs, f)
		p.ours = append(p.ours, nil)
		return err
	}
	r, w, err := os.Pipe()
	p.theirs, p.ours = append(p.theirs, w), append(p.ours, r)
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func execPlain(link conn, x runtime.Exec) (int, error) {
	var p pipes
	err := errors.Join(p.input(x.Stdin), p.output(x.Stdout), p.output(x.Stderr))
	defer func() { closeAll(p.ours) }()
	if err == nil {
		err = link.send(request(x), p.theirs...)
	}
	closeAll(p.theirs)
	if err != nil {
		return -1, err
	}
	if _, _, err := link.receive(); err != nil {
		return -1, err
	}
	if in := p.ours[0]; in != nil {
		go func() { // see Exec
			_, _ = io.Copy(in, x.Stdin)
			_ = in.Close()
		}()
	}
	var copies sync.WaitGroup
	for i, to := range []io.Writer{x.Stdout, x.Stderr} {
		if from := p.ours[i+1]; from != nil {
			copies.Go(func() { _, _ = io.Copy(to, from) })
		}
	}
	reply, _, err := link.receive()
	settle(&copies, p.ours[1:])
	return reply.ExitCode, err
}

// settle waits for the last output, but not for what a command left running.
func settle(copies *sync.WaitGroup, files []*os.File) {
	deadline := now().Add(outputTime)
	for _, f := range files {
		if f != nil {
			_ = f.SetReadDeadline(deadline)
		}
	}
	copies.Wait()
}

func execTerminal(link conn, x runtime.Exec) (int, error) {
	q := request(x)
	select { // the first size is known as a rule
	case s := <-x.Resize:
		q.Width, q.Height = s.Width, s.Height
	default:
	}
	if err := link.send(q); err != nil {
		return -1, err
	}
	_, master, err := link.receive()
	if err != nil {
		return -1, err
	}
	if master == nil {
		return -1, errors.New("runc: the shim gave no terminal")
	}
	defer func() { _ = master.Close() }()
	if x.Stdin != nil {
		go func() { // see Exec
			_, _ = io.Copy(master, x.Stdin)
			_, _ = master.Write([]byte{endOfText})
		}()
	}
	done := make(chan struct{})
	var copies sync.WaitGroup
	copies.Go(func() { resize(master, x.Resize, done) })
	out := x.Stdout
	if out == nil {
		out = io.Discard
	}
	var copied sync.WaitGroup
	copied.Go(func() { _, _ = io.Copy(out, master) }) // ends with EIO when the last process has left
	reply, _, err := link.receive()
	settle(&copied, []*os.File{master})
	close(done)
	copies.Wait()
	return reply.ExitCode, err
}

func resize(master *os.File, sizes <-chan runtime.TerminalSize, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case s, ok := <-sizes:
			if !ok {
				return
			}
			setSize(master, s)
		}
	}
}

func setSize(master *os.File, s runtime.TerminalSize) {
	raw, err := master.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Height, Col: s.Width})
	})
}
