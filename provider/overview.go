package provider

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// Overview is what the operator of a provider may know, tenants included.
type Overview struct {
	Status api.ProviderStatus `json:"status"`
	// Leases are those that are served, Bids those that stand, Declined the open
	// orders that are not bid on; each sorted by its text.
	Leases   []LeaseOverview `json:"leases"`
	Bids     []BidOverview   `json:"bids"`
	Declined []OrderOverview `json:"declined"`
	// Addresses say how many there are to lease, per pool and family, and in which
	// states they are.
	Addresses []iplease.Capacity `json:"addresses,omitempty"`
	// Unreadable names the records that could not be read at the start and are kept
	// aside.
	Unreadable []string `json:"unreadable,omitempty"`
	// Deposits are the provider's money that stands behind open bids.
	Deposits market.Coins `json:"deposits"`
	// Funds are what its account could spend at the newest block.
	Funds market.Coins `json:"funds"`
	// Waiting counts the orders and leases that wait for work or are worked on.
	WaitingOrders int `json:"waiting_orders"`
	WaitingLeases int `json:"waiting_leases"`
	// BlockTime is the measured time between blocks.
	BlockTime time.Duration `json:"block_time"`
}

// LeaseOverview is one lease.
type LeaseOverview struct {
	Lease    market.LeaseID `json:"lease"`
	Revision uint64         `json:"revision"`
	State    string         `json:"state"`
	// Trouble is what is wrong, and since when.
	Trouble Trouble `json:"trouble,omitzero"`
	// RunOut says when the tenant's funds run out.
	RunOut RunOut `json:"run_out,omitzero"`
	// Notice says when the lease ends because its capacity was taken back.
	Notice *api.Notice `json:"notice,omitempty"`
	// Nodes are where it was placed.
	Nodes []string `json:"nodes"`
}

// BidOverview is one open bid.
type BidOverview struct {
	Bid     market.BidID `json:"bid"`
	Price   market.Price `json:"price"`
	Deposit market.Coin  `json:"deposit"`
}

// OrderOverview is one open order that is not bid on.
type OrderOverview struct {
	Order   market.OrderID     `json:"order"`
	Reasons []bidengine.Reason `json:"reasons"`
}

// Overview returns what there is at the moment.
func (p *Provider) Overview(ctx context.Context) (Overview, error) {
	status, err := p.Status(ctx)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{Status: status, Unreadable: p.unreadable, WaitingOrders: p.queue.orders.size(), WaitingLeases: p.queue.leases.size()}
	p.cache.mu.Lock()
	o.Funds = p.cache.facts.funds
	p.cache.mu.Unlock()
	if p.addresses != nil {
		p.addresses.look(func(t *iplease.Table) { o.Addresses = t.Capacity() })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o.BlockTime = p.pace.blockTime()
	for id, r := range p.records {
		if r.Won() {
			o.Leases = append(o.Leases, p.leaseOverview(id, r))
		}
	}
	for id, e := range p.orders {
		switch {
		case e.bid != nil:
			o.Bids = append(o.Bids, BidOverview{e.bid.ID, e.bid.Price, e.bid.Deposit})
			if sum, err := o.Deposits.Add(e.bid.Deposit); err == nil { // the money exists: the sum fits
				o.Deposits = sum
			}
		case len(e.declined) > 0:
			o.Declined = append(o.Declined, OrderOverview{id, e.declined})
		}
	}
	o.sort()
	return o, nil
}

// leaseOverview is one lease. p.mu is held.
func (p *Provider) leaseOverview(id market.LeaseID, r Record) LeaseOverview {
	out := LeaseOverview{Lease: id, Revision: r.Revision, State: "awaiting-manifest", Trouble: r.Trouble, Nodes: []string{}}
	if r.Revision > 0 {
		out.State = "deploying"
	}
	if h := p.health[id]; h != nil {
		out.RunOut, out.Notice = h.runOut, h.notice
		if h.last.State != 0 {
			out.State = h.last.State.String()
		}
	}
	for _, a := range r.Placement.Assignments {
		out.Nodes = append(out.Nodes, a.Node)
	}
	slices.Sort(out.Nodes)
	out.Nodes = slices.Compact(out.Nodes)
	return out
}

func (o *Overview) sort() {
	slices.SortFunc(o.Leases, func(a, b LeaseOverview) int { return strings.Compare(a.Lease.String(), b.Lease.String()) })
	slices.SortFunc(o.Bids, func(a, b BidOverview) int { return strings.Compare(a.Bid.String(), b.Bid.String()) })
	slices.SortFunc(o.Declined, func(a, b OrderOverview) int { return cmp.Compare(a.Order.String(), b.Order.String()) })
}
