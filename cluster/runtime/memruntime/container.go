package memruntime

import (
	"context"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// container is guarded by its machine's lock except where fields say otherwise.
type container struct {
	machine *Machine
	spec    runtime.Spec
	image   Image
	logs    *logBook           // has its own lock
	ctx     context.Context    //nolint:containedctx // the container's life
	kill    context.CancelFunc // safe
	stop    chan struct{}      // closed by askStop
	asked   sync.Once
	done    chan struct{} // closed when the program has returned

	state             runtime.State
	code              int
	reason            string
	pid               int
	address           netip.Addr
	started, finished time.Time
	ports             map[uint16]*listener
}

func newContainer(m *Machine, spec runtime.Spec, im Image) *container {
	spec = cloneSpec(spec)
	bound := spec.Resources.LogBytes
	if bound == 0 {
		bound = runtime.DefaultLogBytes
	}
	ctx, kill := context.WithCancel(context.Background())
	return &container{
		machine: m, spec: spec, image: im, logs: newLogBook(bound), ctx: ctx, kill: kill,
		stop: make(chan struct{}), done: make(chan struct{}), ports: map[uint16]*listener{},
	}
}

func cloneSpec(s runtime.Spec) runtime.Spec {
	s.Labels = maps.Clone(s.Labels)
	s.Entrypoint, s.Args = slices.Clone(s.Entrypoint), slices.Clone(s.Args)
	s.Env, s.Mounts = slices.Clone(s.Env), slices.Clone(s.Mounts)
	return s
}

func (c *container) askStop() { c.asked.Do(func() { close(c.stop) }) }

func (c *container) ended() bool { return c.state == runtime.Exited }

// run is the container's goroutine.
func (c *container) run() {
	defer close(c.done)
	out, errs := c.logs.writer(false), c.logs.writer(true)
	p := &Process{
		Args: c.command(), Env: append(slices.Clone(c.image.Env), c.spec.Env...),
		Hostname: c.spec.Hostname, Stdin: strings.NewReader(""), Stdout: out, Stderr: errs,
		Stop: c.stop, container: c,
	}
	program := c.image.Program
	if program == nil {
		program = Idle
	}
	code := program(c.ctx, p)
	closeAll(out, errs)
	m := c.machine
	m.mu.Lock()
	c.finish(code, "")
	m.mu.Unlock()
	c.kill()
	c.logs.close()
	m.hub.Publish(c.spec.Name)
}

func (c *container) command() []string {
	entry, args := c.image.Entrypoint, c.image.Cmd
	if c.spec.Entrypoint != nil {
		entry, args = c.spec.Entrypoint, nil
	}
	if c.spec.Args != nil {
		args = c.spec.Args
	}
	return append(slices.Clone(entry), args...)
}

// finish records the first end; the caller holds the machine's lock.
func (c *container) finish(code int, reason string) {
	if c.state != runtime.Running {
		return
	}
	c.state, c.code, c.finished, c.pid = runtime.Exited, code, time.Now(), 0
	c.reason = reason
	if reason == "" {
		select {
		case <-c.stop:
			c.reason = "stopped"
		default:
		}
	}
	for _, l := range c.ports {
		closeAll(l)
	}
}

// view copies the container for callers; the caller holds the machine's lock.
func (c *container) view() runtime.Container {
	return runtime.Container{
		Name: c.spec.Name, Labels: maps.Clone(c.spec.Labels), Image: c.spec.Image,
		State: c.state, ExitCode: c.code, Reason: c.reason, Address: c.address,
		Network: c.spec.Network, StartedAt: c.started, FinishedAt: c.finished, PID: c.pid,
	}
}

// exec runs a command as the image's Exec program.
func (c *container) exec(ctx context.Context, x runtime.Exec) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	if c.image.Exec == nil {
		return 127
	}
	p := &Process{
		Args: slices.Clone(x.Command), Env: append(append(slices.Clone(c.image.Env), c.spec.Env...), x.Env...),
		Hostname: c.spec.Hostname, Stdin: x.Stdin, Stdout: x.Stdout, Stderr: x.Stderr,
		TTY: x.TTY, Resize: x.Resize, Stop: make(chan struct{}), container: c,
	}
	if p.Stdin == nil {
		p.Stdin = strings.NewReader("")
	}
	if p.Stdout == nil {
		p.Stdout = io.Discard
	}
	if p.Stderr == nil {
		p.Stderr = io.Discard
	}
	return c.image.Exec(ctx, p)
}
