package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
)

func statusCases() []Case {
	return []Case{
		{Name: "status of absent", Clause: "Status reports what is observed, or ErrNotFound.", Check: statusAbsent},
		{Name: "ready within bound", Clause: "A workload that can run becomes ready.", Check: readyWithinBound},
		{Name: "status has every service", Clause: "Services are sorted by name; one for each service of the manifest.", Check: statusServices},
		{Name: "status at once after apply", Clause: "Apply returns once the cluster has accepted the workload durably.", Check: statusAtOnce},
		{Name: "nodes", Clause: "Nodes returns capacity and allocatable resources per node, sorted by name.", Check: nodes},
		{Name: "image that does not exist", Clause: "Reason says for a person why the service is not ready.", Needs: []Ability{Images}, Check: missingImage},
		{Name: "container that ends", Clause: "Failing: something ended or cannot start; the driver keeps trying.", Needs: []Ability{Restarts}, Check: containerThatEnds},
	}
}

func statusAbsent(ctx context.Context, e *Env) error {
	_, err := e.Driver.Status(ctx, lease(1))
	if err := is("status of a lease that never was", err, driver.ErrNotFound); err != nil {
		return err
	}
	var transient *driver.TransientError
	if errors.As(err, &transient) {
		return errors.New("not found is not transient")
	}
	return nil
}

func readyWithinBound(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, e.workload(1, 1, replicas(e.service("web", "hi"), 2)))
	if err != nil {
		return err
	}
	v := s.Services[0]
	if s.Lease != lease(1) || s.Hash != e.web(1, 1, "").Hash {
		return errors.New("the status is of another lease or hash")
	}
	if v.State != driver.Ready || v.Reason != "" || v.Wanted != 2 || v.Ready != 2 || v.Running < 2 {
		return fmt.Errorf("a ready workload reports %s, running %d", describe(s), v.Running)
	}
	for _, r := range v.Replicas {
		if r.State != driver.Ready || r.Node == "" || r.StartedAt.IsZero() {
			return fmt.Errorf("replica %d is %s on node %q, started at %s", r.Index, r.State, r.Node, r.StartedAt)
		}
	}
	return nil
}

func statusServices(ctx context.Context, e *Env) error {
	s, err := e.apply(ctx, e.workload(1, 1, e.service("a", "x"), replicas(e.service("b", "x"), 0), e.service("c-c", "x")))
	if err != nil {
		return err
	}
	want := []string{"a", "b", "c-c"}
	for i, v := range s.Services {
		if i >= len(want) || v.Name != want[i] {
			return fmt.Errorf("service %d is %s, want %v", i, v.Name, want)
		}
	}
	if len(s.Services) != len(want) {
		return fmt.Errorf("%d services, want %v", len(s.Services), want)
	}
	if v := s.Services[1]; v.Wanted != 0 || len(v.Replicas) != 0 {
		return fmt.Errorf("a service of 0 replicas reports %d", v.Wanted)
	}
	return nil
}

func statusAtOnce(ctx context.Context, e *Env) error {
	if err := e.Driver.Apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	s, err := e.Driver.Status(ctx, lease(1))
	if err != nil {
		return fmt.Errorf("status right after apply: %w", err)
	}
	if s.Revision != 1 || len(s.Services) != 1 || s.State == 0 {
		return fmt.Errorf("status right after apply is %s", describe(s))
	}
	return e.lists(ctx, lease(1))
}

func nodes(ctx context.Context, e *Env) error {
	before, err := e.Driver.Nodes(ctx)
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return errors.New("no nodes")
	}
	for i, n := range before {
		if n.Name == "" || n.Architecture == "" || n.Allocatable.MilliCores == 0 || n.Allocatable.MemoryBytes == 0 {
			return fmt.Errorf("node %d (%q) lacks a name, an architecture or resources", i, n.Name)
		}
		if i > 0 && before[i-1].Name >= n.Name {
			return fmt.Errorf("node %q after %q", n.Name, before[i-1].Name)
		}
	}
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	after, err := e.Driver.Nodes(ctx)
	if err != nil || len(after) != len(before) {
		return fmt.Errorf("%d nodes, then %d, error %w", len(before), len(after), err)
	}
	for i, n := range after {
		if n.Name != before[i].Name || n.Allocatable.MilliCores != before[i].Allocatable.MilliCores {
			return fmt.Errorf("what node %s may lease in all changed with what it leases", n.Name)
		}
	}
	return nil
}

func missingImage(ctx context.Context, e *Env) error {
	w := e.web(1, 1, "hi")
	w.Group.Services[0].Image = e.MissingImage
	if err := e.Driver.Apply(ctx, w); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	s, err := e.status(ctx, lease(1), func(s driver.Status) bool { return s.State == driver.Failing })
	if err != nil {
		return err
	}
	reason := s.Services[0].Reason
	if !strings.Contains(strings.ToLower(reason), "image") {
		return fmt.Errorf("the reason %q does not speak of the image", reason)
	}
	if _, err := e.apply(ctx, e.web(1, 2, "mended")); err != nil {
		return fmt.Errorf("an update to an image that exists: %w", err)
	}
	return nil
}

func containerThatEnds(ctx context.Context, e *Env) error {
	w := e.workload(1, 1, e.service("bad", "hi"), e.service("good", "hi"))
	w.Group.Services[0].Env = append(w.Group.Services[0].Env, "EXIT=3")
	if err := e.Driver.Apply(ctx, w); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	s, err := e.status(ctx, lease(1), func(s driver.Status) bool {
		bad, good := s.Services[0], s.Services[1]
		return s.State == driver.Failing && bad.State == driver.Failing && good.State == driver.Ready
	})
	if err != nil {
		return err
	}
	if s.Services[0].Reason == "" {
		return errors.New("no reason is given")
	}
	_, err = e.status(ctx, lease(1), func(s driver.Status) bool {
		return slices.ContainsFunc(s.Services[0].Replicas, func(r driver.ReplicaStatus) bool { return r.Restarts >= 2 })
	})
	if err != nil {
		return fmt.Errorf("restarts are not counted: %w", err)
	}
	return nil
}

func reopenCases() []Case {
	return []Case{
		{Name: "list after reopen", Clause: "List is how a provider finds its work after a crash.", Needs: []Ability{Reopen}, Check: listAfterReopen},
		{Name: "workloads survive close", Clause: "Close: workloads go on.", Needs: []Ability{Reopen}, Check: surviveClose},
		{Name: "revision after reopen", Clause: "Apply: a revision not above the one held is ignored without error.", Needs: []Ability{Reopen}, Check: revisionAfterReopen},
		{Name: "update after reopen", Clause: "Apply makes w the desired state of its lease.", Needs: []Ability{Reopen}, Check: updateAfterReopen},
		{Name: "delete after reopen", Clause: "Delete removes everything of the lease.", Needs: []Ability{Reopen}, Check: deleteAfterReopen},
	}
}

// reopen closes the driver and opens another.
func (e *Env) reopen(ctx context.Context) error {
	d, err := e.Reopen(ctx)
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	e.Driver = d
	return nil
}

func listAfterReopen(ctx context.Context, e *Env) error {
	for _, n := range []int{2, 1, 3} {
		if err := e.Driver.Apply(ctx, e.web(n, 1, "hi")); err != nil {
			return err
		}
	}
	if err := e.Driver.Delete(ctx, lease(3)); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	return e.lists(ctx, lease(1), lease(2))
}

func surviveClose(ctx context.Context, e *Env) error {
	before, err := e.apply(ctx, e.workload(1, 3, replicas(e.service("web", "hi"), 2)))
	if err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	after, err := e.ready(ctx, lease(1), 3)
	if err != nil {
		return err
	}
	if err := sameReplicas(before, after); err != nil {
		return err
	}
	if after.Hash != before.Hash {
		return errors.New("the hash has not survived")
	}
	if before.Services[0].URIs != nil && !slices.Equal(before.Services[0].URIs, after.Services[0].URIs) {
		return fmt.Errorf("URIs were %v, now %v", before.Services[0].URIs, after.Services[0].URIs)
	}
	if e.Claims(Exec) {
		return e.greeting(ctx, lease(1), "web", "hi")
	}
	return nil
}

func revisionAfterReopen(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 5, "new")); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	if err := e.Driver.Apply(ctx, e.web(1, 4, "stale")); err != nil {
		return err
	}
	_, err := e.ready(ctx, lease(1), 5)
	return err
}

func updateAfterReopen(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "one")); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	if _, err := e.apply(ctx, e.web(1, 2, "two")); err != nil {
		return err
	}
	if e.Claims(Exec) {
		return e.greeting(ctx, lease(1), "web", "two")
	}
	return nil
}

func deleteAfterReopen(ctx context.Context, e *Env) error {
	if _, err := e.apply(ctx, e.web(1, 1, "hi")); err != nil {
		return err
	}
	if err := e.reopen(ctx); err != nil {
		return err
	}
	if err := e.Driver.Delete(ctx, lease(1)); err != nil {
		return err
	}
	return e.lists(ctx)
}
