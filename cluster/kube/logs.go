package kube

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
)

// Logs implements [driver.LogStreamer]. The log of a container that ended is
// read before that of the one that was started after it; the cluster keeps one.
// Unless Config.SplitLogs is set, all lines count as of standard output.
func (d *Driver) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return func(yield func(driver.LogLine, error) bool) {
		if err := d.check(ctx); err != nil {
			yield(driver.LogLine{}, err)
			return
		}
		if !d.hasService(id, o.Service) {
			yield(driver.LogLine{}, driver.ErrNotFound)
			return
		}
		if o.Follow {
			d.follow(ctx, id, o, yield)
			return
		}
		for _, r := range d.printing(id, o.Service) {
			lines, err := d.history(ctx, r, o.Tail)
			if err != nil && ctx.Err() == nil {
				yield(driver.LogLine{}, err)
				return
			}
			for _, l := range lines {
				if !yield(l, nil) {
					return
				}
			}
		}
		if err := ctx.Err(); err != nil {
			yield(driver.LogLine{}, err)
		}
	}
}

// hasService reports whether a lease has a service; "" is any.
func (d *Driver) hasService(id market.LeaseID, service string) bool {
	v, ok := d.view(id)
	if !ok || v.state == nil {
		return false
	}
	return service == "" || slices.ContainsFunc(v.state.Workload.Group.Services, func(s serviceOf) bool { return s.Name == service })
}

// source is a container whose log is read.
type source struct {
	replica
	service string
	// started names the container: it changes when another takes its place.
	started  string
	restarts int32
}

// printing lists the replicas of the newest revision that have a log.
func (d *Driver) printing(id market.LeaseID, service string) []source {
	v, ok := d.view(id)
	if !ok || v.state == nil {
		return nil
	}
	var out []source
	for _, s := range v.state.Workload.Group.Services {
		if service != "" && service != s.Name {
			continue
		}
		newest, _ := podsOf(v, s)
		for _, r := range newest {
			c := container(r.pod)
			if c == nil || r.index >= s.Count {
				continue
			}
			if c.ContainerID == "" && c.LastTerminationState.Terminated == nil {
				continue // it has never run
			}
			out = append(out, source{r, s.Name, c.ContainerID, c.RestartCount})
		}
	}
	return out
}

// history reads what a replica has printed so far, at most tail lines if that is
// not negative.
func (d *Driver) history(ctx context.Context, s source, tail int) ([]driver.LogLine, error) {
	if tail == 0 {
		return nil, nil
	}
	var all []driver.LogLine
	for _, previous := range []bool{true, false} {
		if previous && s.restarts == 0 {
			continue
		}
		var run []driver.LogLine
		for _, stream := range d.streams() {
			err := d.read(ctx, s, request{previous: previous, stream: stream, tail: tail}, func(l driver.LogLine) bool {
				run = append(run, l)
				if tail > 0 && len(run) > 2*tail+keepLines { // only the newest are wanted
					run = slices.Clone(run[len(run)-tail:])
				}
				return true
			})
			if err != nil && previous { // it may be gone
				d.log.DebugContext(ctx, "the log of the container before cannot be read", slog.String("pod", s.pod.Name), slog.Any("err", err))
			} else if err != nil {
				return nil, err
			}
		}
		slices.SortStableFunc(run, func(a, b driver.LogLine) int { return a.Time.Compare(b.Time) })
		all = append(all, run...)
	}
	if tail > 0 && len(all) > tail {
		all = all[len(all)-tail:]
	}
	return all, nil
}

// keepLines is how many lines are kept before old ones are dropped, beyond those
// that are wanted.
const keepLines = 1024

// streams are what is asked for one after the other; "" is both together.
func (d *Driver) streams() []string {
	if d.cfg.SplitLogs {
		return []string{corev1.LogStreamStdout, corev1.LogStreamStderr}
	}
	return []string{corev1.LogStreamAll}
}

// request says which part of a log is wanted.
type request struct {
	previous, follow bool
	stream           string
	tail             int
}

// read reads a log line by line until it ends or f returns false. A pod or a
// container that is gone has an empty log.
func (d *Driver) read(ctx context.Context, s source, r request, f func(driver.LogLine) bool) error {
	o := &corev1.PodLogOptions{Container: render.Container, Follow: r.follow, Previous: r.previous, Timestamps: true}
	if d.cfg.SplitLogs {
		o.Stream = &r.stream // and then the server takes no number of lines
	} else if r.tail > 0 {
		o.TailLines = new(int64(r.tail))
	} else if r.tail == 0 {
		o.TailLines = new(int64(0))
	}
	body, err := d.client.CoreV1().Pods(s.pod.Namespace).GetLogs(s.pod.Name, o).Stream(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) { // gone, or waiting to be started
			d.log.DebugContext(ctx, "there is no log", slog.String("pod", s.pod.Name), slog.Any("err", err))
			return nil
		}
		return explain("read log", err)
	}
	defer func() { _ = body.Close() }()
	in := bufio.NewReaderSize(body, driver.MaxLogLine)
	line := driver.LogLine{Service: s.service, Replica: s.index, Stderr: r.stream == corev1.LogStreamStderr}
	for {
		part, err := in.ReadSlice('\n')
		for text := range pieces(&line, string(part), !errors.Is(err, bufio.ErrBufferFull)) {
			if line.Time.IsZero() { // what the node says in place of a log that it cannot read
				d.log.DebugContext(ctx, "there is no log", slog.String("pod", s.pod.Name), slog.String("said", text))
				continue
			}
			line.Text = text
			if !f(line) {
				return nil
			}
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return explain("read log", err)
		}
	}
}

// pieces takes the time off the front of a line and cuts the rest into lines of
// at most MaxLogLine bytes. A part that begins with no time goes on a line that
// was too long to be read at once.
func pieces(line *driver.LogLine, part string, ends bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		if part == "" {
			return
		}
		if ends {
			part = strings.TrimSuffix(part, "\n")
		}
		if stamp, rest, ok := strings.Cut(part, " "); ok {
			if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
				line.Time, part = at, rest
			}
		}
		part = strings.TrimSuffix(part, "\r")
		for len(part) > driver.MaxLogLine {
			if !yield(part[:driver.MaxLogLine]) {
				return
			}
			part = part[driver.MaxLogLine:]
		}
		yield(part)
	}
}

// follower reads the logs of all replicas of a lease at once.
type follower struct {
	d     *Driver
	id    market.LeaseID
	o     driver.LogOptions
	lines chan driver.LogLine
	wg    sync.WaitGroup

	mu      sync.Mutex      // guards all below
	reading map[string]bool // containers, and pods
}

// follow yields lines until the context ends or the workload is deleted.
func (d *Driver) follow(ctx context.Context, id market.LeaseID, o driver.LogOptions, yield func(driver.LogLine, error) bool) {
	outer := ctx
	ctx, cancel := d.bound(ctx)
	watch := d.hub.Watch()
	f := &follower{d: d, id: id, o: o, lines: make(chan driver.LogLine), reading: make(map[string]bool)}
	defer func() {
		cancel()
		watch.Leave()
		f.wg.Wait()
	}()
	ended := make(chan error, 1)
	f.wg.Go(func() { ended <- f.run(ctx, watch.Wait) })
	for {
		select {
		case l := <-f.lines:
			if !yield(l, nil) {
				return
			}
		case err := <-ended:
			if err != nil && outer.Err() == nil {
				yield(driver.LogLine{}, err)
			}
			return
		}
	}
}

// run opens the log of every container that is there or comes, until the
// workload is deleted.
func (f *follower) run(ctx context.Context, wait func(context.Context) ([]market.LeaseID, bool)) error {
	first := f.o.Tail
	for {
		if !f.d.hasService(f.id, f.o.Service) || f.d.isLeaving(f.id) {
			return nil
		}
		for _, s := range f.d.printing(f.id, f.o.Service) {
			f.open(ctx, s, first)
		}
		first = -1 // what comes later is read from its beginning
		for {
			ids, ok := wait(ctx)
			if !ok {
				return f.end(ctx)
			}
			if slices.Contains(ids, f.id) {
				break
			}
		}
	}
}

// end says why a follower ends before its workload does.
func (f *follower) end(ctx context.Context) error {
	select {
	case <-f.d.closed:
		return driver.ErrClosed
	default:
		return context.Cause(ctx)
	}
}

// open begins to read a container, once.
func (f *follower) open(ctx context.Context, s source, tail int) {
	key := s.pod.Name + " " + s.started
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.started == "" || f.reading[key] {
		return
	}
	if f.reading[s.pod.Name] {
		s.restarts = 0 // what was before has been read
	}
	f.reading[key], f.reading[s.pod.Name] = true, true
	streams := f.d.streams()
	give := func(l driver.LogLine) bool {
		select {
		case f.lines <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	f.wg.Go(func() {
		skip := f.before(ctx, s, tail, give)
		for _, stream := range streams {
			f.wg.Go(func() { f.stream(ctx, s, stream, tail, skip, give) })
		}
	})
}

// before gives what was printed before a follower came, as far as it is wanted
// and the server cannot choose it: then the streams begin after that time.
func (f *follower) before(ctx context.Context, s source, tail int, give func(driver.LogLine) bool) time.Time {
	if tail < 0 && s.restarts == 0 || !f.d.cfg.SplitLogs && s.restarts == 0 {
		return time.Time{}
	}
	lines, err := f.d.history(ctx, s, cmp.Or(tail, 1))
	if err != nil || len(lines) == 0 {
		return time.Time{}
	}
	last := lines[len(lines)-1].Time
	if tail != 0 {
		for _, l := range lines {
			if !give(l) {
				break
			}
		}
	}
	return last
}

// stream follows one stream of a container to its end.
func (f *follower) stream(ctx context.Context, s source, stream string, tail int, skip time.Time, give func(driver.LogLine) bool) {
	r := request{follow: true, stream: stream, tail: tail}
	if !skip.IsZero() {
		r.tail = -1
	}
	for {
		err := f.d.read(ctx, s, r, func(l driver.LogLine) bool {
			if !l.Time.After(skip) && !skip.IsZero() {
				return true
			}
			skip = l.Time
			return give(l)
		})
		var passing *driver.TransientError
		if !errors.As(err, &passing) || ctx.Err() != nil {
			return
		}
		r.tail = -1 // the connection broke: go on after the last line
		t := time.NewTimer(time.Second)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// isLeaving reports whether a lease is being deleted.
func (d *Driver) isLeaving(id market.LeaseID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec := d.records[id]
	return rec == nil || rec.leaving
}
