package provider

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// runCluster follows the cluster's news.
func (p *Provider) runCluster(ctx context.Context) error {
	w, ok := p.cfg.Cluster.(driver.Watcher)
	if !ok {
		return nil
	}
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		for id, err := range w.Watch(ctx) {
			if err != nil {
				if errors.Is(err, errors.ErrUnsupported) {
					return nil
				}
				p.cfg.Logger.Warn("lost sight of the cluster", "err", err)
				break
			}
			wait = firstRetry
			p.queue.add(leaseTask(id))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return ctx.Err()
}

// runNodes reads the nodes when the cluster says that they may be others. News that
// come while they are read are one.
func (p *Provider) runNodes(ctx context.Context) error {
	w, ok := p.cfg.Cluster.(driver.NodeWatcher)
	if !ok {
		return nil
	}
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		for _, err := range w.WatchNodes(ctx) {
			if errors.Is(err, errors.ErrUnsupported) {
				return nil
			}
			if err == nil {
				err = p.refreshNodes(ctx)
			}
			if err != nil {
				p.cfg.Logger.Warn("the cluster's nodes cannot be followed at the moment", "err", err)
				break
			}
			wait = firstRetry
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return ctx.Err()
}

// runClock does what is due by time alone.
func (p *Provider) runClock(ctx context.Context) error {
	nodes, all := time.NewTicker(p.cfg.InventoryEvery), time.NewTicker(p.cfg.ResyncEvery)
	defer nodes.Stop()
	defer all.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-nodes.C:
			err = p.refreshNodes(ctx)
		case <-all.C:
			err = p.resync(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.cfg.Logger.Warn("periodic work failed, it will be tried again", "err", err)
		}
	}
}

// runWorker works on one thing after another.
func (p *Provider) runWorker(ctx context.Context, q *queue) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.restored:
	}
	for {
		t, ok := q.next(ctx)
		if !ok {
			return ctx.Err()
		}
		var err error
		if t.lease {
			err = p.reconcileLease(ctx, t.id)
		} else {
			err = p.reconcileOrder(ctx, t.id.OrderID)
		}
		if t.lease {
			p.bell.ring(t.id)
		}
		if n := q.done(t, err); n > 0 && ctx.Err() == nil {
			p.cfg.Logger.Warn("will try again", "lease", t.id, "failures", n, "err", err)
		}
	}
}

// refreshNodes reads the cluster's nodes into the ledger.
func (p *Provider) refreshNodes(ctx context.Context) error {
	defer p.reading.lock("")()
	nodes, err := p.cfg.Cluster.Nodes(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	changed := !p.hasNodes || !reflect.DeepEqual(nodes, p.nodes)
	if changed {
		err = p.ledger.SetNodes(nodes)
	}
	if err == nil {
		p.hasNodes, p.nodes, p.vitals.nodesAt = true, nodes, time.Now()
	}
	displaced := p.displaced(changed)
	p.mu.Unlock()
	for _, t := range displaced {
		p.queue.add(t)
	}
	if changed && err == nil {
		p.retryDeclined(bidengine.Reason.Capacity)
	}
	return err
}

// displaced are the bids and leases whose place is gone. p.mu is held.
func (p *Provider) displaced(changed bool) []task {
	if !changed {
		return nil
	}
	var out []task
	gone := p.ledger.Displaced()
	for id, r := range p.records {
		if _, found := slices.BinarySearch(gone, id.OrderID.String()); !found {
			continue
		}
		if r.Won() {
			out = append(out, leaseTask(id))
		} else {
			out = append(out, orderTask(id.OrderID))
		}
	}
	return out
}

// retryPause collects what has come free before orders are looked at again.
const retryPause = time.Second

// retryDeclined looks again at orders that were not bid on for such a reason.
func (p *Provider) retryDeclined(reason func(bidengine.Reason) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, e := range p.orders {
		if slices.ContainsFunc(e.declined, reason) {
			p.queue.addAfter(orderTask(id), retryPause)
		}
	}
}
