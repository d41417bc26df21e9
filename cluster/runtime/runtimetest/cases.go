package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// Cases are all of the suite.
func Cases() []Case {
	return slices.Concat(imageCases(), lifeCases(), stateCases(), networkCases(), streamCases())
}

func imageCases() []Case {
	return []Case{
		{"a pulled image", "Pull gives digest and ports, the same each time.", 0, pullTwice},
		{"an absent image", "Pull of what is not there is ErrImage.", 0, pullAbsent},
		{"a private image", "Pull needs the right credentials; an error is ErrImage and never shows the password.", Credentials, pullPrivate},
		{"an image not pulled", "Start of an unknown image is ErrImage and leaves nothing.", 0, startUnknownImage},
	}
}

func pullTwice(ctx context.Context, e *Env) error {
	one, err := e.Pull(ctx, runtime.PullRequest{Reference: e.h.Image})
	if err != nil {
		return err
	}
	two, err := e.Pull(ctx, runtime.PullRequest{Reference: e.h.Image})
	if err != nil {
		return err
	}
	return first(
		func() error {
			return expect(strings.HasPrefix(one.Digest, "sha256:") && one.Digest == two.Digest, "digests %q and %q", one.Digest, two.Digest)
		},
		func() error {
			return expect(slices.Equal(one.Ports, []uint16{80}), "ports: got %v, want [80]", one.Ports)
		},
		func() error { return expect(one.Bytes > 0, "bytes: got %d", one.Bytes) },
	)
}

func pullAbsent(ctx context.Context, e *Env) error {
	_, err := e.Pull(ctx, runtime.PullRequest{Reference: e.h.Image + "-absent"})
	if err := want(runtime.ErrImage, err, "absent tag"); err != nil {
		return err
	}
	_, err = e.Pull(ctx, runtime.PullRequest{Reference: "Not A Reference"})
	return want(runtime.ErrImage, err, "malformed reference")
}

func pullPrivate(ctx context.Context, e *Env) error {
	right := e.h.Credentials
	wrong := right
	wrong.Password = "wrong-" + right.Password
	for _, c := range []*runtime.Credentials{nil, &wrong} {
		_, err := e.Pull(ctx, runtime.PullRequest{Reference: e.h.Private, Credentials: c})
		if err := want(runtime.ErrImage, err, "without the right credentials"); err != nil {
			return err
		}
		if strings.Contains(err.Error(), right.Password) {
			return errors.New("the error shows the password")
		}
	}
	_, err := e.Pull(ctx, runtime.PullRequest{Reference: e.h.Private, Credentials: &right})
	return err
}

func startUnknownImage(ctx context.Context, e *Env) error {
	_, err := e.Start(ctx, runtime.Spec{Name: "a", Image: "sha256:" + strings.Repeat("0", 64)})
	if err := want(runtime.ErrImage, err, "start"); err != nil {
		return err
	}
	return e.empty(ctx)
}

// empty expects no container.
func (e *Env) empty(ctx context.Context) error {
	list, err := e.List(ctx)
	if err != nil {
		return err
	}
	return expect(len(list) == 0, "%d containers left", len(list))
}

func lifeCases() []Case {
	return []Case{
		{"a started container", "Start reports what runs, and Inspect the same.", 0, startReports},
		{"starting twice", "Start of a name that exists leaves it as it is and reports it.", 0, startTwice},
		{"starting at the same time", "Concurrent Starts of one name make one container.", 0, startConcurrently},
		{"an invalid spec", "Start of what can never run is ErrInvalid and leaves nothing.", 0, startInvalid},
		{"a network that is not there", "Start on an unknown network fails and leaves nothing.", 0, startWithoutNetwork},
		{"a start with an ended context", "Start with an ended context fails and leaves nothing.", 0, startCancelled},
		{"arguments are not retained", "Start keeps no reference to what it was given.", 0, scribble},
		{"what runs and its surroundings", "Entrypoint, Args, Env and Hostname are as the spec says.", 0, surroundings},
		{"stopping", "Stop asks; the container's own end is reported.", 0, stop},
		{"stopping the stubborn", "Stop kills after the grace time.", 0, stopStubborn},
		{"stopping nothing", "Stop of a stopped or absent container is no error.", 0, stopNothing},
		{"removing", "Remove kills and deletes; absent is no error.", 0, remove},
		{"an exit code", "The exit code is reported.", 0, exitCode},
		{"out of memory", "A container over its memory limit ends with that reason.", MemoryLimits, outOfMemory},
	}
}

func startReports(ctx context.Context, e *Env) error {
	n, err := e.network(ctx, "lan")
	if err != nil {
		return err
	}
	started, err := e.runSpec(ctx, runtime.Spec{Name: "a", Network: "lan", Args: []string{"wait"}, Labels: map[string]string{"k": "v"}})
	if err != nil {
		return err
	}
	seen, err := e.Inspect(ctx, "a")
	if err != nil {
		return err
	}
	for _, c := range []runtime.Container{started, seen} {
		if err := first(
			func() error {
				return expect(c.Name == "a" && c.Network == "lan", "got name %q, network %q", c.Name, c.Network)
			},
			func() error { return expect(c.State == runtime.Running, "state: got %s, want running", c.State) },
			func() error { return expect(c.Labels["k"] == "v" && len(c.Labels) == 1, "labels: got %v", c.Labels) },
			func() error { return expect(strings.HasPrefix(c.Image, "sha256:"), "image: got %q", c.Image) },
			func() error { return expect(!c.StartedAt.IsZero(), "no time of start") },
			func() error {
				return expect(c.Address.IsValid() && (!n.Prefix.IsValid() || n.Prefix.Contains(c.Address)), "address %s is not in %s", c.Address, n.Prefix)
			},
		); err != nil {
			return err
		}
	}
	return nil
}

func startTwice(ctx context.Context, e *Env) error {
	one, err := e.run(ctx, "a", "wait")
	if err != nil {
		return err
	}
	two, err := e.run(ctx, "a", "exit", "1")
	if err != nil {
		return err
	}
	if err := expect(one.PID == two.PID && one.StartedAt.Equal(two.StartedAt), "a second container was made"); err != nil {
		return err
	}
	if err := e.Stop(ctx, "a", Patience); err != nil {
		return err
	}
	three, err := e.run(ctx, "a", "wait")
	if err != nil {
		return err
	}
	return expect(three.State == runtime.Exited, "an ended container was started again")
}

func startConcurrently(ctx context.Context, e *Env) error {
	image, err := e.image(ctx)
	if err != nil {
		return err
	}
	const n = 4
	var wg sync.WaitGroup
	got, errs := make([]runtime.Container, n), make([]error, n)
	for i := range n {
		wg.Go(func() {
			got[i], errs[i] = e.Start(ctx, runtime.Spec{Name: "a", Image: image, Args: []string{"wait"}})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, c := range got {
		if c.PID != got[0].PID {
			return fmt.Errorf("processes %d and %d", got[0].PID, c.PID)
		}
	}
	return nil
}

func startInvalid(ctx context.Context, e *Env) error {
	image, err := e.image(ctx)
	if err != nil {
		return err
	}
	for what, s := range map[string]runtime.Spec{
		"no name":        {},
		"a bad name":     {Name: "Upper"},
		"a long name":    {Name: strings.Repeat("a", runtime.MaxName+1)},
		"a bad variable": {Name: "a", Env: []string{"novalue"}},
		"a bad mount":    {Name: "a", Mounts: []runtime.Mount{{Target: "relative", Tmpfs: true}}},
		"a bad volume":   {Name: "a", Mounts: []runtime.Mount{{Target: "/x", Volume: "../x"}}},
		"bad resources":  {Name: "a", Resources: runtime.Resources{PIDs: -1}},
	} {
		s.Image = image
		_, err := e.Start(ctx, s)
		if err := want(runtime.ErrInvalid, err, what); err != nil {
			return err
		}
	}
	return e.empty(ctx)
}

func startWithoutNetwork(ctx context.Context, e *Env) error {
	if _, err := e.runSpec(ctx, runtime.Spec{Name: "a", Network: "absent"}); err == nil {
		return errors.New("no error")
	}
	return e.empty(ctx)
}

func startCancelled(ctx context.Context, e *Env) error {
	image, err := e.image(ctx)
	if err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = e.Start(over, runtime.Spec{Name: "a", Image: image})
	if err := want(context.Canceled, err, "start"); err != nil {
		return err
	}
	return e.empty(ctx)
}

func scribble(ctx context.Context, e *Env) error {
	spec := runtime.Spec{Name: "a", Args: []string{"wait"}, Labels: map[string]string{"k": "v"}}
	got, err := e.runSpec(ctx, spec)
	if err != nil {
		return err
	}
	spec.Labels["k"], spec.Args[0] = "scribbled", "scribbled"
	got.Labels["k"] = "scribbled"
	seen, err := e.Inspect(ctx, "a")
	if err != nil {
		return err
	}
	return expect(seen.Labels["k"] == "v", "labels: got %v", seen.Labels)
}

func surroundings(ctx context.Context, e *Env) error {
	_, err := e.runSpec(ctx, runtime.Spec{
		Name: "a", Entrypoint: []string{"/guest", "args", "one"}, Args: []string{"two", "three four"},
		Env: []string{"GUEST=spec", "MORE=1"},
	})
	if err != nil {
		return err
	}
	if _, err := e.ended(ctx, "a"); err != nil {
		return err
	}
	lines, err := e.lines(ctx, "a", runtime.LogOptions{Tail: -1})
	if err != nil {
		return err
	}
	if len(lines) != 3 || lines[0].Text != "one" || lines[1].Text != "two" || lines[2].Text != "three four" {
		return fmt.Errorf("arguments: got %v", lines)
	}
	_, err = e.runSpec(ctx, runtime.Spec{Name: "b", Hostname: "my-host", Env: []string{"GUEST=spec", "MORE=1"}})
	if err != nil {
		return err
	}
	return first(
		func() error { return e.line(ctx, "b", "ready") }, // the image's own command
		func() error { return e.says(ctx, "b", "my-host\n", "hostname") },
		func() error { return e.says(ctx, "b", "spec\n", "env", "GUEST") },
		func() error { return e.says(ctx, "b", "1\n", "env", "MORE") },
	)
}

func stop(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return err
	}
	if err := e.line(ctx, "a", "ready"); err != nil {
		return err
	}
	if err := e.Stop(ctx, "a", Patience); err != nil {
		return err
	}
	c, err := e.Inspect(ctx, "a")
	if err != nil {
		return err
	}
	return first(
		func() error { return expect(c.State == runtime.Exited, "state: got %s, want exited", c.State) },
		func() error { return expect(c.ExitCode == 0, "exit code: got %d, want 0", c.ExitCode) },
		func() error { return expect(c.Reason == "stopped", "reason: got %q, want \"stopped\"", c.Reason) },
		func() error { return expect(!c.FinishedAt.Before(c.StartedAt) && c.PID == 0, "got %+v", c) },
	)
}

func stopStubborn(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "stubborn"); err != nil {
		return err
	}
	if err := e.line(ctx, "a", "ready"); err != nil {
		return err
	}
	start := time.Now()
	if err := e.Stop(ctx, "a", time.Second); err != nil {
		return err
	}
	c, err := e.ended(ctx, "a")
	if err != nil {
		return err
	}
	if took := time.Since(start); took < time.Second {
		return fmt.Errorf("killed after %s, before the grace time of 1 s", took)
	}
	return expect(c.ExitCode == 137, "exit code: got %d, want 137", c.ExitCode)
}

func stopNothing(ctx context.Context, e *Env) error {
	if err := e.Stop(ctx, "absent", 0); err != nil {
		return err
	}
	if _, err := e.run(ctx, "a", "exit", "0"); err != nil {
		return err
	}
	if _, err := e.ended(ctx, "a"); err != nil {
		return err
	}
	return e.Stop(ctx, "a", 0)
}

func remove(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "stubborn"); err != nil {
		return err
	}
	for range 2 {
		if err := e.Remove(ctx, "a"); err != nil {
			return err
		}
	}
	_, err := e.Inspect(ctx, "a")
	if err := want(runtime.ErrNotFound, err, "inspect after remove"); err != nil {
		return err
	}
	if _, err := e.run(ctx, "a", "wait"); err != nil {
		return fmt.Errorf("the name again: %w", err)
	}
	return nil
}

func exitCode(ctx context.Context, e *Env) error {
	if _, err := e.run(ctx, "a", "exit", "7"); err != nil {
		return err
	}
	c, err := e.ended(ctx, "a")
	if err != nil {
		return err
	}
	return expect(c.ExitCode == 7 && c.Reason == "", "got exit code %d, reason %q; want 7 and none", c.ExitCode, c.Reason)
}

func outOfMemory(ctx context.Context, e *Env) error {
	_, err := e.runSpec(ctx, runtime.Spec{Name: "a", Args: []string{"eat", "256"}, Resources: runtime.Resources{MemoryBytes: 64 << 20}})
	if err != nil {
		return err
	}
	c, err := e.ended(ctx, "a")
	if err != nil {
		return err
	}
	return expect(c.Reason == "out of memory" && c.ExitCode == 137, "got reason %q, code %d", c.Reason, c.ExitCode)
}

func networkCases() []Case {
	return []Case{
		{"a network twice", "EnsureNetwork of one that exists gives the same.", 0, networkTwice},
		{"deleting networks", "DeleteNetwork of an absent one is no error, of one in use is.", 0, networkDelete},
		{"names", "SetHosts replaces what names mean, in running and later containers of that network.", 0, names},
		{"names of no network", "SetHosts on an unknown network is ErrNotFound.", 0, namesOfNothing},
		{"neighbours", "Containers of a network reach one another.", 0, neighbours},
		{"walls", "Containers of different networks do not reach one another.", Walls, walls},
	}
}

func networkTwice(ctx context.Context, e *Env) error {
	one, err := e.network(ctx, "lan")
	if err != nil {
		return err
	}
	two, err := e.network(ctx, "lan")
	if err != nil {
		return err
	}
	other, err := e.network(ctx, "other")
	if err != nil {
		return err
	}
	if one.Prefix.IsValid() && one.Prefix.Overlaps(other.Prefix) {
		return fmt.Errorf("two networks share %s", one.Prefix)
	}
	return expect(one == two && one.Name == "lan", "got %+v, then %+v", one, two)
}

func networkDelete(ctx context.Context, e *Env) error {
	if err := e.DeleteNetwork(ctx, "absent"); err != nil {
		return fmt.Errorf("absent: %w", err)
	}
	if _, err := e.network(ctx, "lan"); err != nil {
		return err
	}
	if _, err := e.runSpec(ctx, runtime.Spec{Name: "a", Network: "lan"}); err != nil {
		return err
	}
	if e.DeleteNetwork(ctx, "lan") == nil {
		return errors.New("a network in use was deleted")
	}
	if err := e.Remove(ctx, "a"); err != nil {
		return err
	}
	return e.DeleteNetwork(ctx, "lan")
}

func names(ctx context.Context, e *Env) error {
	if _, err := e.network(ctx, "lan"); err != nil {
		return err
	}
	if _, err := e.runSpec(ctx, runtime.Spec{Name: "a", Network: "lan"}); err != nil {
		return err
	}
	one, two := netip.MustParseAddr("10.9.9.1"), netip.MustParseAddr("10.9.9.2")
	hosts := map[string][]netip.Addr{"db": {one}, "old": {one}}
	if err := e.SetHosts(ctx, "lan", hosts); err != nil {
		return err
	}
	hosts["db"][0] = two // not retained
	if err := e.says(ctx, "a", "10.9.9.1\n", "lookup", "db"); err != nil {
		return err
	}
	if err := e.SetHosts(ctx, "lan", map[string][]netip.Addr{"db": {two}}); err != nil {
		return err
	}
	if _, err := e.runSpec(ctx, runtime.Spec{Name: "b", Network: "lan"}); err != nil {
		return err
	}
	for _, name := range []string{"a", "b"} {
		if err := e.says(ctx, name, "10.9.9.2\n", "lookup", "db"); err != nil {
			return err
		}
		if code, _, err := e.guest(ctx, name, "lookup", "old"); err != nil || code == 0 {
			return fmt.Errorf("a name that was taken back resolves in %s (%w)", name, err)
		}
	}
	return nil
}

func namesOfNothing(ctx context.Context, e *Env) error {
	return want(runtime.ErrNotFound, e.SetHosts(ctx, "absent", nil), "absent network")
}

func neighbours(ctx context.Context, e *Env) error {
	if _, err := e.network(ctx, "lan"); err != nil {
		return err
	}
	a, err := e.runSpec(ctx, runtime.Spec{Name: "a", Network: "lan", Args: []string{"serve", "80", "hello"}})
	if err != nil {
		return err
	}
	b, err := e.runSpec(ctx, runtime.Spec{Name: "b", Network: "lan"})
	if err != nil {
		return err
	}
	return first(
		func() error { return expect(a.Address != b.Address, "both have %s", a.Address) },
		func() error { return e.line(ctx, "a", "ready") },
		func() error { return e.says(ctx, "b", "hello\n", "fetch", a.Address.String(), "80") },
		func() error { return e.SetHosts(ctx, "lan", map[string][]netip.Addr{"web": {a.Address}}) },
		func() error { return e.says(ctx, "b", "hello\n", "fetch", "web", "80") },
	)
}

func walls(ctx context.Context, e *Env) error {
	for _, n := range []string{"one", "two"} {
		if _, err := e.network(ctx, n); err != nil {
			return err
		}
	}
	a, err := e.runSpec(ctx, runtime.Spec{Name: "a", Network: "one", Args: []string{"serve", "80", "secret"}})
	if err != nil {
		return err
	}
	if err := e.line(ctx, "a", "ready"); err != nil {
		return err
	}
	for name, network := range map[string]string{"b": "two", "c": ""} {
		if _, err := e.runSpec(ctx, runtime.Spec{Name: name, Network: network}); err != nil {
			return err
		}
		code, out, err := e.guest(ctx, name, "fetch", a.Address.String(), "80")
		if err != nil {
			return err
		}
		if code == 0 || out != "" {
			return fmt.Errorf("a container of network %q reached one of another and got %q", network, out)
		}
	}
	return nil
}
