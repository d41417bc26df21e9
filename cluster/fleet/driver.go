package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/agent"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/store"
	"github.com/moorage-dev/moorage/cluster/internal/hub"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// Apply implements [driver.Driver]. The workload is on disk when it returns.
// ErrConflict is a host name that another lease has; ErrExhausted is no room or
// no free port; ErrInvalid is what this host can never run.
func (f *Fleet) Apply(ctx context.Context, w driver.Workload) error {
	if err := f.check(ctx); err != nil {
		return err
	}
	if err := w.Validate(); err != nil {
		return err
	}
	if _, err := w.Policy(f.surroundings); err != nil {
		return err
	}
	w = w.Clone()
	f.write.Lock()
	defer f.write.Unlock()
	if err := f.check(ctx); err != nil {
		return err
	}
	old, held := f.record(w.Lease)
	switch {
	case held && old.Leaving:
		return &driver.TransientError{Err: fmt.Errorf("fleet: lease %s is still being deleted", w.Lease)}
	case held && w.Revision <= old.Workload.Revision:
		return nil
	}
	if err := f.checkHostnames(w); err != nil {
		return err
	}
	if _, reasons := f.ledger.Reserve(w.Lease.String(), w.Spec()); len(reasons) > 0 {
		return driver.Refusal(reasons)
	}
	r := store.Record{Workload: w}
	var err error
	if r.Ports, err = f.assignPorts(ctx, w, old.Ports); err == nil {
		err = f.keep(r)
	}
	if err != nil {
		f.restorePromise(w.Lease, old, held)
		return err
	}
	f.install(r)
	f.log.Info("workload accepted", slog.Any("lease", w.Lease), slog.Uint64("revision", w.Revision))
	return nil
}

// keep writes a record to disk.
func (f *Fleet) keep(r store.Record) error {
	if err := f.store.Put(agent.Tag(r.Workload.Lease), r); err != nil {
		return &driver.TransientError{Err: fmt.Errorf("fleet: write workload: %w", err)}
	}
	return nil
}

// install makes a record known to all who work for it. The caller holds write.
func (f *Fleet) install(r store.Record) {
	id := r.Workload.Lease
	f.mu.Lock()
	f.records[id] = r
	f.mu.Unlock()
	f.closePorts(id, r.Ports)
	f.route()
	f.agent.Set(f.work(r))
	f.hub.Publish(id)
}

// restorePromise undoes what a refused Apply reserved.
func (f *Fleet) restorePromise(id market.LeaseID, old store.Record, held bool) {
	f.closePorts(id, old.Ports)
	if !held {
		f.ledger.Release(id.String())
		return
	}
	f.ledger.Reserve(id.String(), old.Workload.Spec()) // it fitted before
}

// Delete implements [driver.Driver]. It waits for the work of [Fleet.Run]; when
// the context ends first the deletion goes on.
func (f *Fleet) Delete(ctx context.Context, id market.LeaseID) error {
	if err := f.check(ctx); err != nil {
		return err
	}
	watch := f.hub.Watch()
	defer watch.Leave()
	if err := f.leave(id); err != nil {
		return err
	}
	for {
		_, known := f.agent.Observe(id)
		if _, held := f.record(id); !held && !known {
			return nil
		}
		f.mu.Lock()
		ended := f.ran && f.running == nil
		f.mu.Unlock()
		if ended {
			return &driver.TransientError{Err: errNotRunning}
		}
		if _, ok := watch.Wait(ctx); !ok {
			return cmp.Or(ctx.Err(), driver.ErrClosed)
		}
	}
}

// leave makes nothing the desired state of a lease.
func (f *Fleet) leave(id market.LeaseID) error {
	f.write.Lock()
	defer f.write.Unlock()
	r, held := f.record(id)
	if held && !r.Leaving {
		r.Leaving = true
		if err := f.keep(r); err != nil {
			return err
		}
		f.mu.Lock()
		f.records[id] = r
		f.mu.Unlock()
		f.route()
		f.hub.Publish(id)
	}
	f.agent.Remove(id)
	return nil
}

// List implements [driver.Driver]. Leases that have containers but no workload
// on disk are in it.
func (f *Fleet) List(ctx context.Context) ([]market.LeaseID, error) {
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	ids := make([]market.LeaseID, 0, len(f.records))
	for id := range f.records {
		ids = append(ids, id)
	}
	f.mu.Unlock()
	for _, id := range f.agent.Orphans() {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	hub.Sort(ids)
	return ids, nil
}

// Nodes implements [driver.Driver].
func (f *Fleet) Nodes(ctx context.Context) ([]inventory.Node, error) {
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	l, err := inventory.New([]inventory.Node{f.cfg.Node}, inventory.Overcommit{})
	if err != nil {
		return nil, err
	}
	return []inventory.Node{l.Available()[0].Node}, nil // a copy
}

// HostnameOwner implements [driver.ExclusiveHostnames].
func (f *Fleet) HostnameOwner(ctx context.Context, hostname string) (market.LeaseID, error) {
	if err := f.check(ctx); err != nil {
		return market.LeaseID{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, r := range f.records {
		if _, ok := f.hostnames(r.Workload)[strings.ToLower(hostname)]; ok {
			return id, nil
		}
	}
	return market.LeaseID{}, driver.ErrNotFound
}

// Watch implements [driver.Watcher].
func (f *Fleet) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	return func(yield func(market.LeaseID, error) bool) {
		watch := f.hub.Watch()
		defer watch.Leave()
		ids, err := f.List(ctx)
		if err != nil && ctx.Err() == nil {
			yield(market.LeaseID{}, err)
			return
		}
		for ok := true; ok; ids, ok = watch.Wait(ctx) {
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
		}
		if ctx.Err() == nil {
			yield(market.LeaseID{}, driver.ErrClosed)
		}
	}
}

// see returns what is desired and observed of a lease. The error is ErrNotFound,
// or a transient one when the runtime cannot be seen.
func (f *Fleet) see(ctx context.Context, id market.LeaseID) (store.Record, agent.Observation, error) {
	if err := f.check(ctx); err != nil {
		return store.Record{}, agent.Observation{}, err
	}
	r, held := f.record(id)
	if !held {
		return r, agent.Observation{}, driver.ErrNotFound
	}
	o, _ := f.agent.Observe(id)
	if o.Err != "" {
		return r, o, &driver.TransientError{Err: errors.New("fleet: container runtime: " + o.Err)}
	}
	return r, o, nil
}

// lookTime bounds how long a stream waits for the first look at the runtime
// after a start.
const lookTime = 5 * time.Second

// look is see, once the runtime has been looked at since the fleet was opened.
func (f *Fleet) look(ctx context.Context, id market.LeaseID) (store.Record, agent.Observation, error) {
	watch := f.hub.Watch()
	defer watch.Leave()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	for {
		r, o, err := f.see(ctx, id)
		if err != nil || o.Seen {
			return r, o, err
		}
		if _, ok := watch.Wait(ctx); ok {
			continue
		}
		if err := f.check(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return r, o, err
		}
		return r, o, &driver.TransientError{Err: errors.New("fleet: the host has not been looked at yet")}
	}
}
