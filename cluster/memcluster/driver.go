package memcluster

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

var (
	_ driver.Driver             = (*Driver)(nil)
	_ driver.Watcher            = (*Driver)(nil)
	_ driver.LogStreamer        = (*Driver)(nil)
	_ driver.Execer             = (*Driver)(nil)
	_ driver.ExclusiveHostnames = (*Driver)(nil)
	_ driver.PolicyEnforcer     = (*Driver)(nil)
)

// Driver is an open [World]. Use [World.Driver] or [New].
type Driver struct {
	world  *World
	once   sync.Once
	closed chan struct{}
}

// Driver opens the world. Several drivers may be open at once.
func (w *World) Driver() *Driver { return &Driver{world: w, closed: make(chan struct{})} }

// World returns the cluster behind the driver.
func (d *Driver) World() *World { return d.world }

// begin makes the checks that every method begins with.
func (d *Driver) begin(ctx context.Context, op Op, id market.LeaseID) error {
	select {
	case <-d.closed:
		return driver.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.world.mu.Lock()
	fault := d.world.fault
	d.world.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(op, id)
}

// Apply implements [driver.Driver].
func (d *Driver) Apply(ctx context.Context, load driver.Workload) error {
	if err := d.begin(ctx, OpApply, load.Lease); err != nil {
		return err
	}
	if err := load.Validate(); err != nil {
		return err
	}
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	return d.world.apply(load.Clone())
}

// Delete implements [driver.Driver].
func (d *Driver) Delete(ctx context.Context, id market.LeaseID) error {
	if err := d.begin(ctx, OpDelete, id); err != nil {
		return err
	}
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	d.world.remove(id)
	return nil
}

// Status implements [driver.Driver].
func (d *Driver) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	if err := d.begin(ctx, OpStatus, id); err != nil {
		return driver.Status{}, err
	}
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	s, ok := d.world.status(id)
	if !ok {
		return driver.Status{}, driver.ErrNotFound
	}
	return s, nil
}

// List implements [driver.Driver].
func (d *Driver) List(ctx context.Context) ([]market.LeaseID, error) {
	if err := d.begin(ctx, OpList, market.LeaseID{}); err != nil {
		return nil, err
	}
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	return d.world.list(), nil
}

// Nodes implements [driver.Driver].
func (d *Driver) Nodes(ctx context.Context) ([]inventory.Node, error) {
	if err := d.begin(ctx, OpNodes, market.LeaseID{}); err != nil {
		return nil, err
	}
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	var out []inventory.Node
	for _, n := range d.world.ledger.Available() {
		out = append(out, n.Node)
	}
	return out, nil
}

// HostnameOwner implements [driver.ExclusiveHostnames].
func (d *Driver) HostnameOwner(ctx context.Context, hostname string) (market.LeaseID, error) {
	if err := d.begin(ctx, OpHostname, market.LeaseID{}); err != nil {
		return market.LeaseID{}, err
	}
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	id, ok := d.world.owner(hostname)
	if !ok {
		return id, driver.ErrNotFound
	}
	return id, nil
}

// Exec implements [driver.Execer].
func (d *Driver) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if err := d.begin(ctx, OpExec, id); err != nil {
		return 0, err
	}
	return d.world.exec(ctx, id, x)
}

// Close implements [driver.Driver].
func (d *Driver) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// wait blocks until something changes, time makes a replica ready, or the
// context or the driver ends; it reports whether to look again.
func (d *Driver) wait(ctx context.Context, changed <-chan struct{}, at time.Time, timed bool) bool {
	var timer <-chan time.Time
	if timed {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-ctx.Done():
		return false
	case <-d.closed:
		return false
	}
	return true
}

// Watch implements [driver.Watcher].
func (d *Driver) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	return func(yield func(market.LeaseID, error) bool) {
		seen := make(map[market.LeaseID]string)
		for {
			if err := d.begin(ctx, OpWatch, market.LeaseID{}); err != nil {
				if ctx.Err() == nil {
					yield(market.LeaseID{}, err)
				}
				return
			}
			changed, ids, at, timed := d.news(seen)
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
			if !d.wait(ctx, changed, at, timed) {
				if ctx.Err() == nil {
					yield(market.LeaseID{}, driver.ErrClosed)
				}
				return
			}
		}
	}
}

// news returns the leases whose status is not as in seen, and brings seen up to
// date.
func (d *Driver) news(seen map[market.LeaseID]string) (changed <-chan struct{}, ids []market.LeaseID, at time.Time, timed bool) {
	w := d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	now := make(map[market.LeaseID]bool)
	for _, id := range w.list() {
		s, _ := w.status(id)
		now[id] = true
		if text := fmt.Sprintf("%v", s); seen[id] != text {
			seen[id] = text
			ids = append(ids, id)
		}
	}
	for id := range seen {
		if !now[id] {
			delete(seen, id)
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b market.LeaseID) int { return cmp.Compare(a.String(), b.String()) })
	at, timed = w.wakeAt()
	return w.changed, ids, at, timed
}

// Logs implements [driver.LogStreamer].
func (d *Driver) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return func(yield func(driver.LogLine, error) bool) {
		if err := d.begin(ctx, OpLogs, id); err != nil {
			yield(driver.LogLine{}, err)
			return
		}
		read := make(map[*replica]int)
		for first := true; ; first = false {
			changed, lines, there := d.lines(id, o, read, first)
			if first && !there {
				yield(driver.LogLine{}, driver.ErrNotFound)
				return
			}
			for _, l := range lines {
				if !yield(l, nil) {
					return
				}
			}
			if !there || !o.Follow || !d.wait(ctx, changed, time.Time{}, false) {
				return
			}
		}
	}
}

// lines returns what the replicas printed since read.
func (d *Driver) lines(id market.LeaseID, o driver.LogOptions, read map[*replica]int, first bool) (<-chan struct{}, []driver.LogLine, bool) {
	w := d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.leases[id]
	if l == nil || o.Service != "" && l.services[o.Service] == nil {
		return nil, nil, false
	}
	var out []driver.LogLine
	for _, spec := range l.workload.Group.Services {
		if o.Service != "" && o.Service != spec.Name {
			continue
		}
		for _, r := range l.services[spec.Name].replicas {
			from := read[r]
			if first && o.Tail >= 0 {
				from = max(0, len(r.lines)-o.Tail)
			}
			out = append(out, r.lines[from:]...)
			read[r] = len(r.lines)
		}
	}
	slices.SortStableFunc(out, func(a, b driver.LogLine) int { return a.Time.Compare(b.Time) })
	return w.changed, out, true
}

// Enforces implements [driver.PolicyEnforcer]: nothing but services and the outside
// is there to be reached.
func (d *Driver) Enforces() driver.Enforcement { return driver.EnforcesAll }
