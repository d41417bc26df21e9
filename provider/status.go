package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

var (
	_ gateway.Screener = (*Provider)(nil)
	_ driver.Execer    = (*Provider)(nil)
)

// Status implements [gateway.Backend].
func (p *Provider) Status(context.Context) (api.ProviderStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := api.ProviderStatus{
		Provider: p.me, Height: p.height, State: api.ProviderReady, Attributes: p.cfg.Attributes.Sorted(),
	}
	for _, r := range p.records {
		if r.Won() {
			s.Leases++
		}
	}
	for _, e := range p.orders {
		if e.bid != nil {
			s.Bids++
			continue
		}
		s.Orders++
		for _, r := range e.declined {
			if s.Refusals == nil {
				s.Refusals = map[string]int{}
			}
			s.Refusals[string(r.Code)]++
		}
	}
	if why := p.vitals.ailment(time.Now(), p.cfg.StaleAfter, p.cfg.InventoryEvery); why != "" {
		s.State, s.Message = api.ProviderUnready, why
	} else if p.draining.on {
		s.State, s.Message = api.ProviderDraining, cmp.Or(p.draining.notice, "no new leases at present")
	}
	if p.hasNodes {
		t := p.ledger.Totals()
		s.Inventory = &api.Inventory{
			Nodes: t.Nodes, Allocatable: publicQuantities(t.Allocatable), Available: publicQuantities(t.Available),
		}
	}
	return s, nil
}

// vitals are when the parts that a provider depends on were seen last.
type vitals struct {
	// ready says that the state of the market has been read once.
	ready            bool
	blockAt, nodesAt time.Time
}

// ailment says why a provider is not ready, "" when it is.
func (v vitals) ailment(now time.Time, stale, inventoryEvery time.Duration) string {
	switch {
	case !v.ready:
		return "starting"
	case now.Sub(v.blockAt) > stale:
		return "the market cannot be seen"
	case now.Sub(v.nodesAt) > stale+inventoryEvery:
		return "the cluster cannot be seen"
	}
	return ""
}

func publicQuantities(q inventory.Quantities) api.Quantities {
	out := api.Quantities{
		MilliCores: q.MilliCores, MemoryBytes: q.MemoryBytes, EphemeralBytes: q.EphemeralBytes,
		PersistentBytes: q.PersistentBytes,
	}
	for _, g := range q.GPUs {
		if out.GPUs == nil {
			out.GPUs = map[string]uint64{}
		}
		out.GPUs[g.Vendor+"/"+g.Model]++
	}
	return out
}

// Declined returns why an open order was not bid on; nil when it was, or is not
// known.
func (p *Provider) Declined(id market.OrderID) []bidengine.Reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.orders[id]; e != nil {
		return e.declined
	}
	return nil
}

// Screen implements [gateway.Screener]. A group that the market would refuse is
// refused with the market's rule; more groups than a deployment may have are
// [market.ErrInvalid].
func (p *Provider) Screen(ctx context.Context, tenant market.Address, groups []market.GroupSpec) ([]api.Offer, error) {
	s, err := p.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if most := s.Params.Limits.MaxGroups; len(groups) > int(most) {
		return nil, market.Refuse(market.ErrInvalid, "deployment-groups", "%d groups, at most %d", len(groups), most)
	}
	p.mu.Lock()
	s.Inventory = p.ledger.Snapshot()
	p.mu.Unlock()
	offers := make([]api.Offer, len(groups))
	for i, spec := range groups {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		offers[i] = p.screenGroup(ctx, tenant, spec, s)
	}
	return offers, ctx.Err() // a strategy that was cut off has said nothing
}

// screenGroup says what would be bid on a group.
func (p *Provider) screenGroup(ctx context.Context, tenant market.Address, spec market.GroupSpec, s bidengine.Snapshot) api.Offer {
	offer := api.Offer{Group: spec.Name}
	var rule *market.RuleError
	if errors.As(spec.Validate(s.Params.Limits), &rule) {
		offer.Reasons = []api.Reason{{Rule: rule.Rule, Detail: rule.Detail}}
		return offer
	}
	order := market.Order{State: market.OrderOpen, Spec: spec}
	order.ID.Owner = tenant
	s.Addresses = func() []bidengine.Reason { return p.screenAddresses(order) }
	decision, reasons := bidengine.Decide(ctx, order, s)
	if offer.Bid = len(reasons) == 0; offer.Bid {
		offer.Price = &decision.Price
	}
	for _, r := range reasons {
		offer.Reasons = append(offer.Reasons, api.Reason{Rule: string(r.Code), Detail: r.Detail})
	}
	return offer
}

// LeaseStatus implements [gateway.Backend].
func (p *Provider) LeaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	p.mu.Lock()
	record := p.records[id]
	var h leaseHealth
	if p.health[id] != nil {
		h = *p.health[id]
	}
	p.mu.Unlock()
	if !record.Won() {
		return p.statusWithoutRecord(ctx, id)
	}
	var out api.LeaseStatus
	if record.Revision == 0 {
		out = p.statusWithoutManifest(ctx, id)
	} else {
		st, err := p.cfg.Cluster.Status(ctx, id)
		out = leaseDocument(id, st, err)
		p.addHostnames(&out, record)
		p.addIPs(ctx, &out, record)
	}
	if run := h.runOut; run.Height > 0 {
		out.Funds = &api.Funds{RunOutHeight: run.Height, RunOutTime: run.Time, Overdrawn: run.Overdrawn}
	}
	out.Notice, out.Scale = h.notice, scaleDocument(record.Scaled)
	return out, nil
}

// statusWithoutManifest answers for a lease whose manifest is not there, although
// its workload may be.
func (p *Provider) statusWithoutManifest(ctx context.Context, id market.LeaseID) api.LeaseStatus {
	if st, err := p.cfg.Cluster.Status(ctx, id); err == nil {
		return api.LeaseFromDriver(id, phaseOf(st.State), "the provider has lost the manifest: send it again", st)
	}
	return api.LeaseFromDriver(id, api.PhaseAwaitingManifest, "send the manifest", driver.Status{})
}

// leaseDocument tells what the cluster says, also when it says nothing.
func leaseDocument(id market.LeaseID, st driver.Status, err error) api.LeaseStatus {
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return api.LeaseFromDriver(id, api.PhaseDeploying, "the cluster has not taken it yet", driver.Status{})
	case err != nil:
		return api.LeaseFromDriver(id, api.PhaseUnknown, "the cluster cannot be seen at the moment", driver.Status{})
	}
	return api.LeaseFromDriver(id, phaseOf(st.State), worstReason(st), st)
}

// statusWithoutRecord answers for a lease that news has not brought here yet.
func (p *Provider) statusWithoutRecord(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	lease, err := p.cfg.Market.Lease(ctx, id)
	if err != nil {
		return api.LeaseStatus{}, err
	}
	if lease.State.Terminal() {
		return api.LeaseStatus{}, market.Refuse(market.ErrNotFound, "lease-closed", "lease %s is closed (%s)", id, lease.Reason)
	}
	p.queue.add(leaseTask(id))
	return api.LeaseFromDriver(id, api.PhaseAwaitingManifest, "send the manifest", driver.Status{}), nil
}

func phaseOf(s driver.State) api.Phase {
	switch s {
	case driver.Ready:
		return api.PhaseActive
	case driver.Failing:
		return api.PhaseFailing
	case driver.Leaving:
		return api.PhaseClosing
	case driver.Pending:
		return api.PhaseDeploying
	}
	return api.PhaseUnknown
}

// worstReason is the reason of the first service that is not ready.
func worstReason(st driver.Status) string {
	for _, s := range st.Services {
		if s.State == st.State && s.State != driver.Ready && s.Reason != "" {
			return s.Name + ": " + s.Reason
		}
	}
	return ""
}

// Logs implements [driver.LogStreamer] when the cluster does.
func (p *Provider) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	if s, ok := p.cfg.Cluster.(driver.LogStreamer); ok {
		return s.Logs(ctx, id, o)
	}
	return func(yield func(driver.LogLine, error) bool) {
		yield(driver.LogLine{}, fmt.Errorf("provider: logs: %w", errors.ErrUnsupported))
	}
}

// Exec implements [driver.Execer] when the cluster does.
func (p *Provider) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if e, ok := p.cfg.Cluster.(driver.Execer); ok {
		return e.Exec(ctx, id, x)
	}
	return 0, fmt.Errorf("provider: exec: %w", errors.ErrUnsupported)
}

// Reservations returns what is promised at the moment: to leases, and to bids
// that stand or are about to. They are sorted by the text of their orders.
func (p *Provider) Reservations() []inventory.Reservation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger.Export()
}
