package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func lifeCases() []Case {
	return []Case{
		abilityCase(),
		{Name: "delete of absent", Clause: "Delete: nothing to remove is no error.", Check: deleteAbsent},
		{Name: "delete twice", Clause: "Delete: nothing to remove is no error.", Check: deleteTwice},
		{Name: "delete removes", Clause: "Delete removes everything of the lease and returns when it is gone.", Check: deleteRemoves},
		{Name: "apply after delete", Clause: "Delete removes everything of the lease, its revision included.", Check: applyAfterDelete},
		{Name: "apply twice", Clause: "Apply: a revision not above the one held is ignored without error.", Check: applyTwice},
		{Name: "stale revision", Clause: "Apply: a revision not above the one held is ignored without error.", Check: staleRevision},
		{Name: "newer revision", Clause: "Apply makes w the desired state of its lease.", Check: newerRevision},
		{Name: "update of one service", Clause: "Apply makes w the desired state of its lease.", Check: updateOneService},
		{Name: "update that adds and removes services", Clause: "Apply makes w the desired state of its lease.", Check: updateServices},
		{Name: "more and fewer replicas", Clause: "Apply makes w the desired state of its lease.", Check: scale},
		{Name: "concurrent applies", Clause: "Methods may be called concurrently.", Check: concurrentApplies},
		{Name: "delete of one leaves others", Clause: "Delete removes everything of the lease, and nothing of others.", Check: deleteIsolated},
		{Name: "list", Clause: "List returns every lease with anything on the cluster, sorted by its text.", Check: list},
		{Name: "cancelled context", Clause: "A context that has ended makes every method return its error.", Check: cancelledContext},
	}
}

func deleteAbsent(ctx context.Context, e *Env) error { return e.Driver.Delete(ctx, lease(1)) }

func deleteTwice(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	for range 2 {
		if err := e.Driver.Delete(ctx, lease(1)); err != nil {
			return err
		}
	}
	return nil
}

func deleteRemoves(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	_, err := e.Driver.Status(ctx, lease(1))
	if err := is("status after delete", err, driver.ErrNotFound); err != nil {
		return err
	}
	return e.lists(ctx)
}

// lists checks what List returns.
func (e *Env) lists(ctx context.Context, want ...market.LeaseID) error {
	got, err := e.Driver.List(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("list is %v, want %v", got, want)
	}
	return nil
}

func applyAfterDelete(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 7, "before")); err != nil {
		return err
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	_, err := e.apply(ctx, e.web(1, 1, "after"))
	return err
}

func applyTwice(ctx context.Context, e *Env) error {
	before, err := e.apply(ctx, e.web(1, 1, "hi"))
	if err != nil {
		return err
	}
	if err := e.Driver.Apply(ctx, e.web(1, 1, "hi")); err != nil {
		return fmt.Errorf("second apply: %w", err)
	}
	after, err := e.ready(ctx, lease(1), 1)
	if err != nil {
		return err
	}
	return sameReplicas(before, after)
}

// sameReplicas checks that no container was replaced.
func sameReplicas(before, after driver.Status) error {
	for i, s := range before.Services {
		if i >= len(after.Services) || len(s.Replicas) != len(after.Services[i].Replicas) {
			return fmt.Errorf("was %s, now %s", describe(before), describe(after))
		}
		for j, r := range s.Replicas {
			now := after.Services[i].Replicas[j]
			if !r.StartedAt.Equal(now.StartedAt) || r.Restarts != now.Restarts {
				return fmt.Errorf("replica %d of %s was started at %s, now at %s", j, s.Name, r.StartedAt, now.StartedAt)
			}
		}
	}
	return nil
}

func staleRevision(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 5, "new")); err != nil {
		return err
	}
	for _, revision := range []uint64{4, 5} {
		w := e.web(1, revision, "stale")
		w.Hash = market.Hash{0xff}
		if err := e.Driver.Apply(ctx, w); err != nil {
			return fmt.Errorf("apply of revision %d over 5: %w", revision, err)
		}
		s, err := e.ready(ctx, lease(1), 5)
		if err != nil {
			return err
		}
		if s.Hash != e.web(1, 5, "").Hash {
			return fmt.Errorf("revision %d over 5 has changed the hash", revision)
		}
	}
	if e.Claims(Exec) {
		return e.greeting(ctx, lease(1), "web", "new")
	}
	return nil
}

func newerRevision(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "one")); err != nil {
		return err
	}
	s, err := e.apply(ctx, e.web(1, 9, "nine"))
	if err != nil {
		return err
	}
	if s.Hash != e.web(1, 9, "").Hash {
		return errors.New("the status has the hash of the revision before")
	}
	if e.Claims(Exec) {
		return e.greeting(ctx, lease(1), "web", "nine")
	}
	return nil
}

func updateOneService(ctx context.Context, e *Env) error {
	before, err := e.apply(ctx, e.workload(1, 1, e.service("a", "one"), e.service("b", "one")))
	if err != nil {
		return err
	}
	after, err := e.apply(ctx, e.workload(1, 2, e.service("a", "two"), e.service("b", "one")))
	if err != nil {
		return err
	}
	before.Services, after.Services = before.Services[1:], after.Services[1:]
	if err := sameReplicas(before, after); err != nil {
		return fmt.Errorf("the service that was not changed: %w", err)
	}
	if !e.Claims(Exec) {
		return nil
	}
	return first(
		func() error { return e.greeting(ctx, lease(1), "a", "two") },
		func() error { return e.greeting(ctx, lease(1), "b", "one") },
	)
}

func updateServices(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.workload(1, 1, e.service("a", "x"), e.service("b", "x"))); err != nil {
		return err
	}
	s, err := e.apply(ctx, e.workload(1, 2, e.service("b", "x"), e.service("c", "x")))
	if err != nil {
		return err
	}
	names := make([]string, 0, len(s.Services))
	for _, v := range s.Services {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"b", "c"}) {
		return fmt.Errorf("services are %v, want b and c", names)
	}
	if !e.Claims(Exec) {
		return nil
	}
	return e.soon(ctx, func() error {
		_, _, err := e.run(ctx, lease(1), "a", "env", "GREETING")
		return is("exec in a service that was removed", err, driver.ErrNotFound)
	})
}

func scale(ctx context.Context, e *Env) error {
	for i, n := range []uint32{1, 3, 2} {
		s, err := e.apply(ctx, e.workload(1, uint64(i+1), replicas(e.service("web", "hi"), n)))
		if err != nil {
			return err
		}
		v := s.Services[0]
		if v.Wanted != n || v.Ready != n || len(v.Replicas) != int(n) {
			return fmt.Errorf("asked for %d replicas: wanted %d, ready %d, listed %d", n, v.Wanted, v.Ready, len(v.Replicas))
		}
		for j, r := range v.Replicas {
			if r.Index != uint32(j) {
				return fmt.Errorf("replica %d has index %d", j, r.Index)
			}
		}
	}
	return nil
}

func concurrentApplies(ctx context.Context, e *Env) error {
	const n = 6
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = e.apply(ctx, e.web(i+1, 1, fmt.Sprint("hi ", i+1))) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || !e.Claims(Exec) {
		return err
	}
	for i := range n {
		if err := e.greeting(ctx, lease(i+1), "web", fmt.Sprint("hi ", i+1)); err != nil {
			return err
		}
	}
	return nil
}

func deleteIsolated(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "one")); err != nil {
		return err
	}
	before, err := e.apply(ctx, e.web(2, 1, "two"))
	if err != nil {
		return err
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	after, err := e.ready(ctx, lease(2), 1)
	if err != nil {
		return fmt.Errorf("the other lease: %w", err)
	}
	if err := sameReplicas(before, after); err != nil {
		return fmt.Errorf("the other lease: %w", err)
	}
	if e.Claims(Exec) {
		return e.greeting(ctx, lease(2), "web", "two")
	}
	return nil
}

func list(ctx context.Context, e *Env) error {
	if err := e.lists(ctx); err != nil {
		return err
	}
	for _, n := range []int{3, 1, 2} {
		if err := e.Driver.Apply(ctx, e.web(n, 1, "hi")); err != nil {
			return err
		}
	}
	return e.lists(ctx, lease(1), lease(2), lease(3))
}

func cancelledContext(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for name, call := range e.calls(ended) {
		if err := is(name+" with a context that has ended", call(), context.Canceled); err != nil {
			return err
		}
	}
	if err := e.lists(ctx, lease(1)); err != nil {
		return fmt.Errorf("calls with an ended context had an effect: %w", err)
	}
	_, err := e.ready(ctx, lease(1), 1)
	return err
}

// calls are one call of each method. Apply is for lease 2, the others for 1.
func (e *Env) calls(ctx context.Context) map[string]func() error {
	m := map[string]func() error{
		"apply":  func() error { return e.Driver.Apply(ctx, e.web(2, 1, "hi")) },
		"delete": func() error { return e.Driver.Delete(ctx, lease(1)) },
		"status": func() error { _, err := e.Driver.Status(ctx, lease(1)); return err },
		"list":   func() error { _, err := e.Driver.List(ctx); return err },
		"nodes":  func() error { _, err := e.Driver.Nodes(ctx); return err },
	}
	if e.Claims(Exec) {
		m["exec"] = func() error { _, _, err := e.run(ctx, lease(1), "web", "exit", "0"); return err }
	}
	if e.Claims(Hostnames) {
		m["hostname owner"] = func() error {
			_, err := e.Driver.(driver.ExclusiveHostnames).HostnameOwner(ctx, "x.example")
			return err
		}
	}
	return m
}

func argumentCases() []Case {
	return []Case{
		{Name: "arguments are not retained", Clause: "Apply: w is not retained.", Check: noRetainedArguments},
		{Name: "arguments are not changed", Clause: "Apply: w is not changed.", Check: noChangedArguments},
		{Name: "results are the caller's", Clause: "What a driver returns is a copy.", Check: resultsAreCopies},
		{Name: "invalid workload", Clause: "ErrInvalid means the workload can never run as it is.", Check: invalidWorkload},
		{Name: "no room", Clause: "ErrExhausted means the cluster has no room.", Check: noRoom},
	}
}

// scribble overwrites whatever of a workload can be reached.
func scribble(w driver.Workload) {
	for i := range w.Group.Services {
		s := &w.Group.Services[i]
		for j := range s.Env {
			s.Env[j] = "GREETING=scribbled"
		}
		for j := range s.Expose {
			s.Expose[j] = manifest.Expose{Port: 1, Proto: manifest.UDP, Hosts: []string{"scribbled.example"}}
		}
		for j := range s.Resources.Storage {
			s.Resources.Storage[j].Bytes = 1 << 60
		}
		*s = manifest.Service{Name: "scribbled"}
	}
}

func noRetainedArguments(ctx context.Context, e *Env) error {
	w := e.workload(1, 1, replicas(e.service("web", "hi"), 1))
	if err := e.Driver.Apply(ctx, w); err != nil {
		return err
	}
	scribble(w)
	s, err := e.ready(ctx, lease(1), 1)
	if err != nil {
		return err
	}
	if s.Services[0].Name != "web" || len(s.Services[0].Ports) != 0 {
		return errors.New("scribbling on the applied workload has changed what runs")
	}
	if e.Claims(Exec) {
		return e.greeting(ctx, lease(1), "web", "hi")
	}
	return nil
}

func noChangedArguments(ctx context.Context, e *Env) error {
	w := e.workload(1, 1, e.service("b", "hi"), e.service("c", "hi"))
	before := plain(w)
	if _, err := e.apply(ctx, w); err != nil {
		return err
	}
	if plain(w) != before {
		return errors.New("the workload that was applied has been changed")
	}
	return nil
}

// plain is the text of all of a workload.
func plain(w driver.Workload) string {
	return fmt.Sprint(w.Lease, w.Revision, w.Hash, string(manifest.Manifest{w.Group}.AppendCanonical(nil)))
}

func resultsAreCopies(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, e.web(1, 1, "hi"))
	if err != nil {
		return err
	}
	nodes, err := e.Driver.Nodes(ctx)
	if err != nil || len(nodes) == 0 {
		return fmt.Errorf("%d nodes, error %w", len(nodes), err)
	}
	name := nodes[0].Name
	nodes[0].Name = "scribbled"
	for class := range nodes[0].Allocatable.PersistentBytes {
		nodes[0].Allocatable.PersistentBytes[class] = 1
	}
	s.Services[0].Name = "scribbled"
	if nodes, err = e.Driver.Nodes(ctx); err != nil || nodes[0].Name != name {
		return fmt.Errorf("scribbling on nodes has changed them (error %w)", err)
	}
	for class, n := range nodes[0].Allocatable.PersistentBytes {
		if n == 1 {
			return fmt.Errorf("scribbling on storage class %s has changed it", class)
		}
	}
	if s, err = e.ready(ctx, lease(1), 1); err == nil && s.Services[0].Name != "web" {
		return errors.New("scribbling on a status has changed it")
	}
	return err
}

func invalidWorkload(ctx context.Context, e *Env) error {
	none := e.workload(1, 1)
	bad := e.workload(1, 1, e.service("../x", "hi"))
	port := e.web(1, 1, "hi")
	port.Group.Services[0].Expose[0].Port = 0
	for name, w := range map[string]driver.Workload{"without services": none, "with a bad name": bad, "with port 0": port} {
		if err := is("apply of a workload "+name, e.Driver.Apply(ctx, w), driver.ErrInvalid); err != nil {
			return err
		}
	}
	return e.lists(ctx)
}

func noRoom(ctx context.Context, e *Env) error {
	w := e.web(1, 1, "hi")
	w.Group.Services[0].Resources.CPU.MilliCores = 1 << 40
	if err := is("apply of a workload larger than the cluster", e.Driver.Apply(ctx, w), driver.ErrExhausted); err != nil {
		return err
	}
	if err := e.lists(ctx); err != nil {
		return err
	}
	if _, err := e.apply(ctx, e.web(1, 1, "fits")); err != nil {
		return fmt.Errorf("a workload that fits, after one that did not: %w", err)
	}
	w.Revision = 2
	if err := is("update to more than the cluster has", e.Driver.Apply(ctx, w), driver.ErrExhausted); err != nil {
		return err
	}
	_, err := e.ready(ctx, lease(1), 1)
	return err
}
