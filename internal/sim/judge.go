package sim

import (
	"context"
	"fmt"
	"slices"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// checkPromises checks that no provider has promised more than it has, as far
// as it tells the world.
func (s *site) checkPromises(ctx context.Context) error {
	p, err := s.provider()
	if err != nil {
		return nil //nolint:nilerr // it is down: it promises nothing
	}
	status, err := p.Status(ctx)
	if err != nil || status.Inventory == nil {
		return err
	}
	a, b := status.Inventory.Available, status.Inventory.Allocatable
	if a.MilliCores > b.MilliCores || a.MemoryBytes > b.MemoryBytes {
		return fmt.Errorf("%s has more available than allocatable", s.address)
	}
	return nil
}

// judge checks that everything has converged.
func (w *world) judge(ctx context.Context) error {
	if err := w.market.Check(); err != nil {
		return err
	}
	for _, s := range w.sites {
		if err := s.judge(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.address, err)
		}
	}
	return nil
}

// judge checks a provider against the market: it runs what its active leases
// call for, nothing else, and promises exactly that.
func (s *site) judge(ctx context.Context) error {
	leases, err := s.active(ctx)
	if err != nil {
		return err
	}
	running, err := s.cluster.Driver().List(ctx)
	if err != nil {
		return err
	}
	for _, id := range running {
		if !slices.Contains(leases, id) {
			return fmt.Errorf("a workload runs for %s, which is no active lease", id)
		}
	}
	p, err := s.provider()
	if err != nil {
		return err
	}
	for _, id := range leases {
		status, err := p.LeaseStatus(ctx, id)
		if err != nil {
			return fmt.Errorf("active lease %s: %w", id, err)
		}
		st, err := s.cluster.Driver().Status(ctx, id)
		if err != nil {
			return fmt.Errorf("active lease %s: phase %s: %w", id, status.Phase, err)
		}
		if st.State != driver.Ready || status.Revision != st.Revision {
			return fmt.Errorf("active lease %s does not run what was accepted: phase %s (%s), revision %d, cluster %s %d",
				id, status.Phase, status.Reason, status.Revision, st.State, st.Revision)
		}
	}
	return s.judgePromises(ctx, leases)
}

// active lists the provider's active leases.
func (s *site) active(ctx context.Context) ([]market.LeaseID, error) {
	c := s.w.market.Client(s.address)
	var out []market.LeaseID
	list := func(p market.Page) ([]market.Lease, string, error) {
		return c.Leases(ctx, market.LeaseFilter{Provider: s.address, State: market.LeaseActive}, p)
	}
	for l, err := range market.All(list) {
		if err != nil {
			return nil, err
		}
		out = append(out, l.ID)
	}
	return out, nil
}

// judgePromises compares what is reserved with what the leases and open bids
// ask for.
func (s *site) judgePromises(ctx context.Context, leases []market.LeaseID) error {
	c := s.w.market.Client(s.address)
	orders := map[market.OrderID]bool{}
	for _, id := range leases {
		orders[id.OrderID] = true
	}
	list := func(p market.Page) ([]market.Bid, string, error) {
		return c.Bids(ctx, market.BidFilter{Provider: s.address, State: market.BidOpen}, p)
	}
	for b, err := range market.All(list) {
		if err != nil {
			return err
		}
		orders[b.ID.OrderID] = true
	}
	var want uint64
	for id := range orders {
		o, err := c.Order(ctx, id)
		if err != nil {
			return err
		}
		want += o.Spec.Totals().MilliCores
	}
	p, err := s.provider()
	if err != nil {
		return err
	}
	status, err := p.Status(ctx)
	if err != nil {
		return err
	}
	if have := status.Inventory.Allocatable.MilliCores - status.Inventory.Available.MilliCores; have != want {
		return fmt.Errorf("%d milli-cores are promised, leases and bids call for %d", have, want)
	}
	return nil
}
