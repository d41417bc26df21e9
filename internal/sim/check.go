package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// oddBlocks is for how many blocks under faults something may not be as it
// should: longer than a provider is down, what it does fails, and it looks at
// everything again.
const oddBlocks = 200

// checkBlock checks after a block what must hold always, and that what may not
// hold for a while does not last.
func (s *site) checkBlock(ctx context.Context) error {
	live, err := s.active(ctx)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, id := range live {
		key := id.OrderID.String()
		if wanted[key] {
			return fmt.Errorf("order %s has two leases", key)
		}
		wanted[key] = true
	}
	if err := errors.Join(s.checkWorkloads(ctx, live), s.checkAddresses(ctx, live)); err != nil {
		return err
	}
	p, err := s.provider()
	if err != nil {
		return nil //nolint:nilerr // it is down: nobody can be asked
	}
	held := p.Reservations()
	if err := s.checkNodes(held); err != nil {
		return err
	}
	if err := s.addBids(ctx, wanted); err != nil {
		return err
	}
	return lasts(s.w, "reserved by "+string(s.address), named(held), func(r reservation) bool { return !wanted[r.Key] })
}

// addBids adds the orders on which the site has an open bid.
func (s *site) addBids(ctx context.Context, orders map[string]bool) error {
	c := s.w.market.Client(s.address)
	list := func(p market.Page) ([]market.Bid, string, error) {
		return c.Bids(ctx, market.BidFilter{Provider: s.address, State: market.BidOpen}, p)
	}
	for b, err := range market.All(list) {
		if err != nil {
			return err
		}
		orders[b.ID.OrderID.String()] = true
	}
	return nil
}

// checkNodes checks that no node that is there is promised more than it has.
func (s *site) checkNodes(held []inventory.Reservation) error {
	promised := map[string]inventory.Quantities{}
	for _, r := range held {
		for _, a := range r.Placement.Assignments {
			promised[a.Node] = promised[a.Node].Plus(a.Resources)
		}
	}
	for _, n := range s.here {
		q, has := promised[n.Name], n.Allocatable
		if q.MilliCores > has.MilliCores || q.MemoryBytes > has.MemoryBytes || q.EphemeralBytes > has.EphemeralBytes {
			return fmt.Errorf("node %s is promised %+v and has %+v", n.Name, q, has)
		}
	}
	return nil
}

// checkWorkloads checks that no workload without a lease lasts, and no lease
// without a workload or a stated reason.
func (s *site) checkWorkloads(ctx context.Context, live []market.LeaseID) error {
	mine := map[market.LeaseID]bool{}
	for _, id := range live {
		mine[id] = true
	}
	running, err := s.running(ctx)
	if err != nil {
		return err
	}
	err = lasts(s.w, "runs without a lease at "+string(s.address), running, func(id market.LeaseID) bool { return !mine[id] })
	if err != nil {
		return err
	}
	p, err := s.provider()
	if err != nil {
		return nil //nolint:nilerr // it is down
	}
	return lasts(s.w, "neither runs nor says why at "+string(s.address), live, func(id market.LeaseID) bool {
		if slices.Contains(running, id) {
			return false
		}
		status, err := p.LeaseStatus(ctx, id)
		return err == nil && status.Reason == ""
	})
}

// running lists what is on the cluster, whether or not the provider can see it.
func (s *site) running(ctx context.Context) ([]market.LeaseID, error) {
	s.peek.Store(true)
	defer s.peek.Store(false)
	return s.cluster.Driver().List(ctx)
}

// lasts counts for how many blocks each thing of a list has been odd, and fails
// for one that has been too long.
func lasts[T fmt.Stringer](w *world, what string, list []T, odd func(T) bool) error {
	now := map[string]bool{}
	for _, v := range list {
		if odd(v) {
			now[what+" "+v.String()] = true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.odd {
		if strings.HasPrefix(key, what+" ") && !now[key] {
			delete(w.odd, key)
		}
	}
	for key := range now {
		if w.odd[key]++; w.odd[key] > oddBlocks {
			return fmt.Errorf("for %d blocks: %s", w.odd[key], key)
		}
	}
	return nil
}

// reservation is one with a name.
type reservation struct{ inventory.Reservation }

// String returns the order.
func (r reservation) String() string { return r.Key }

func named(rs []inventory.Reservation) []reservation {
	out := make([]reservation, len(rs))
	for i, r := range rs {
		out[i] = reservation{r}
	}
	return out
}
