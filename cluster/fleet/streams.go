package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/agent"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/market"
)

// Exec implements [driver.Execer].
func (f *Fleet) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if len(x.Command) == 0 {
		return 0, fmt.Errorf("%w: empty command", driver.ErrInvalid)
	}
	_, o, err := f.look(ctx, id)
	if err != nil {
		return 0, err
	}
	var name string
	for _, i := range o.Instances { // the newest comes last
		if i.Service == x.Service && i.Index == x.Replica && i.Running() {
			name = i.Name
		}
	}
	if name == "" {
		return 0, fmt.Errorf("%w: service %.63q has no replica %d that runs", driver.ErrNotFound, x.Service, x.Replica)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	code, err := f.cfg.Runtime.Exec(ctx, name, runtime.Exec{
		Command: x.Command, TTY: x.TTY, Stdin: x.Stdin, Stdout: x.Stdout, Stderr: x.Stderr, Resize: sizes(ctx, x.Resize),
	})
	switch {
	case err == nil:
		return code, nil
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case errors.Is(err, runtime.ErrNotFound), errors.Is(err, runtime.ErrNotRunning):
		return 0, fmt.Errorf("%w: the replica has just ended", driver.ErrNotFound)
	case errors.Is(err, runtime.ErrInvalid):
		return 0, fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return 0, err
}

// sizes translates terminal sizes until the context or the source ends.
func sizes(ctx context.Context, in <-chan driver.TerminalSize) <-chan runtime.TerminalSize {
	if in == nil {
		return nil
	}
	out := make(chan runtime.TerminalSize)
	go func() { // ends with ctx, which Exec cancels
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case s, ok := <-in:
				if !ok {
					return
				}
				select {
				case out <- runtime.TerminalSize(s):
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

// Logs implements [driver.LogStreamer]. Lines of a container that ended before
// the one running now are part of a replica's log, as long as it is kept.
func (f *Fleet) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return func(yield func(driver.LogLine, error) bool) {
		r, seen, err := f.look(ctx, id)
		if err == nil && o.Service != "" && !slices.ContainsFunc(f.work(r).Services, func(s agent.Service) bool { return s.Name == o.Service }) {
			err = fmt.Errorf("%w: service %.63q", driver.ErrNotFound, o.Service)
		}
		if err != nil {
			yield(driver.LogLine{}, err)
			return
		}
		if o.Follow {
			f.follow(ctx, id, o, yield)
			return
		}
		for _, replica := range replicas(seen, o.Service) {
			if !f.history(ctx, replica, o.Tail, yield) {
				return
			}
		}
	}
}

// replicas groups the containers of an observation by replica, oldest first.
func replicas(o agent.Observation, service string) [][]agent.Instance {
	var out [][]agent.Instance
	for _, i := range o.Instances {
		if service != "" && i.Service != service {
			continue
		}
		if n := len(out); n > 0 && out[n-1][0].Service == i.Service && out[n-1][0].Index == i.Index {
			out[n-1] = append(out[n-1], i)
			continue
		}
		out = append(out, []agent.Instance{i})
	}
	return out
}

// history yields the last lines of one replica; it reports whether to go on.
func (f *Fleet) history(ctx context.Context, is []agent.Instance, tail int, yield func(driver.LogLine, error) bool) bool {
	if tail < 0 {
		for _, i := range is {
			for line, err := range f.lines(ctx, i, runtime.LogOptions{Tail: -1}) {
				if !yield(line, err) || err != nil {
					return false
				}
			}
		}
		return ctx.Err() == nil
	}
	var kept []driver.LogLine
	for _, i := range slices.Backward(is) {
		var lines []driver.LogLine
		for line, err := range f.lines(ctx, i, runtime.LogOptions{Tail: tail - len(kept)}) {
			if err != nil {
				return yield(driver.LogLine{}, err)
			}
			lines = append(lines, line)
		}
		kept = append(lines, kept...)
	}
	for _, line := range kept {
		if !yield(line, nil) {
			return false
		}
	}
	return ctx.Err() == nil
}

// lines reads the log of a container. A container that has been removed
// meanwhile has no lines.
func (f *Fleet) lines(ctx context.Context, i agent.Instance, o runtime.LogOptions) iter.Seq2[driver.LogLine, error] {
	return func(yield func(driver.LogLine, error) bool) {
		for l, err := range f.cfg.Runtime.Logs(ctx, i.Name, o) {
			if errors.Is(err, runtime.ErrNotFound) || ctx.Err() != nil {
				return
			}
			line := driver.LogLine{Service: i.Service, Replica: i.Index, Time: l.Time, Stderr: l.Stderr, Text: l.Text}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// logEvent is a line or the failure of a stream.
type logEvent struct {
	line driver.LogLine
	err  error
}

// follower reads the logs of all containers of a lease, also of those that come
// later, each in a goroutine of its own.
type follower struct {
	fleet   *Fleet
	id      market.LeaseID
	options driver.LogOptions
	events  chan logEvent
	wg      sync.WaitGroup
	known   map[string]bool
}

// follow yields lines until the context ends or the lease is deleted.
func (f *Fleet) follow(ctx context.Context, id market.LeaseID, o driver.LogOptions, yield func(driver.LogLine, error) bool) {
	const buffered = 64
	w := &follower{fleet: f, id: id, options: o, events: make(chan logEvent, buffered), known: make(map[string]bool)}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.watch(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for {
		select {
		case e := <-w.events:
			if !yield(e.line, e.err) || e.err != nil {
				return
			}
		case <-ctx.Done():
			return
		case <-ended:
			for len(w.events) > 0 {
				if e := <-w.events; !yield(e.line, e.err) || e.err != nil {
					return
				}
			}
			return
		}
	}
}

// lastLines is how long readers may go on when the lease is gone.
const lastLines = 2 * time.Second

// watch reads new containers as they come, until the lease is gone or the
// context ends, and then waits for all readers.
func (w *follower) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer w.wg.Wait()
	defer func() { time.AfterFunc(lastLines, cancel) }()
	watch := w.fleet.hub.Watch()
	defer watch.Leave()
	for first := true; ; first = false {
		if _, held := w.fleet.record(w.id); !held {
			return
		}
		o, _ := w.fleet.agent.Observe(w.id)
		for _, replica := range replicas(o, w.options.Service) {
			w.begin(ctx, replica, first)
		}
		for {
			ids, ok := watch.Wait(ctx)
			if !ok {
				if ctx.Err() == nil {
					w.send(ctx, logEvent{err: driver.ErrClosed})
				}
				return
			}
			if slices.Contains(ids, w.id) {
				break
			}
		}
	}
}

// begin reads those containers of a replica that are not being read yet.
func (w *follower) begin(ctx context.Context, is []agent.Instance, first bool) {
	for n, i := range is {
		before := first && n < len(is)-1 && w.options.Tail >= 0
		if w.known[i.Name] {
			continue
		}
		if w.known[i.Name] = true; before {
			continue // what was before shows only in a full log
		}
		o := runtime.LogOptions{Follow: true, Tail: -1}
		if first {
			o.Tail = w.options.Tail
		}
		w.wg.Go(func() {
			for line, err := range w.fleet.lines(ctx, i, o) {
				if !w.send(ctx, logEvent{line, err}) {
					return
				}
			}
		})
	}
}

func (w *follower) send(ctx context.Context, e logEvent) bool {
	select {
	case w.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}
