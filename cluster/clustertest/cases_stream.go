package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

func watchCases() []Case {
	needs := []Ability{Watch}
	return []Case{
		{Name: "watch starts with all", Clause: "Watch starts with every lease of List.", Needs: needs, Check: watchStarts},
		{Name: "watch tells changes", Clause: "Watch may yield too often, never too rarely.", Needs: needs, Check: watchTells},
		{Name: "watch ends with its context", Clause: "Watch goes on until the context ends (then without error).", Needs: needs, Check: watchEnds},
	}
}

func (e *Env) watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	return e.Driver.(driver.Watcher).Watch(ctx)
}

func watchStarts(ctx context.Context, e *Env) error {
	for n := 1; n <= 3; n++ {
		if _, err := e.apply(ctx, e.web(n, 1, "hi")); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	seen := make(map[market.LeaseID]bool)
	for id, err := range e.watch(ctx) {
		if err != nil {
			return err
		}
		if seen[id] = true; len(seen) == 3 {
			return nil
		}
	}
	return fmt.Errorf("only %d of 3 leases were named", len(seen))
}

func watchTells(ctx context.Context, e *Env) error {
	ctx, cancel := context.WithTimeout(ctx, 3*e.Patience)
	defer cancel()
	errs := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	steps := make(chan func() error, 1)
	wg.Go(func() {
		for step := range steps {
			if err := step(); err != nil {
				errs <- err
				cancel()
			}
		}
	})
	defer close(steps)
	steps <- func() error { return e.Driver.Apply(ctx, e.web(1, 1, "one")) }
	stage := 0
	for id, err := range e.watch(ctx) {
		if err != nil {
			return err
		}
		if id != lease(1) {
			continue
		}
		s, err := e.Driver.Status(ctx, lease(1))
		switch {
		case stage == 0 && err == nil && s.State == driver.Ready:
			stage = 1
			steps <- func() error { return e.Driver.Apply(ctx, e.web(1, 2, "two")) }
		case stage == 1 && err == nil && s.State == driver.Ready && s.Revision == 2:
			stage = 2
			steps <- func() error { return e.Driver.Delete(ctx, lease(1)) }
		case stage == 2 && errors.Is(err, driver.ErrNotFound):
			return nil
		}
	}
	select {
	case err := <-errs:
		return err
	default:
	}
	return fmt.Errorf("the watch missed the change to %q", []string{"ready", "updated", "deleted"}[stage])
}

func watchEnds(ctx context.Context, e *Env) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := time.AfterFunc(50*time.Millisecond, cancel)
	defer t.Stop()
	return e.bounded(func() error {
		for _, err := range e.watch(ctx) {
			if err != nil {
				return fmt.Errorf("the watch ended with %w", err)
			}
		}
		return nil
	})
}

// bounded fails when f does not return within the patience.
func (e *Env) bounded(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	t := time.NewTimer(e.Patience)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return fmt.Errorf("does not end within %s", e.Patience)
	}
}

func logCases() []Case {
	needs := []Ability{Logs}
	return []Case{
		{Name: "logs", Clause: "Logs yields lines, oldest first per replica.", Needs: needs, Check: logLines},
		{Name: "logs of absent", Clause: "Logs: ErrNotFound as in Status.", Needs: needs, Check: logsAbsent},
		{Name: "logs tail", Clause: "Tail is how many of the newest lines per replica to begin with.", Needs: needs, Check: logsTail},
		{Name: "logs follow an update", Clause: "With Follow it goes on until the context ends or the workload is deleted.", Needs: needs, Check: logsFollow},
		{Name: "logs end at delete", Clause: "With Follow it goes on until the workload is deleted.", Needs: needs, Check: logsEndAtDelete},
		{Name: "logs end with their context", Clause: "With Follow it goes on until the context ends.", Needs: needs, Check: logsEndWithContext},
	}
}

func (e *Env) logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return e.Driver.(driver.LogStreamer).Logs(ctx, id, o)
}

// collect reads a log that ends.
func (e *Env) collect(ctx context.Context, id market.LeaseID, o driver.LogOptions) (lines []driver.LogLine, err error) {
	for l, err := range e.logs(ctx, id, o) {
		if err != nil {
			return lines, err
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func logLines(ctx context.Context, e *Env) error {
	w := e.workload(1, 1, replicas(e.service("a", "from a"), 2), e.service("b", "from b"))
	w.Group.Services[0].Env = append(w.Group.Services[0].Env, "LINES=20")
	if _, err := e.apply(ctx, w); err != nil {
		return err
	}
	return e.soon(ctx, func() error {
		lines, err := e.collect(ctx, lease(1), driver.LogOptions{Tail: -1})
		if err != nil {
			return err
		}
		return first(
			func() error { return inOrder(lines, "a", 0) },
			func() error { return inOrder(lines, "a", 1) },
			func() error { return oneService(ctx, e) },
		)
	})
}

// inOrder checks the log of a replica that prints 20 lines.
func inOrder(lines []driver.LogLine, service string, index uint32) error {
	var texts []string
	warned := false
	for _, l := range lines {
		if l.Service != service || l.Replica != index {
			continue
		}
		if l.Time.IsZero() {
			return errors.New("a line has no time")
		}
		if l.Stderr != (l.Text == guest.Warning) {
			return fmt.Errorf("line %q is marked stderr %t", l.Text, l.Stderr)
		}
		if warned = warned || l.Stderr; !l.Stderr {
			texts = append(texts, l.Text)
		}
	}
	want := []string{guest.Hello + " from a"}
	for i := range 20 {
		want = append(want, fmt.Sprint("line ", i))
	}
	if !slices.Equal(texts, want) || !warned {
		return fmt.Errorf("replica %d of %s printed %q, want %q", index, service, texts, want)
	}
	return nil
}

func oneService(ctx context.Context, e *Env) error {
	lines, err := e.collect(ctx, lease(1), driver.LogOptions{Service: "b", Tail: -1})
	if err != nil {
		return err
	}
	for _, l := range lines {
		if l.Service != "b" {
			return fmt.Errorf("asked for service b, got a line of %s", l.Service)
		}
	}
	if len(lines) == 0 {
		return errors.New("service b has no lines")
	}
	return nil
}

func logsAbsent(ctx context.Context, e *Env) error {
	_, err := e.collect(ctx, lease(1), driver.LogOptions{Tail: -1})
	if err := is("logs of a lease that never was", err, driver.ErrNotFound); err != nil {
		return err
	}
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	_, err = e.collect(ctx, lease(1), driver.LogOptions{Service: "other", Tail: -1})
	return is("logs of a service that does not exist", err, driver.ErrNotFound)
}

func logsTail(ctx context.Context, e *Env) error {
	w := e.web(1, 1, "hi")
	w.Group.Services[0].Env = append(w.Group.Services[0].Env, "LINES=20", "QUIET=1")
	if _, err := e.apply(ctx, w); err != nil {
		return err
	}
	err := e.soon(ctx, func() error {
		lines, err := e.collect(ctx, lease(1), driver.LogOptions{Tail: 3})
		if err != nil {
			return err
		}
		var texts []string
		for _, l := range lines {
			texts = append(texts, l.Text)
		}
		if !slices.Equal(texts, []string{"line 17", "line 18", "line 19"}) {
			return fmt.Errorf("the last 3 lines are %q", texts)
		}
		return nil
	})
	if err != nil {
		return err
	}
	lines, err := e.collect(ctx, lease(1), driver.LogOptions{Tail: 0})
	if err == nil && len(lines) != 0 {
		err = fmt.Errorf("a tail of 0 has %d lines", len(lines))
	}
	return err
}

// followed reads a log in the background.
type followed struct {
	mu    sync.Mutex
	texts []string
	err   error
	done  chan struct{}
}

func (e *Env) follow(ctx context.Context, o driver.LogOptions) *followed {
	f := &followed{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for l, err := range e.logs(ctx, lease(1), o) {
			f.mu.Lock()
			f.texts, f.err = append(f.texts, l.Text), err
			f.mu.Unlock()
		}
	}()
	return f
}

func (f *followed) has(text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, t := range f.texts {
		if t == text {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("line %q was read %d times; all lines: %q", text, n, f.texts)
	}
	return nil
}

// ended waits until the stream has ended, and checks that it did without error.
func (f *followed) ended(e *Env) error {
	return e.bounded(func() error {
		<-f.done
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err != nil {
			return fmt.Errorf("the stream ended with %w", f.err)
		}
		return nil
	})
}

func logsFollow(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "one")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := e.follow(ctx, driver.LogOptions{Follow: true, Tail: -1})
	defer func() { <-f.done }()
	defer cancel()
	if err := e.soon(ctx, func() error { return f.has(guest.Hello + " one") }); err != nil {
		return err
	}
	if _, err := e.apply(ctx, e.web(1, 2, "two")); err != nil {
		return err
	}
	if err := e.soon(ctx, func() error { return f.has(guest.Hello + " two") }); err != nil {
		return err
	}
	return f.has(guest.Hello + " one")
}

func logsEndAtDelete(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := e.follow(ctx, driver.LogOptions{Follow: true, Tail: -1})
	if err := e.soon(ctx, func() error { return f.has(guest.Hello + " hi") }); err != nil {
		return err
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	return f.ended(e)
}

func logsEndWithContext(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := e.follow(ctx, driver.LogOptions{Follow: true, Tail: -1})
	if err := e.soon(ctx, func() error { return f.has(guest.Hello + " hi") }); err != nil {
		return err
	}
	cancel()
	return f.ended(e)
}

func execCases() []Case {
	needs := []Ability{Exec}
	return []Case{
		{Name: "exec exit code", Clause: "Exec runs the command and returns its exit code.", Needs: needs, Check: execCode},
		{Name: "exec streams", Clause: "Stdin may be nil for none; Stdout and Stderr nil discard.", Needs: needs, Check: execStreams},
		{Name: "exec of absent", Clause: "ErrNotFound means the cluster has nothing for that lease, service or replica.", Needs: needs, Check: execAbsent},
		{Name: "exec chooses the replica", Clause: "Exec is a command to run in a replica that is running.", Needs: needs, Check: execReplica},
		{Name: "exec ends with its context", Clause: "When the context ends the command is killed.", Needs: needs, Check: execEnds},
	}
}

func execCode(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	for _, want := range []int{0, 1, 7, 255} {
		_, code, err := e.run(ctx, lease(1), "web", "exit", fmt.Sprint(want))
		if err != nil || code != want {
			return fmt.Errorf("exit %d: got code %d, error %w", want, code, err)
		}
	}
	return e.greeting(ctx, lease(1), "web", "hi")
}

func execStreams(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	x := e.Driver.(driver.Execer)
	command := func(args ...string) []string { return append(slices.Clone(e.Guest), args...) }
	text := strings.Repeat("0123456789\n", 10_000)
	var out, errs bytes.Buffer
	code, err := x.Exec(ctx, lease(1), driver.Exec{
		Service: "web", Command: command("cat"), Stdin: strings.NewReader(text), Stdout: &out, Stderr: &errs,
	})
	if err != nil || code != 0 || out.String() != text || errs.Len() != 0 {
		return fmt.Errorf("cat of %d bytes gave %d and %q, code %d, error %w", len(text), out.Len(), errs.String(), code, err)
	}
	out.Reset()
	code, err = x.Exec(ctx, lease(1), driver.Exec{Service: "web", Command: command("err", "oops"), Stdout: &out, Stderr: &errs})
	if err != nil || code != 0 || out.Len() != 0 || errs.String() != "oops\n" {
		return fmt.Errorf("err gave %q and %q, code %d, error %w", out.String(), errs.String(), code, err)
	}
	code, err = x.Exec(ctx, lease(1), driver.Exec{Service: "web", Command: command("cat")})
	if err != nil || code != 0 {
		return fmt.Errorf("cat without streams: code %d, error %w", code, err)
	}
	return nil
}

func execAbsent(ctx context.Context, e *Env) error {
	_, _, err := e.run(ctx, lease(1), "web", "exit", "0")
	if err := is("exec in a lease that never was", err, driver.ErrNotFound); err != nil {
		return err
	}
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	_, _, err = e.run(ctx, lease(1), "other", "exit", "0")
	if err := is("exec in a service that does not exist", err, driver.ErrNotFound); err != nil {
		return err
	}
	_, err = e.Driver.(driver.Execer).Exec(ctx, lease(1), driver.Exec{
		Service: "web", Replica: 5, Command: append(slices.Clone(e.Guest), "exit", "0"), Stdout: io.Discard,
	})
	return is("exec in a replica that does not exist", err, driver.ErrNotFound)
}

func execReplica(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.workload(1, 1, e.service("a", "this is a"), e.service("b", "this is b"))); err != nil {
		return err
	}
	return first(
		func() error { return e.greeting(ctx, lease(1), "a", "this is a") },
		func() error { return e.greeting(ctx, lease(1), "b", "this is b") },
	)
}

func execEnds(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	err := e.bounded(func() error {
		_, _, err := e.run(short, lease(1), "web", "hang")
		if err == nil {
			return errors.New("a command that never ends returned without error")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.greeting(ctx, lease(1), "web", "hi")
}
