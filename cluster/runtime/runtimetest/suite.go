// Package runtimetest is the conformance suite of runtime.Runtime, for authors of
// container runtimes. Start from [Run]:
//
//	func TestConformance(t *testing.T) {
//		runtimetest.Run(t, runtimetest.Harness{New: newRuntime, Image: reference})
//	}
//
// Each [Case] checks one clause of the contract and returns an error that says
// what was promised and what was seen; so the suite itself is tested against
// runtimes that break one promise each. Containers run the program of package
// guest, which [GuestImage] puts into an image and [Registry] serves.
package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// Patience bounds how long a case waits for something that should happen.
const Patience = 20 * time.Second

// Ability is something that only some runtimes have.
type Ability uint16

// Abilities.
const (
	// Reopening: Harness.Reopen is set.
	Reopening Ability = 1 << iota
	// Walls: containers of different networks cannot reach one another.
	Walls
	// Terminals: Exec with TTY and Resize.
	Terminals
	// Credentials: Harness.Private is set.
	Credentials
	// Volumes: the runtime is a runtime.VolumeRemover with real folders.
	Volumes
	// MemoryLimits: a container over its memory ends with the reason "out of memory".
	MemoryLimits
	// StdStreams: Logs tell standard error from standard output.
	StdStreams
)

// String names the abilities.
func (a Ability) String() string {
	names := []string{"reopening", "walls", "terminals", "credentials", "volumes", "memory limits", "streams"}
	var out []string
	for i, n := range names {
		if a&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ", ")
}

// Harness connects the suite to a runtime.
type Harness struct {
	// New makes an empty runtime. The suite removes what it makes and closes it.
	New func(ctx context.Context) (runtime.Runtime, error)
	// Reopen kills or closes a runtime and opens another on the same state, as a
	// restart does.
	Reopen func(ctx context.Context, old runtime.Runtime) (runtime.Runtime, error)
	// Image refers to the image of [GuestImage] or one that behaves the same.
	Image string
	// Private refers to one that needs Credentials.
	Private     string
	Credentials runtime.Credentials
	// Claims are the runtime's abilities; a claimed one that fails is an error, one
	// not claimed is skipped by name.
	Claims Ability
	// Entrypoint is the guest's path in exec commands, default "/guest".
	Entrypoint string
	// Around, if set, runs each case, for instance in a testing/synctest bubble.
	Around func(t *testing.T, run func(t *testing.T))
}

// Case checks one clause.
type Case struct {
	Name string
	// Clause is the promise in one sentence.
	Clause string
	Needs  Ability
	Check  func(ctx context.Context, e *Env) error
}

// Run checks every case against a fresh runtime, each as a subtest.
func Run(t *testing.T, h Harness) {
	t.Helper()
	around := h.Around
	if around == nil {
		around = func(t *testing.T, run func(t *testing.T)) { t.Helper(); run(t) }
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if missing := c.Needs &^ h.Claims; missing != 0 {
				t.Skipf("the runtime does not claim: %s", missing)
			}
			around(t, func(t *testing.T) {
				t.Helper()
				if err := h.Check(t.Context(), c); err != nil {
					t.Errorf("%s\n%v", c.Clause, err)
				}
			})
		})
	}
}

// Check runs one case against a fresh runtime and cleans up.
func (h Harness) Check(ctx context.Context, c Case) error {
	if h.Entrypoint == "" {
		h.Entrypoint = "/guest"
	}
	rt, err := h.New(ctx)
	if err != nil {
		return fmt.Errorf("new runtime: %w", err)
	}
	e := &Env{Runtime: rt, h: h}
	ctx, cancel := context.WithTimeout(ctx, 3*Patience)
	defer cancel()
	err = c.Check(ctx, e)
	return errors.Join(err, e.clean(context.WithoutCancel(ctx)))
}

// Env is what a case works with.
type Env struct {
	runtime.Runtime
	h        Harness
	closed   bool
	networks []string
}

// clean removes containers and networks, through a new handle if need be.
func (e *Env) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if e.closed {
		return nil // the case closed it on purpose and left nothing
	}
	list, err := e.List(ctx)
	errs := []error{err}
	for _, c := range list {
		errs = append(errs, e.Remove(ctx, c.Name))
	}
	for _, n := range e.networks {
		errs = append(errs, e.DeleteNetwork(ctx, n))
	}
	errs = append(errs, e.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// image pulls the guest.
func (e *Env) image(ctx context.Context) (string, error) {
	im, err := e.Pull(ctx, runtime.PullRequest{Reference: e.h.Image})
	if err != nil {
		return "", fmt.Errorf("pull %s: %w", e.h.Image, err)
	}
	return im.Digest, nil
}

// network makes one that clean removes.
func (e *Env) network(ctx context.Context, name string) (runtime.Network, error) {
	n, err := e.EnsureNetwork(ctx, name)
	if err != nil {
		return n, fmt.Errorf("network %s: %w", name, err)
	}
	e.networks = append(e.networks, name)
	return n, nil
}

// run starts the guest with a command.
func (e *Env) run(ctx context.Context, name string, args ...string) (runtime.Container, error) {
	return e.runSpec(ctx, runtime.Spec{Name: name, Args: args})
}

func (e *Env) runSpec(ctx context.Context, spec runtime.Spec) (runtime.Container, error) {
	var err error
	if spec.Image == "" {
		if spec.Image, err = e.image(ctx); err != nil {
			return runtime.Container{}, err
		}
	}
	c, err := e.Start(ctx, spec)
	if err != nil {
		return c, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return c, nil
}

// guest executes a guest command in a container.
func (e *Env) guest(ctx context.Context, name string, args ...string) (code int, out string, err error) {
	var b, errs bytes.Buffer
	code, err = e.Exec(ctx, name, runtime.Exec{Command: e.command(args...), Stdout: &b, Stderr: &errs})
	if err != nil {
		return code, "", fmt.Errorf("exec %q in %s: %w", args, name, err)
	}
	return code, b.String(), nil
}

func (e *Env) command(args ...string) []string { return append([]string{e.h.Entrypoint}, args...) }

// says expects a guest command to succeed with that output.
func (e *Env) says(ctx context.Context, name, want string, args ...string) error {
	code, out, err := e.guest(ctx, name, args...)
	if err != nil {
		return err
	}
	if code != 0 || out != want {
		return fmt.Errorf("%q in %s: got exit code %d and %q, want 0 and %q", args, name, code, out, want)
	}
	return nil
}

// ended waits until a container has.
//
//nolint:unparam // a case may call its containers as it likes
func (e *Env) ended(ctx context.Context, name string) (runtime.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		c, err := e.Inspect(ctx, name)
		if err != nil || c.State == runtime.Exited {
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, fmt.Errorf("container %s is %s, want exited", name, c.State)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// line waits until the container has printed a line.
//
//nolint:unparam // a case may wait for what it likes
func (e *Env) line(ctx context.Context, name, want string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var seen []string
	for l, err := range e.Logs(ctx, name, runtime.LogOptions{Follow: true, Tail: -1}) {
		if err != nil {
			return fmt.Errorf("logs of %s: %w", name, err)
		}
		if l.Text == want {
			return nil
		}
		seen = append(seen, l.Text)
	}
	return fmt.Errorf("logs of %s: got %q, want a line %q", name, seen, want)
}

// lines reads what is kept.
func (e *Env) lines(ctx context.Context, name string, o runtime.LogOptions) (out []runtime.LogLine, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for l, err := range e.Logs(ctx, name, o) {
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, ctx.Err()
}

// want reports an error that is not of the kind.
func want(kind, got error, what string) error {
	if errors.Is(got, kind) {
		return nil
	}
	return fmt.Errorf("%s: want error %q, got %w", what, kind.Error(), noError(got))
}

// noError names the absence of an error.
func noError(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

func expect(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// first runs steps until one fails.
func first(steps ...func() error) error {
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}
