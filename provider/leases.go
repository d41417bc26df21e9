package provider

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// reconcileLease does what a lease of ours calls for.
func (p *Provider) reconcileLease(ctx context.Context, id market.LeaseID) error {
	if id.Provider != p.me {
		return nil // another provider's workload on a shared cluster is not ours to judge
	}
	lease, err := p.cfg.Market.Lease(ctx, id)
	if err != nil && !errors.Is(err, market.ErrNotFound) {
		return err
	}
	if err != nil || lease.State.Terminal() {
		return p.endLease(ctx, id, lease.Reason)
	}
	record, err := p.ensureRecord(ctx, lease)
	if err != nil {
		return err
	}
	if record.Revision == 0 {
		return p.awaitManifest(ctx, lease, record)
	}
	if record, err = p.claimFreeNames(record); err != nil {
		return err
	}
	return p.keepWorkload(ctx, lease, record)
}

// ensureRecord returns the record of an active lease, making it and the
// reservation if they are not there.
func (p *Provider) ensureRecord(ctx context.Context, lease market.Lease) (Record, error) {
	order, err := p.cfg.Market.Order(ctx, lease.ID.OrderID)
	if err != nil {
		return Record{}, err
	}
	placement, refused := p.reserve(order)
	if len(refused) > 0 {
		// The promise was made with the bid: it is kept as far as the cluster can.
		p.cfg.Logger.Error("a lease no longer fits the inventory", "lease", lease.ID, "reasons", refused)
	}
	p.mu.Lock()
	_, known := p.records[lease.ID]
	_, watched := p.health[lease.ID]
	if !watched {
		p.health[lease.ID] = &leaseHealth{}
	}
	p.mu.Unlock()
	record, err := p.changeRecord(lease.ID, true, func(r *Record) {
		r.GroupName = order.Spec.Name
		if len(placement.Assignments) > 0 {
			r.Placement = placement
		}
	})
	switch {
	case err != nil:
		return Record{}, err
	case !known:
		p.observe(Event{Kind: EventLeaseWon, Lease: lease.ID, Price: lease.Price})
	case !watched:
		p.observe(Event{Kind: EventRecovered, Lease: lease.ID, Price: lease.Price})
	}
	return record, nil
}

// changeRecord changes the record of a lease and stores it, if the change
// changes anything. A record that is not there is made only with create; else
// nothing happens and the record returned is empty.
func (p *Provider) changeRecord(id market.LeaseID, create bool, change func(*Record)) (Record, error) {
	defer p.saving.lock(id)()
	p.mu.Lock()
	before, ok := p.records[id]
	p.mu.Unlock()
	if !ok && !create {
		return Record{}, nil
	}
	if !ok {
		before = Record{Lease: id, WonAt: time.Now().UTC()}
	}
	after := before
	change(&after)
	if ok && reflect.DeepEqual(before, after) {
		return before, nil
	}
	if err := p.cfg.Store.Save(after); err != nil {
		return before, err
	}
	p.mu.Lock()
	p.records[id] = after
	p.mu.Unlock()
	return after, nil
}

// removeRecord forgets a lease durably.
func (p *Provider) removeRecord(id market.LeaseID) error {
	defer p.saving.lock(id)()
	if err := p.cfg.Store.Remove(id); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.records, id)
	delete(p.health, id)
	return nil
}

// awaitManifest closes the bid when the tenant has not sent the manifest in time.
func (p *Provider) awaitManifest(ctx context.Context, lease market.Lease, r Record) error {
	left := p.cfg.ManifestTimeout - time.Since(r.WonAt)
	if left > 0 {
		p.queue.addAfter(leaseTask(lease.ID), left)
		return nil
	}
	return p.closeBid(ctx, lease.ID, market.ReasonManifestTimeout)
}

// closeBid ends a lease from the provider's side. That it has ended already is
// as good.
func (p *Provider) closeBid(ctx context.Context, id market.LeaseID, reason market.CloseReason) error {
	p.cfg.Logger.Info("closing a lease", "lease", id, "reason", reason)
	_, err := p.cfg.Market.Submit(ctx, market.CloseBid{ID: id.Bid(), Reason: reason})
	if err != nil && !errors.Is(err, market.ErrState) {
		return fmt.Errorf("provider: close lease %s: %w", id, err)
	}
	p.queue.add(leaseTask(id))
	return nil
}

// keepWorkload has the cluster run the accepted manifest and judges its health.
func (p *Provider) keepWorkload(ctx context.Context, lease market.Lease, r Record) error {
	status, err := p.cfg.Cluster.Status(ctx, lease.ID)
	switch {
	case errors.Is(err, driver.ErrNotFound) || err == nil && status.Revision < r.Revision:
		w, err := workload(r)
		if err != nil {
			return err
		}
		return p.cfg.Cluster.Apply(ctx, w) // the cluster's news brings us back
	case err != nil:
		return err // not seen is not broken
	}
	return p.judge(ctx, lease.ID, status)
}

// workload is what the cluster is to run for a record.
func workload(r Record) (driver.Workload, error) {
	group, ok := r.Group()
	if !ok {
		return driver.Workload{}, fmt.Errorf("provider: lease %s: the manifest has no group %q: %w", r.Lease, r.GroupName, market.ErrMismatch)
	}
	return driver.Workload{Lease: r.Lease, Revision: r.Revision, Hash: r.Hash, Group: r.adjusted(group)}, nil
}

// judge notes a status and ends a lease whose workload has failed for too long.
func (p *Provider) judge(ctx context.Context, id market.LeaseID, status driver.Status) error {
	now := time.Now()
	p.mu.Lock()
	h := p.health[id]
	changed := !reflect.DeepEqual(h.last, status)
	h.last = status
	switch {
	case status.State == driver.Ready:
		h.failingSince = time.Time{}
	case status.State == driver.Failing && h.failingSince.IsZero():
		h.failingSince = now
	}
	failing, since := !h.failingSince.IsZero(), h.failingSince
	p.mu.Unlock()
	if changed {
		p.observe(Event{Kind: EventStatus, Lease: id, Status: status})
	}
	if !failing {
		return nil
	}
	if left := p.cfg.UnhealthyTimeout - now.Sub(since); left > 0 {
		p.queue.addAfter(leaseTask(id), left)
		return nil
	}
	return p.closeBid(ctx, id, market.ReasonUnstable)
}

// endLease takes down what is left of a lease that is over, and forgets it.
func (p *Provider) endLease(ctx context.Context, id market.LeaseID, reason market.CloseReason) error {
	defer p.manifests.lock(id.DeploymentID)()
	known := p.serving(id)
	if !known {
		// Its own deletion is news of the cluster too: that must not go on for ever.
		if _, err := p.cfg.Cluster.Status(ctx, id); errors.Is(err, driver.ErrNotFound) {
			p.forgetOrder(id.OrderID, true)
			return nil
		}
	}
	if err := p.cfg.Cluster.Delete(ctx, id); err != nil {
		return fmt.Errorf("provider: lease %s: %w", id, err)
	}
	if known {
		if err := p.removeRecord(id); err != nil {
			return err
		}
	}
	p.forgetOrder(id.OrderID, true)
	p.offerNames(id)
	if known {
		p.observe(Event{Kind: EventLeaseClosed, Lease: id, Reason: reason})
	}
	return nil
}
