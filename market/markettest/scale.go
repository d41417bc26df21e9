package markettest

import (
	"slices"

	"github.com/moorage-dev/moorage/market"
)

func scaleCases() []Case {
	return []Case{
		{"bids-name-prices-per-replica", "a bid on a group that can be scaled names a price for each unit, none above the tenant's, and they add up", bidsNameUnitPrices},
		{"scaling-follows-the-price-per-replica", "a confirmed request changes counts, price and hash in its block, and what is paid follows to the unit", scalingFollowsPrice},
		{"scaling-waits-for-the-provider", "until the provider has confirmed a request, by its number, nothing changes; declined or taken back it is gone", scalingWaits},
		{"scaling-is-bounded", "a request outside what was ordered, dearer than allowed, or for nothing is refused by name", scalingIsBounded},
		{"a-request-to-scale-lapses", "a request without an answer is dropped at ExpiresAt", requestLapses},
		{"a-dearer-lease-must-be-funded", "a confirmation is refused when the account cannot pay a block at the new price", dearerMustBeFunded},
		{"what-ran-last-is-ordered-next", "after a scaled lease closed, the next order has its counts; a request that waited is gone", scaledIsOrderedNext},
		{"notice-is-kept", "with ReclaimBlocks a resigned lease runs and pays until EndsAt, and is listed as live", noticeIsKept},
		{"the-tenant-need-not-wait-for-the-notice", "in the notice the tenant may close the lease and gets the next order at once", tenantNeedNotWait},
	}
}

// scalable returns a group of so many replicas that may be scaled from 1 to 8.
func (r *run) scalable(count uint32, ceiling string) market.GroupSpec {
	g := r.spec("web", ceiling)
	g.Units[0].Count, g.Units[0].MinCount, g.Units[0].MaxCount = count, 1, 8
	return g
}

// offerEach bids so much for a replica of a group's only unit.
func (a *actor) offerEach(o market.OrderID, count uint64, each string) market.CreateBid {
	msg := a.offer(o, each)
	one := msg.Price.AmountPerBlock
	var err error
	msg.Price.AmountPerBlock, err = one.Times(count)
	a.r.must(err)
	msg.Units = []market.UnitPrice{{Unit: 1, AmountPerBlock: one}}
	return msg
}

// scaled makes a lease of two replicas at a price each.
func (r *run) scaled(a, p *actor, each string) market.Lease {
	o := orderOf(a.deploy(1, r.scalable(2, "1000000")), 1, 1)
	msg := p.offerEach(o, 2, each)
	p.do(msg)
	a.do(market.CreateLease{ID: msg.ID})
	return r.leaseNow(a, msg.ID.Lease())
}

func (r *run) leaseNow(a *actor, id market.LeaseID) market.Lease {
	l, err := a.Lease(r.ctx, id)
	r.must(err)
	return l
}

func to(id market.LeaseID, count uint32) market.ScaleLease {
	return market.ScaleLease{ID: id, Counts: []market.UnitCount{{Unit: 1, Count: count}}}
}

// wantCounts checks the counts of an order and of its group, and the price of
// the lease.
func (r *run) wantCounts(a *actor, id market.LeaseID, count uint32, perBlock string) {
	want := []market.UnitCount{{Unit: 1, Count: count}}
	o, err := a.Order(r.ctx, id.OrderID)
	r.must(err)
	groups, err := a.Groups(r.ctx, id.DeploymentID)
	r.must(err)
	p, err := a.Payment(r.ctx, id)
	r.must(err)
	l := r.leaseNow(a, id)
	r.want(slices.Equal(o.Spec.Counts(), want) && slices.Equal(groups[id.GSeq-1].Spec.Counts(), want),
		"order and group have %v and %v, want %v", o.Spec.Counts(), groups[id.GSeq-1].Spec.Counts(), want)
	r.want(l.Price == r.price(perBlock) && p.Price == l.Price, "lease and payment cost %s and %s, want %s", l.Price, p.Price, perBlock)
}

func bidsNameUnitPrices(r *run) {
	a, p := r.actor(), r.provider()
	o := orderOf(a.deploy(1, r.scalable(2, "10")), 1, 1)
	offer := p.offerEach(o, 2, "7.5")
	bend := func(f func(*market.CreateBid)) market.CreateBid {
		msg := market.CloneMsg(offer).(market.CreateBid)
		f(&msg)
		return msg
	}
	p.refused(market.ErrInvalid, "bid-unit-prices", bend(func(m *market.CreateBid) { m.Units = nil }))
	p.refused(market.ErrInvalid, "bid-unit-prices", bend(func(m *market.CreateBid) { m.Units[0].Unit = 2 }))
	p.refused(market.ErrInvalid, "bid-unit-prices", bend(func(m *market.CreateBid) { m.Units = append(m.Units, m.Units[0]) }))
	p.refused(market.ErrInvalid, "bid-unit-prices", bend(func(m *market.CreateBid) { m.Price = r.price("14.9") }))
	p.do(offer)
	got, err := a.Bid(r.ctx, offer.ID)
	r.must(err)
	r.want(slices.Equal(got.Units, offer.Units), "the bid's prices are %v, want %v", got.Units, offer.Units)
}

func scalingFollowsPrice(r *run) {
	a, p := r.actor(), r.provider()
	l := r.scaled(a, p, "100.7")
	ask := to(l.ID, 5)
	ask.Hash, ask.MaxPrice = market.Hash{2}, r.price("503.5")
	a.do(ask)
	p.do(market.WithdrawLease{ID: l.ID})
	at := p.do(market.ConfirmScale{ID: l.ID, Number: 1}).Height
	r.wantCounts(a, l.ID, 5, "503.5")
	d, err := a.Deployment(r.ctx, l.ID.DeploymentID)
	r.must(err)
	r.want(d.Hash == market.Hash{2}, "the deployment's hash is %s", d.Hash)
	r.advance(3)
	a.do(to(l.ID, 1))
	down := p.do(market.ConfirmScale{ID: l.ID, Number: 2}).Height
	r.wantCounts(a, l.ID, 1, "100.7")
	r.advance(2)
	end := a.do(market.CloseDeployment{ID: l.ID.DeploymentID}).Height
	replicas := 2*(at-l.CreatedAt) + 5*(down-at) + (end - down)
	cost := r.due(r.price("100.7"), replicas)
	a.wantOwns(Denom, 0, cost)
	p.wantOwns(Denom, cost-fee(cost), 0)
}

func scalingWaits(r *run) {
	a, p := r.actor(), r.provider()
	l := r.scaled(a, p, "100")
	p.refused(market.ErrState, "scale-not-asked", market.ConfirmScale{ID: l.ID, Number: 1})
	at := a.do(to(l.ID, 3)).Height
	got := r.leaseNow(a, l.ID)
	want := market.Scale{Number: 1, Price: r.price("300"), RequestedAt: at, ExpiresAt: at + Params().ScaleBlocks}
	r.want(got.Scale != nil && got.Scale.Number == want.Number && got.Scale.Price == want.Price && got.Scale.RequestedAt == want.RequestedAt &&
		got.Scale.ExpiresAt == want.ExpiresAt && slices.Equal(got.Scale.Counts, []market.UnitCount{{Unit: 1, Count: 3}}), "the request is %+v, want %+v", got.Scale, want)
	r.wantCounts(a, l.ID, 2, "200")
	a.do(to(l.ID, 4))
	p.refused(market.ErrState, "scale-outdated", market.ConfirmScale{ID: l.ID, Number: 1})
	p.do(market.DeclineScale{ID: l.ID, Number: 2})
	p.refused(market.ErrState, "scale-not-asked", market.ConfirmScale{ID: l.ID, Number: 2})
	a.do(to(l.ID, 4))
	a.do(to(l.ID, 2)) // as it is: taken back
	p.refused(market.ErrState, "scale-not-asked", market.ConfirmScale{ID: l.ID, Number: 3})
	r.wantCounts(a, l.ID, 2, "200")
	got = r.leaseNow(a, l.ID)
	r.want(got.Scale == nil && got.Scales == 3, "after 3 requests %d are counted, %+v waits", got.Scales, got.Scale)
}

func scalingIsBounded(r *run) {
	a, p := r.actor(), r.provider()
	l := r.scaled(a, p, "100")
	a.refused(market.ErrLimit, "scale-count", to(l.ID, 9))
	a.refused(market.ErrLimit, "scale-count", to(l.ID, 0))
	a.refused(market.ErrInvalid, "scale-nothing", to(l.ID, 2))
	twice := to(l.ID, 3)
	twice.Counts = append(twice.Counts, market.UnitCount{Unit: 1, Count: 4})
	a.refused(market.ErrInvalid, "scale-unit", twice)
	dear := to(l.ID, 3)
	dear.MaxPrice = r.price("299.999999999999999999")
	a.refused(market.ErrMismatch, "scale-price-over-max", dear)
	other := dear
	other.MaxPrice = market.Price{Denom: OtherDenom, AmountPerBlock: market.NewDecimal(1000)}
	a.refused(market.ErrMismatch, "scale-price-over-max", other)
	same := to(l.ID, 3)
	same.Hash = market.Hash{1}
	a.refused(market.ErrInvalid, "deployment-hash", same)
	changed := to(l.ID, 3)
	changed.Hash = market.Hash{2}
	a.do(changed, market.UpdateDeployment{ID: l.ID.DeploymentID, Hash: market.Hash{3}})
	p.refused(market.ErrState, "scale-hash-changed", market.ConfirmScale{ID: l.ID, Number: 1})
	fixed := r.lease(a, p, orderOf(a.deploy(2, r.spec("web", "10")), 1, 1), "5")
	a.refused(market.ErrLimit, "scale-count", to(fixed.ID, 2))
}

func requestLapses(r *run) {
	a, p := r.actor(), r.provider()
	l := r.scaled(a, p, "100")
	a.do(to(l.ID, 3))
	ask := r.leaseNow(a, l.ID).Scale
	r.reach(a, ask.ExpiresAt)
	p.refused(market.ErrState, "scale-not-asked", market.ConfirmScale{ID: l.ID, Number: ask.Number})
	r.want(r.leaseNow(a, l.ID).Scale == nil, "the request is there after height %d", ask.ExpiresAt)
	r.wantCounts(a, l.ID, 2, "200")
}

func dearerMustBeFunded(r *run) {
	a, p := r.actor(), r.provider()
	l := r.scaled(a, p, "700000") // the deposit pays 3 blocks of 2 replicas
	a.do(to(l.ID, 7))
	p.refused(market.ErrInsufficientFunds, "lease-not-funded", market.ConfirmScale{ID: l.ID, Number: 1})
	a.do(market.DepositDeployment{ID: l.ID.DeploymentID, Depositor: a.Address(), Amount: market.NewCoin(Denom, 40_000_000)})
	p.do(market.ConfirmScale{ID: l.ID, Number: 1})
	r.wantCounts(a, l.ID, 7, "4900000")
}

func scaledIsOrderedNext(r *run) {
	a, p := r.actor(), r.provider()
	l := r.scaled(a, p, "100")
	a.do(to(l.ID, 3))
	p.do(market.ConfirmScale{ID: l.ID, Number: 1})
	a.do(to(l.ID, 4))
	a.do(market.CloseLease{ID: l.ID})
	p.refused(market.ErrState, "lease-closed", market.ConfirmScale{ID: l.ID, Number: 2})
	closed := r.leaseNow(a, l.ID)
	r.want(closed.Scale == nil, "a closed lease waits for %+v", closed.Scale)
	next := orderOf(l.ID.DeploymentID, 1, 2)
	o, err := a.Order(r.ctx, next)
	r.must(err)
	r.want(slices.Equal(o.Spec.Counts(), []market.UnitCount{{Unit: 1, Count: 3}}), "the next order has %v", o.Spec.Counts())
	p.do(p.offerEach(next, 3, "90"))
}

// reclaimable makes a lease that ends so many blocks after notice.
func (r *run) reclaimable(a, p *actor, blocks int64) market.Lease {
	spec := r.spec("web", "1000")
	spec.ReclaimBlocks = blocks
	return r.lease(a, p, orderOf(a.deploy(1, spec), 1, 1), "1000")
}

func noticeIsKept(r *run) {
	a, p := r.actor(), r.provider()
	long := r.spec("web", "10")
	long.ReclaimBlocks = Params().MaxReclaimBlocks + 1
	a.refused(market.ErrLimit, "group-reclaim", market.CreateDeployment{
		ID: market.DeploymentID{Owner: a.Address(), DSeq: 9}, Hash: market.Hash{1}, Groups: []market.GroupSpec{long}, Deposit: market.NewCoin(Denom, deposit),
	})
	l := r.reclaimable(a, p, 8)
	at := p.do(market.CloseBid{ID: l.ID.Bid(), Reason: market.ReasonDecommission}).Height
	got := r.leaseNow(a, l.ID)
	r.want(got.State == market.LeaseClosing && got.EndsAt == at+8 && got.Reason == market.ReasonDecommission, "after notice at %d the lease is %+v", at, got)
	r.wantStates(a, l.ID, market.GroupOpen, market.OrderMatched, market.BidWon, market.LeaseClosing)
	p.refused(market.ErrState, "lease-not-active", market.CloseBid{ID: l.ID.Bid(), Reason: market.ReasonUnstable})
	live := func(f market.LeaseFilter) []string {
		return ids(r, 2, leaseName, func(pg market.Page) ([]market.Lease, string, error) { return p.Leases(r.ctx, f, pg) })
	}
	r.wantIDs("live leases of the provider", live(market.LeaseFilter{Provider: p.Address(), Live: true}), l.ID.String())
	r.wantIDs("closing leases of the provider", live(market.LeaseFilter{Provider: p.Address(), State: market.LeaseClosing}), l.ID.String())
	r.wantIDs("live leases of the tenant", live(market.LeaseFilter{Owner: a.Address(), Live: true}), l.ID.String())
	r.wantIDs("active leases of the provider", live(market.LeaseFilter{Provider: p.Address(), State: market.LeaseActive}))
	r.reach(a, got.EndsAt)
	r.wantStates(a, l.ID, market.GroupPaused, market.OrderClosed, market.BidClosed, market.LeaseClosed)
	closed := r.leaseNow(a, l.ID)
	r.want(closed.ClosedAt == got.EndsAt && closed.Reason == market.ReasonDecommission, "the lease is %+v, want it closed at %d", closed, got.EndsAt)
	r.wantIDs("live leases after the end", live(market.LeaseFilter{Provider: p.Address(), Live: true}))
	cost := r.due(l.Price, closed.ClosedAt-l.CreatedAt)
	p.wantOwns(Denom, cost-fee(cost), 0)
}

func tenantNeedNotWait(r *run) {
	a, p := r.actor(), r.provider()
	l := r.reclaimable(a, p, 20)
	p.do(market.CloseBid{ID: l.ID.Bid(), Reason: market.ReasonDecommission})
	p.do(market.WithdrawLease{ID: l.ID})
	end := a.do(market.CloseLease{ID: l.ID}).Height
	r.wantStates(a, l.ID, market.GroupOpen, market.OrderClosed, market.BidClosed, market.LeaseClosed)
	next := r.lease(a, p, orderOf(l.ID.DeploymentID, 1, 2), "1000")
	r.advance(25) // nothing happens where the notice would have ended
	r.wantStates(a, next.ID, market.GroupOpen, market.OrderMatched, market.BidWon, market.LeaseActive)
	closed := a.do(market.CloseDeployment{ID: l.ID.DeploymentID}).Height
	a.wantOwns(Denom, 0, r.due(l.Price, end-l.CreatedAt)+r.due(l.Price, closed-next.CreatedAt))
}
