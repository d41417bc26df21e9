package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// Change is a workload that is not as it was.
type Change struct {
	Lease market.LeaseID
	// Was is the status before, the zero value when there was none.
	Was driver.Status
	// Now is the status now; the zero value, with state "absent", when the lease
	// has nothing on the cluster any more.
	Now driver.Status
}

// Gone reports whether the workload has vanished.
func (c Change) Gone() bool { return c.Now.State == 0 }

// Watch yields leases whose status may have changed, beginning with every lease
// there is, until the context ends (then without error). It goes on after
// transient failures; any other ends it. A driver that cannot watch is polled.
func (c *Cluster) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	w, ok := c.driver.(driver.Watcher)
	if !ok {
		return c.poll(ctx)
	}
	return func(yield func(market.LeaseID, error) bool) {
		delay := c.cfg.BaseDelay
		for {
			failed := false
			for id, err := range w.Watch(ctx) {
				if transient(err) {
					failed = true
					break
				}
				if !yield(id, wrap("watch", id, err)) || err != nil {
					return
				}
				delay = c.cfg.BaseDelay
			}
			if !failed || sleep(ctx, c.jitter(delay)) != nil {
				return
			}
			delay = min(2*delay, c.cfg.MaxDelay)
		}
	}
}

// poll yields every lease of the cluster, and those that have left, again and
// again.
func (c *Cluster) poll(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	return func(yield func(market.LeaseID, error) bool) {
		var last []market.LeaseID
		for {
			ids, err := c.driver.List(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case transient(err):
				ids = last
			case err != nil:
				yield(market.LeaseID{}, wrap("watch", market.LeaseID{}, err))
				return
			}
			for _, id := range union(last, ids) {
				if !yield(id, nil) {
					return
				}
			}
			if last = ids; sleep(ctx, c.cfg.PollInterval) != nil {
				return
			}
		}
	}
}

func union(a, b []market.LeaseID) []market.LeaseID {
	out := slices.Clone(b)
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	return out
}

// Changes yields every workload whose status differs from what was yielded
// before for it, beginning with all that exist, until the context ends (then
// without error). Restart counts, reasons and addresses count as changes. A
// status that cannot be read for a reason that may pass is not a change.
func (c *Cluster) Changes(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		seen := make(map[market.LeaseID]driver.Status)
		for id, err := range c.Watch(ctx) {
			if err != nil {
				yield(Change{}, err)
				return
			}
			now, err := c.Status(ctx, id)
			switch {
			case errors.Is(err, driver.ErrNotFound):
				now = driver.Status{}
			case ctx.Err() != nil:
				return
			case transient(err):
				continue
			case err != nil:
				yield(Change{Lease: id}, err)
				return
			}
			was := seen[id]
			if same(was, now) {
				continue
			}
			if seen[id] = now; now.State == 0 {
				delete(seen, id)
			}
			if !yield(Change{id, was, now}, nil) {
				return
			}
		}
	}
}

// same compares two statuses.
func same(a, b driver.Status) bool {
	return a.Lease == b.Lease && a.Revision == b.Revision && a.Hash == b.Hash && a.State == b.State &&
		slices.EqualFunc(a.Services, b.Services, sameService)
}

func sameService(a, b driver.ServiceStatus) bool {
	return a.Name == b.Name && a.Wanted == b.Wanted && a.Running == b.Running && a.Ready == b.Ready &&
		a.State == b.State && a.Reason == b.Reason && slices.Equal(a.URIs, b.URIs) &&
		slices.Equal(a.Ports, b.Ports) && slices.EqualFunc(a.Replicas, b.Replicas, sameReplica)
}

func sameReplica(a, b driver.ReplicaStatus) bool {
	started := a.StartedAt.Equal(b.StartedAt)
	a.StartedAt, b.StartedAt = time.Time{}, time.Time{}
	return started && a == b
}

// NotReadyError says that a workload was not ready when the wait ended.
type NotReadyError struct {
	// Status is what was seen last; the zero value when nothing was.
	Status driver.Status
	// Cause is why the wait ended, mostly the context's error.
	Cause error
}

// Error names the first service that is not ready and its reason.
func (e *NotReadyError) Error() string {
	for _, s := range e.Status.Services {
		if s.State != driver.Ready {
			return fmt.Sprintf("not ready: service %s: %d of %d ready: %s", s.Name, s.Ready, s.Wanted, s.Reason)
		}
	}
	return "not ready: " + e.Status.State.String()
}

// Unwrap gives the cause.
func (e *NotReadyError) Unwrap() error { return e.Cause }

// WaitReady waits until the lease is ready at a revision or above, and returns
// its status. When the context ends first, the error is a [NotReadyError] that
// wraps the context's. A lease that does not exist is ErrNotFound at once.
func (c *Cluster) WaitReady(ctx context.Context, id market.LeaseID, revision uint64) (driver.Status, error) {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	last, err := c.Status(ctx, id)
	if err != nil || readyAt(last, revision) {
		return last, err
	}
	for seen, err := range c.Watch(watch) {
		if err != nil {
			return last, err
		}
		if seen != id {
			continue
		}
		if now, err := c.Status(ctx, id); err == nil {
			last = now
		} else if ctx.Err() == nil && !transient(err) {
			return last, err
		}
		if readyAt(last, revision) {
			return last, nil
		}
	}
	cause := ctx.Err()
	if cause == nil {
		cause = driver.ErrClosed
	}
	return last, wrap("wait-ready", id, &NotReadyError{last, cause})
}

func readyAt(s driver.Status, revision uint64) bool {
	return s.State == driver.Ready && s.Revision >= revision
}

// Recovery compares what runs with what should.
type Recovery struct {
	// Found run and should. Missing should and do not run. Orphans run and should
	// not. All are sorted by text.
	Found, Missing, Orphans []market.LeaseID
}

// Recover looks at the cluster after a restart and compares it with the leases
// that should be there. It changes nothing: the caller applies what is missing
// and deletes the orphans.
func (c *Cluster) Recover(ctx context.Context, wanted []market.LeaseID) (Recovery, error) {
	ids, err := c.List(ctx)
	if err != nil {
		return Recovery{}, err
	}
	var r Recovery
	for _, id := range ids {
		if slices.Contains(wanted, id) {
			r.Found = append(r.Found, id)
		} else {
			r.Orphans = append(r.Orphans, id)
		}
	}
	for _, id := range wanted {
		if !slices.Contains(ids, id) && !slices.Contains(r.Missing, id) {
			r.Missing = append(r.Missing, id)
		}
	}
	slices.SortFunc(r.Missing, func(a, b market.LeaseID) int { return compareText(a, b) })
	return r, nil
}

func compareText(a, b market.LeaseID) int {
	switch x, y := a.String(), b.String(); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}
