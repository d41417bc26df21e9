package provider

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// leaseHealth is what was seen last of a lease that is served.
type leaseHealth struct {
	last driver.Status
	// runOut is when the tenant's funds run out; warnedOf and withdrawnFor are
	// the heights that were told and acted on.
	runOut                 RunOut
	warnedOf, withdrawnFor int64
	// notice is set once the lease has been given notice.
	notice *api.Notice
}

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
	order, err := p.cfg.Market.Order(ctx, id.OrderID)
	if err != nil {
		return err
	}
	record, noScale, err := p.ensureRecord(lease, order)
	if err != nil {
		return err
	}
	if err := p.answerScale(ctx, lease, order, record, noScale); err != nil {
		return err
	}
	if err := p.lookAfterMoney(ctx, id); err != nil {
		p.cfg.Logger.Warn("the funds of a lease could not be looked at", "lease", id, "err", err)
	}
	if record.Revision == 0 {
		return p.awaitManifest(ctx, lease, record)
	}
	if record, err = p.claimFreeNames(record); err != nil {
		return err
	}
	if record, err = p.keepAddresses(record); err != nil {
		return err
	}
	return errors.Join(p.keepWorkload(ctx, lease, record), p.announce(ctx, lease.ID))
}

// ensureRecord returns the record of a lease that is not closed, making it and
// the reservation if they are not there. noScale says why a request to scale has
// no room.
func (p *Provider) ensureRecord(lease market.Lease, order market.Order) (record Record, noScale []inventory.Reason, err error) {
	placement, refused, noScale := p.reserveLease(lease, order)
	if len(refused) > 0 {
		// The promise was made with the bid: it is kept as far as the cluster can.
		p.cfg.Logger.Error("a lease no longer fits the inventory", "lease", lease.ID, "reasons", refused)
	}
	notice := p.notice(lease)
	if r, _ := p.record(lease.ID); r.Revision == 0 {
		if refused := p.reserveAddresses(order, time.Time{}); len(refused) > 0 {
			p.cfg.Logger.Error("a lease's addresses cannot be reserved any more", "lease", lease.ID, "reasons", refused)
		}
	}
	selection, _ := iplease.SelectionOf(order.Spec.Requirements.Attributes) // what cannot be read was not bid on
	p.mu.Lock()
	known := p.records[lease.ID].Won()
	_, watched := p.health[lease.ID]
	if !watched {
		p.health[lease.ID] = &leaseHealth{}
	}
	p.health[lease.ID].notice = notice
	p.mu.Unlock()
	record, err = p.changeRecord(lease.ID, true, func(r *Record) {
		r.GroupName, r.Selection = order.Spec.Name, selection
		r.takeCounts(order.Spec)
		if len(placement.Assignments) > 0 {
			r.Placement = placement
		}
		if !r.Won() {
			r.WonAt = time.Now().UTC()
		}
	})
	switch {
	case err != nil:
		return Record{}, nil, err
	case !known:
		p.observe(Event{Kind: EventLeaseWon, Lease: lease.ID, Price: lease.Price})
	case !watched:
		p.observe(Event{Kind: EventRecovered, Lease: lease.ID, Price: lease.Price})
	}
	return record, noScale, nil
}

// changeRecord changes the record of a lease or bid and stores it, if the
// change changes anything. A record that is not there is made only with create;
// else nothing happens and the record returned is empty.
func (p *Provider) changeRecord(id market.LeaseID, create bool, change func(*Record)) (Record, error) {
	defer p.saving.lock(id)()
	p.mu.Lock()
	before, ok := p.records[id]
	p.mu.Unlock()
	if !ok && !create {
		return Record{}, nil
	}
	if !ok {
		before = Record{Lease: id}
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

// removeRecord forgets a lease durably and gives back what it was promised.
func (p *Provider) removeRecord(id market.LeaseID) error {
	defer p.saving.lock(id)()
	if err := p.cfg.Store.Remove(id); err != nil {
		return err
	}
	p.mu.Lock()
	delete(p.records, id)
	delete(p.health, id)
	released := p.ledger.Release(id.OrderID.String())
	p.mu.Unlock()
	if released {
		p.retryDeclined(bidengine.Reason.Capacity)
	}
	return nil
}

// awaitManifest closes the bid when the tenant has not sent the manifest in time.
func (p *Provider) awaitManifest(ctx context.Context, lease market.Lease, r Record) error {
	status, err := p.cfg.Cluster.Status(ctx, lease.ID)
	if err == nil {
		return p.keepFound(ctx, lease, status)
	}
	left := p.cfg.ManifestTimeout - time.Since(r.WonAt)
	if left > 0 {
		p.queue.addAfter(leaseTask(lease.ID), left)
		return nil
	}
	if !errors.Is(err, driver.ErrNotFound) {
		return err // it may run: look again
	}
	// From here on no manifest is taken, see acceptManifest; one that is being
	// taken at this moment is waited for.
	unlock, ok := p.manifests.tryLock(lease.ID.DeploymentID)
	if !ok {
		p.queue.addAfter(leaseTask(lease.ID), firstRetry)
		return nil
	}
	now, ok := p.record(lease.ID)
	unlock()
	if !ok || now.Revision > 0 {
		p.queue.add(leaseTask(lease.ID))
		return nil
	}
	return p.giveUp(ctx, lease, market.ReasonManifestTimeout)
}

// keepFound looks after a workload whose manifest the provider does not have: its
// store was lost, or is older than the lease. The tenant gets what is paid for, so
// it runs on until it fails, or until the manifest is sent again.
func (p *Provider) keepFound(ctx context.Context, lease market.Lease, status driver.Status) error {
	p.noteStatus(lease.ID, status)
	_, err := p.judge(ctx, lease, troubleOf(status.State))
	return err
}

// giveUp ends a lease that cannot be served, unless its end is on the way.
func (p *Provider) giveUp(ctx context.Context, lease market.Lease, reason market.CloseReason) error {
	if lease.State != market.LeaseActive {
		return nil
	}
	return p.closeBid(ctx, lease.ID, reason)
}

// closeBid ends a lease from the provider's side. That it has ended already is
// as good.
func (p *Provider) closeBid(ctx context.Context, id market.LeaseID, reason market.CloseReason) error {
	p.cfg.Logger.Info("closing a lease", "lease", id, "reason", reason)
	_, err := p.cfg.Market.Submit(ctx, market.CloseBid{ID: id.Bid(), Reason: reason})
	if err != nil && !errors.Is(err, market.ErrState) {
		return fmt.Errorf("provider: close lease %s: %w", id, err)
	}
	p.queue.addAfter(leaseTask(id), retryPause) // the market's news are quicker; a view that lags is not asked in haste
	return nil
}

// keepWorkload has the cluster run the accepted manifest and judges its health.
func (p *Provider) keepWorkload(ctx context.Context, lease market.Lease, r Record) error {
	status, err := p.cfg.Cluster.Status(ctx, lease.ID)
	if err == nil && r.behind(status) {
		var failed error
		if r, failed = p.catchUpWith(ctx, r, status); failed != nil {
			return failed
		}
	}
	switch {
	case errors.Is(err, driver.ErrNotFound) || err == nil && status.Revision < r.Revision:
		// What the cluster refuses for good does not stay pending for ever either.
		if over, err := p.judge(ctx, lease, TroublePending); over || err != nil {
			return err
		}
		w, err := workload(r)
		if err != nil {
			return err
		}
		return p.cfg.Cluster.Apply(ctx, w) // the cluster's news brings us back
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // not seen is not broken
		_, judged := p.judge(ctx, lease, TroubleUnknown)
		return errors.Join(err, judged)
	}
	p.noteStatus(lease.ID, status)
	_, err = p.judge(ctx, lease, troubleOf(status.State))
	return errors.Join(err, p.settle(lease.ID, r, status))
}

// catchUpWith puts a record in force that is older than what the cluster runs, as
// after an old copy of the store was put back: under a revision that the cluster
// does not take for an old one. If the record's manifest is not the one on the
// market, what runs stays until the tenant sends that.
func (p *Provider) catchUpWith(ctx context.Context, r Record, status driver.Status) (Record, error) {
	if status.Hash != r.Hash {
		d, err := p.cfg.Market.Deployment(ctx, r.Lease.DeploymentID)
		if err != nil {
			return r, err
		}
		if d.Hash != r.Hash {
			p.cfg.Logger.Warn("what runs for a lease is newer than what is remembered: its tenant must send the manifest again",
				"lease", r.Lease, "runs", status.Hash, "remembered", r.Hash)
			return r, nil
		}
	}
	return p.changeRecord(r.Lease, false, func(r *Record) {
		if r.behind(status) { // nobody has changed it meanwhile
			r.Revision = status.Revision + 1
		}
	})
}

// behind reports whether the cluster runs something that the record does not know
// of.
func (r Record) behind(status driver.Status) bool {
	return status.Revision > r.Revision || status.Revision == r.Revision && status.Hash != r.Hash && status.Hash != market.Hash{}
}

// troubleOf is what a state means; "" is all well.
func troubleOf(s driver.State) TroubleKind {
	switch s {
	case driver.Ready:
		return ""
	case driver.Failing:
		return TroubleFailing
	case driver.Pending, driver.Leaving:
		return TroublePending
	}
	return TroubleUnknown
}

// workload is what the cluster is to run for a record.
func workload(r Record) (driver.Workload, error) {
	group, ok := r.Group()
	if !ok {
		return driver.Workload{}, fmt.Errorf("provider: lease %s: the manifest has no group %q: %w", r.Lease, r.GroupName, market.ErrMismatch)
	}
	return driver.Workload{Lease: r.Lease, Revision: r.Revision, Hash: r.Hash, Group: r.adjusted(group), Addresses: r.Addresses}, nil
}

// noteStatus keeps a status and tells the observer when it is another.
func (p *Provider) noteStatus(id market.LeaseID, status driver.Status) {
	p.mu.Lock()
	h := p.health[id]
	changed := h != nil && !reflect.DeepEqual(h.last, status)
	if changed {
		h.last = status
	}
	p.mu.Unlock()
	if changed {
		p.observe(Event{Kind: EventStatus, Lease: id, Status: status})
	}
}

// judge notes what is wrong with a workload and ends its lease when that has
// lasted too long. It reports whether it did.
func (p *Provider) judge(ctx context.Context, lease market.Lease, kind TroubleKind) (over bool, err error) {
	id, now := lease.ID, time.Now().UTC()
	r, err := p.changeRecord(id, false, func(r *Record) { r.Trouble = r.Trouble.next(kind, now) })
	if err != nil || r.Trouble.Kind == "" {
		return false, err
	}
	patience := p.patience(r.Trouble.Kind)
	if patience < 0 || lease.State != market.LeaseActive { // an end that is on the way is not hurried
		return false, nil
	}
	if left := patience - now.Sub(r.Trouble.Since); left > 0 {
		p.queue.addAfter(leaseTask(id), left)
		return false, nil
	}
	p.cfg.Logger.Warn("a workload is given up", "lease", id, "trouble", string(r.Trouble.Kind), "since", r.Trouble.Since)
	return true, p.giveUp(ctx, lease, market.ReasonUnstable)
}

// next is the trouble after a look. A workload that fails, starts and fails
// again has been failing all the time; one that was out of sight is given its
// time anew, for nobody knows.
func (t Trouble) next(kind TroubleKind, now time.Time) Trouble {
	switch {
	case kind == "":
		return Trouble{}
	case kind == t.Kind || kind == TroublePending && t.Kind == TroubleFailing:
		return t
	}
	return Trouble{kind, now}
}

// patience is how long a trouble may last; negative is for ever.
func (p *Provider) patience(k TroubleKind) time.Duration {
	switch k {
	case TroublePending:
		return p.cfg.PendingTimeout
	case TroubleFailing:
		return p.cfg.UnhealthyTimeout
	case TroubleUnknown:
		return p.cfg.UnknownTimeout
	}
	return -1
}

// endLease takes down what is left of a lease that is over, and forgets it.
func (p *Provider) endLease(ctx context.Context, id market.LeaseID, reason market.CloseReason) error {
	defer p.manifests.lock(id.DeploymentID)()
	if err := p.releaseAddresses(ctx, id); err != nil {
		return err
	}
	known := p.serving(id)
	if !known {
		// Its own deletion is news of the cluster too: that must not go on for ever.
		if _, err := p.cfg.Cluster.Status(ctx, id); errors.Is(err, driver.ErrNotFound) {
			p.queue.addAfter(orderTask(id.OrderID), retryPause) // there may be a bid's promise
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
	// Whoever looked at the lease meanwhile may have bound its addresses again.
	if err := p.releaseAddresses(ctx, id); err != nil {
		return err
	}
	p.queue.addAfter(orderTask(id.OrderID), retryPause)
	p.offerNames(id)
	p.offerAddresses(id)
	if known {
		p.observe(Event{Kind: EventLeaseClosed, Lease: id, Reason: reason})
	}
	return nil
}
