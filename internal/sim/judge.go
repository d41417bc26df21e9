package sim

import (
	"context"
	"fmt"
	"slices"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

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
		if err := s.judgeReplicas(ctx, id, st); err != nil {
			return err
		}
		if st.State != driver.Ready || status.Revision != st.Revision {
			return fmt.Errorf("active lease %s does not run what was accepted: phase %s (%s), revision %d, cluster %s %d",
				id, status.Phase, status.Reason, status.Revision, st.State, st.Revision)
		}
	}
	if err := s.judgeAccepted(ctx); err != nil {
		return err
	}
	if err := s.judgeAddresses(ctx, leases); err != nil {
		return err
	}
	return s.judgePromises(ctx, leases)
}

// judgeAccepted checks that no lease was ended for want of a manifest that had
// been accepted.
func (s *site) judgeAccepted(ctx context.Context) error {
	c := s.w.market.Client(s.address)
	list := func(p market.Page) ([]market.Lease, string, error) {
		return c.Leases(ctx, market.LeaseFilter{Provider: s.address, State: market.LeaseClosed}, p)
	}
	for l, err := range market.All(list) {
		if err != nil {
			return err
		}
		s.w.mu.Lock()
		taken := s.w.accepted[acceptance{l.ID.DeploymentID, s.address}]
		s.w.mu.Unlock()
		if taken && l.Reason == market.ReasonManifestTimeout {
			return fmt.Errorf("lease %s was closed for want of the manifest that had been accepted", l.ID)
		}
	}
	return nil
}

// judgeReplicas checks that as many replicas run as the lease is for.
func (s *site) judgeReplicas(ctx context.Context, id market.LeaseID, st driver.Status) error {
	o, err := s.w.market.Client(s.address).Order(ctx, id.OrderID)
	if err != nil {
		return err
	}
	var want, have uint32
	for _, c := range o.Spec.Counts() {
		want += c.Count
	}
	for _, svc := range st.Services {
		have += svc.Wanted
	}
	if have != want {
		return fmt.Errorf("active lease %s is for %d replicas, %d run", id, want, have)
	}
	return nil
}

// active lists the provider's leases that are not closed.
func (s *site) active(ctx context.Context) ([]market.LeaseID, error) {
	c := s.w.market.Client(s.address)
	var out []market.LeaseID
	list := func(p market.Page) ([]market.Lease, string, error) {
		return c.Leases(ctx, market.LeaseFilter{Provider: s.address, Live: true}, p)
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
	p, err := s.provider()
	if err != nil {
		return err
	}
	have := map[string][]market.UnitCount{}
	for _, r := range p.Reservations() {
		have[r.Key] = counts(r.Placement)
	}
	for id := range orders {
		o, err := c.Order(ctx, id)
		if err != nil {
			return err
		}
		if got, want := have[id.String()], o.Spec.Counts(); !slices.Equal(got, want) {
			return fmt.Errorf("order %s calls for %v, promised are %v", id, want, got)
		}
		delete(have, id.String())
	}
	if len(have) > 0 {
		return fmt.Errorf("promised without reason: %v", have)
	}
	return nil
}

// counts are the replicas per unit of a placement.
func counts(p inventory.Placement) []market.UnitCount {
	var out []market.UnitCount
	for _, a := range p.Assignments {
		if len(out) == 0 || out[len(out)-1].Unit != a.Unit {
			out = append(out, market.UnitCount{Unit: a.Unit})
		}
		out[len(out)-1].Count++
	}
	return out
}
