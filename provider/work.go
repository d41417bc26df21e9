package provider

import (
	"context"
	"errors"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
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

// runClock does what is due by time alone.
func (p *Provider) runClock(ctx context.Context) error {
	nodes, all, money := time.NewTicker(p.cfg.InventoryEvery), time.NewTicker(p.cfg.ResyncEvery), time.NewTicker(p.cfg.WithdrawEvery)
	defer nodes.Stop()
	defer all.Stop()
	defer money.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-nodes.C:
			err = p.refreshNodes(ctx)
		case <-all.C:
			err = p.resync(ctx)
		case <-money.C:
			err = p.Withdraw(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.cfg.Logger.Warn("periodic work failed, it will be tried again", "err", err)
		}
	}
}

// runWorker works on one thing after another.
func (p *Provider) runWorker(ctx context.Context) error {
	for {
		t, ok := p.queue.next(ctx)
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
		if n := p.queue.done(t, err); n > 0 && ctx.Err() == nil {
			p.cfg.Logger.Warn("will try again", "lease", t.id, "failures", n, "err", err)
		}
	}
}

// refreshNodes reads the cluster's nodes into the ledger.
func (p *Provider) refreshNodes(ctx context.Context) error {
	nodes, err := p.cfg.Cluster.Nodes(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	err = p.ledger.SetNodes(nodes)
	p.hasNodes = err == nil
	p.mu.Unlock()
	if err == nil {
		p.retryDeclined()
	}
	return err
}

// retryDeclined looks again at orders that were not bid on.
func (p *Provider) retryDeclined() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, e := range p.orders {
		if len(e.declined) > 0 {
			p.queue.add(orderTask(id))
		}
	}
}
