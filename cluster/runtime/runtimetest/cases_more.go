package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

func stateCases() []Case {
	return []Case{
		{"an absent container", "Inspect, Logs and Exec of an absent container are ErrNotFound.", 0, absent},
		{"the list", "List reports every container, sorted by name.", 0, list},
		{"watching", "Watch yields a container's name when it starts and when it ends.", 0, watch},
		{"watching ends", "Watch ends with its context, without error.", 0, watchEnds},
		{"closing", "After Close calls fail and containers go on; a second Close does nothing.", Reopening, closing},
		{"reopening", "Containers, their addresses, names and logs are found after a restart.", Reopening, reopening},
		{"an end while nobody looked", "The exit code of a container that ended during a restart is known.", Reopening, endUnseen},
		{"volumes", "A volume keeps its content until RemoveVolume.", Volumes, volumes},
	}
}

func absent(ctx context.Context, e *Env) error {
	_, err := e.Inspect(ctx, "absent")
	if err := want(runtime.ErrNotFound, err, "inspect"); err != nil {
		return err
	}
	_, err = e.lines(ctx, "absent", runtime.LogOptions{Follow: true, Tail: -1})
	if err := want(runtime.ErrNotFound, err, "logs"); err != nil {
		return err
	}
	_, err = e.Exec(ctx, "absent", runtime.Exec{Command: e.command("exit", "0")})
	return want(runtime.ErrNotFound, err, "exec")
}

func list(ctx context.Context, e *Env) error {
	for _, name := range []string{"c", "a", "b"} {
		if _, err := e.run(ctx, name, "exit", "0"); err != nil {
			return err
		}
	}
	got, err := e.List(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range got {
		names = append(names, c.Name)
	}
	return expect(slices.Equal(names, []string{"a", "b", "c"}), "got %v, want [a b c]", names)
}

func watch(ctx context.Context, e *Env) error {
	image, err := e.image(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	changes := e.Watch(ctx)
	if _, err := e.Start(ctx, runtime.Spec{Name: "a", Image: image, Args: []string{"wait"}}); err != nil {
		return err
	}
	stopping := false
	for name, err := range changes {
		if err != nil {
			return err
		}
		c, err := e.Inspect(ctx, "a")
		if err != nil {
			return err
		}
		switch {
		case name == "a" && c.State == runtime.Exited:
			return nil
		case name == "a" && !stopping:
			stopping = true
			if err := e.line(ctx, "a", "ready"); err != nil {
				return err
			}
			if err := e.Stop(ctx, "a", Patience); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("the watch ended; start was seen: %t, end was not", stopping)
}

func watchEnds(ctx context.Context, e *Env) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range e.Watch(ctx) {
		if err != nil {
			return fmt.Errorf("an error at the end: %w", err)
		}
	}
	return nil
}

// reopen restarts the runtime.
func (e *Env) reopen(ctx context.Context) error {
	rt, err := e.h.Reopen(ctx, e.Runtime)
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	e.Runtime = rt
	return nil
}

func closing(ctx context.Context, e *Env) error {
	before, err := e.run(ctx, "a", "wait")
	if err != nil {
		return err
	}
	old := e.Runtime
	for range 2 {
		if err := old.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	_, listErr := old.List(ctx)
	_, startErr := old.Start(ctx, runtime.Spec{Name: "b", Image: before.Image})
	if err := e.reopen(ctx); err != nil {
		return err
	}
	after, err := e.Inspect(ctx, "a")
	if err != nil {
		return err
	}
	return first(
		func() error { return expect(listErr != nil && startErr != nil, "a closed runtime still works") },
		func() error {
			return expect(after.State == runtime.Running && after.PID == before.PID, "got %+v", after)
		},
	)
}

func reopening(ctx context.Context, e *Env) error {
	if _, err := e.network(ctx, "lan"); err != nil {
		return err
	}
	a, err := e.runSpec(ctx, runtime.Spec{Name: "a", Network: "lan", Args: []string{"serve", "80", "hello"}, Labels: map[string]string{"k": "v"}})
	if err != nil {
		return err
	}
	if err := e.line(ctx, "a", "ready"); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	c, err := e.Inspect(ctx, "a")
	if err != nil {
		return err
	}
	if c.State != runtime.Running || c.Address != a.Address || c.Labels["k"] != "v" || c.PID != a.PID || c.Network != "lan" {
		return fmt.Errorf("got %+v, want %+v", c, a)
	}
	b, err := e.runSpec(ctx, runtime.Spec{Name: "b", Network: "lan"})
	if err != nil {
		return err
	}
	return first(
		func() error { return expect(b.Address != a.Address, "an address was given twice") },
		func() error { return e.line(ctx, "a", "ready") },
		func() error { return e.says(ctx, "b", "hello\n", "fetch", a.Address.String(), "80") },
		func() error { return e.Stop(ctx, "a", Patience) },
	)
}

func endUnseen(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "exit", "9"); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	c, err := e.ended(ctx, "a")
	if err != nil {
		return err
	}
	return expect(c.ExitCode == 9, "exit code: got %d, want 9", c.ExitCode)
}

func volumes(ctx context.Context, e *Env) error {
	keeper, ok := e.Runtime.(runtime.VolumeRemover)
	if !ok {
		return errors.New("claims volumes and is no runtime.VolumeRemover")
	}
	spec := runtime.Spec{Name: "a", Mounts: []runtime.Mount{{Target: "/data", Volume: "v"}}}
	if _, err := e.runSpec(ctx, spec); err != nil {
		return err
	}
	if err := e.says(ctx, "a", "", "write", "/data/x", "kept"); err != nil {
		return err
	}
	if err := e.Remove(ctx, "a"); err != nil {
		return err
	}
	got, err := keeper.Volumes(ctx)
	if err != nil || !slices.Equal(got, []string{"v"}) {
		return fmt.Errorf("volumes: got %v, %w", got, err)
	}
	if _, err := e.runSpec(ctx, spec); err != nil {
		return err
	}
	return first(
		func() error { return e.says(ctx, "a", "kept", "cat", "/data/x") },
		func() error { return e.Remove(ctx, "a") },
		func() error { return keeper.RemoveVolume(ctx, "v") },
		func() error { return keeper.RemoveVolume(ctx, "v") },
		func() error {
			left, err := keeper.Volumes(ctx)
			return errors.Join(err, expect(len(left) == 0, "volumes left: %v", left))
		},
	)
}

func streamCases() []Case {
	return []Case{
		{"logs", "Logs yields all lines in order; Tail the newest.", 0, logs},
		{"streams in logs", "Logs tell standard error from standard output.", StdStreams, logStreams},
		{"following logs", "With Follow, Logs yields what comes and ends when the container has ended.", 0, follow},
		{"following ends", "Following ends with its context.", 0, followEnds},
		{"bounded logs", "Logs are bounded and keep the newest.", 0, boundedLogs},
		{"exec", "Exec carries input and output and gives the exit code.", 0, execute},
		{"exec of nothing", "Exec of no command is ErrInvalid.", 0, execNothing},
		{"exec in an ended container", "Exec in an ended container is ErrNotRunning.", 0, execEnded},
		{"exec ends with its context", "When the context ends, Exec returns its error.", 0, execCancelled},
		{"a terminal", "Exec with TTY has a terminal that follows Resize.", Terminals, terminal},
	}
}

func logs(ctx context.Context, e *Env) error {
	const n = 500
	if _, err := e.run(ctx, "a", "print", strconv.Itoa(n), "text"); err != nil {
		return err
	}
	if _, err := e.ended(ctx, "a"); err != nil {
		return err
	}
	for _, tail := range []int{-1, 3, 0, 10 * n} {
		got, err := e.lines(ctx, "a", runtime.LogOptions{Tail: tail})
		if err != nil {
			return err
		}
		count := n
		if tail >= 0 {
			count = min(n, tail)
		}
		if len(got) != count {
			return fmt.Errorf("tail %d: got %d lines, want %d", tail, len(got), count)
		}
		for i, l := range got {
			if text := fmt.Sprintf("%d text", n-count+i); l.Text != text || l.Time.IsZero() || l.Stderr {
				return fmt.Errorf("tail %d: line %d: got %+v, want %q", tail, i, l, text)
			}
		}
	}
	return nil
}

func logStreams(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "mixed"); err != nil {
		return err
	}
	if _, err := e.ended(ctx, "a"); err != nil {
		return err
	}
	got, err := e.lines(ctx, "a", runtime.LogOptions{Tail: -1})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, l := range got {
		seen[fmt.Sprint(l.Stderr, " ", l.Text)] = true
	}
	return expect(len(got) == 2 && seen["false to stdout"] && seen["true to stderr"], "got %v", got)
}

func follow(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var got []string
	for l, err := range e.Logs(ctx, "a", runtime.LogOptions{Follow: true, Tail: -1}) {
		if err != nil {
			return err
		}
		got = append(got, l.Text)
		if err := e.Stop(ctx, "a", Patience); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return errors.New("following did not end with the container")
	}
	return expect(slices.Equal(got, []string{"ready"}), "got %q, want [ready]", got)
}

func followEnds(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, err := range e.Logs(ctx, "a", runtime.LogOptions{Follow: true, Tail: -1}) {
		if err != nil {
			return fmt.Errorf("an error at the end: %w", err)
		}
		cancel()
	}
	return nil
}

func boundedLogs(ctx context.Context, e *Env) error {
	const bound, n = 256 << 10, 20000
	_, err := e.runSpec(ctx, runtime.Spec{
		Name: "a", Args: []string{"print", strconv.Itoa(n), strings.Repeat("x", 60)}, Resources: runtime.Resources{LogBytes: bound},
	})
	if err != nil {
		return err
	}
	if _, err := e.ended(ctx, "a"); err != nil {
		return err
	}
	got, err := e.lines(ctx, "a", runtime.LogOptions{Tail: -1})
	if err != nil {
		return err
	}
	total := 0
	for _, l := range got {
		total += len(l.Text)
	}
	if total > bound || len(got) == 0 { // how much less is the runtime's affair
		return fmt.Errorf("%d bytes kept of a bound of %d", total, bound)
	}
	return expect(strings.HasPrefix(got[len(got)-1].Text, fmt.Sprint(n-1, " ")), "the newest line is not kept")
}

func execute(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return err
	}
	var out, errs bytes.Buffer
	input := strings.Repeat("over a pipe's size ", 20000)
	code, err := e.Exec(ctx, "a", runtime.Exec{
		Command: e.command("echo", "to stderr"), Stdin: strings.NewReader(input), Stdout: &out, Stderr: &errs,
	})
	if err != nil {
		return err
	}
	if code != 0 || out.String() != input || errs.String() != "to stderr" {
		return fmt.Errorf("code %d, %d of %d bytes came back, stderr %q", code, out.Len(), len(input), errs.String())
	}
	code, err = e.Exec(ctx, "a", runtime.Exec{Command: e.command("exit", "42")})
	if err != nil || code != 42 {
		return fmt.Errorf("exit code: got %d, %w; want 42", code, err)
	}
	out.Reset()
	code, err = e.Exec(ctx, "a", runtime.Exec{Command: e.command("env", "X"), Env: []string{"X=y"}, Stdout: &out})
	return errors.Join(err, expect(code == 0 && out.String() == "y\n", "environment: got code %d, %q", code, out.String()))
}

func execNothing(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return err
	}
	_, err := e.Exec(ctx, "a", runtime.Exec{})
	return want(runtime.ErrInvalid, err, "exec")
}

func execEnded(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "exit", "0"); err != nil {
		return err
	}
	if _, err := e.ended(ctx, "a"); err != nil {
		return err
	}
	_, err := e.Exec(ctx, "a", runtime.Exec{Command: e.command("exit", "0")})
	return want(runtime.ErrNotRunning, err, "exec")
}

// ready calls on once when something is written.
type ready struct{ on func() }

func (r *ready) Write(p []byte) (int, error) {
	if r.on != nil {
		r.on()
		r.on = nil
	}
	return len(p), nil
}

func execCancelled(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return err
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err := e.Exec(short, "a", runtime.Exec{Command: e.command("stubborn"), Stdout: &ready{on: cancel}})
	if err := want(context.Canceled, err, "exec"); err != nil {
		return err
	}
	c, err := e.Inspect(ctx, "a")
	return errors.Join(err, expect(c.State == runtime.Running, "the container ended with the command"))
}

func terminal(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return err
	}
	sizes := make(chan runtime.TerminalSize, 2)
	sizes <- runtime.TerminalSize{Width: 80, Height: 24}
	var out bytes.Buffer
	code, err := e.Exec(ctx, "a", runtime.Exec{
		Command: e.command("sizes", "132"), TTY: true, Resize: sizes,
		Stdout: io.MultiWriter(&out, &ready{on: func() { sizes <- runtime.TerminalSize{Width: 132, Height: 43} }}),
	})
	if err != nil {
		return err
	}
	got := strings.ReplaceAll(out.String(), "\r\n", "\n")
	return expect(code == 0 && strings.HasSuffix(got, "132x43\n"), "got code %d, %q", code, got)
}
