package markettest

import (
	"github.com/moorage-dev/moorage/market"
)

func bidCases() []Case {
	return []Case{
		{"ceiling-is-the-highest-price", "a bid at the group's ceiling is taken, one above it is refused", ceilingIsHighest},
		{"bids-are-checked", "a bid that breaks a rule is refused by name and costs nothing", bidsAreChecked},
		{"bids-per-order-are-bounded", "at most MaxBids bids are open on an order; withdrawn ones do not count", bidsAreBounded},
		{"withdrawn-bids-may-be-renewed", "a provider that has withdrawn a bid may bid again, but not ask more: a tenant accepts a bid by its name", withdrawnBidsRenew},
		{"losers-get-their-deposit-at-once", "CreateLease gives the deposit back to those who lost, the winner's stays", losersRefunded},
		{"attributes-are-required", "a provider without the required attributes may not bid", attributesRequired},
		{"auditors-must-have-signed", "signers asked for must have signed the required attributes, and not have revoked them", auditorsSigned},
		{"closing-a-lease-reopens-the-group", "CloseLease by the tenant opens the next order of the group", closingReopens},
		{"resigning-pauses-the-group", "CloseBid of a won bid closes its lease for the provider's reason and pauses the group", resigningPauses},
		{"one-lease-per-order", "an order is matched once", oneLeasePerOrder},
	}
}

func ceilingIsHighest(r *run) {
	a, p := r.actor(), r.provider()
	spec := r.spec("web", "1.5")
	spec.Units[0].Count = 3 // 4.5 in all
	o := orderOf(a.deploy(1, spec), 1, 1)
	p.refused(market.ErrMismatch, "bid-price-over-ceiling", p.offer(o, "4.500000000000000001"))
	p.bid(o, "4.5")
}

func bidsAreChecked(r *run) {
	a, p, nobody := r.actor(), r.provider(), r.actor()
	o := orderOf(a.deploy(1, r.spec("web", "10")), 1, 1)
	offer := p.offer(o, "5")
	bend := func(f func(*market.CreateBid)) market.CreateBid {
		msg := offer
		f(&msg)
		return msg
	}
	p.refused(market.ErrNotFound, "order-unknown", bend(func(m *market.CreateBid) { m.ID.OSeq = 2 }))
	p.refused(market.ErrInvalid, "bid-price-zero", bend(func(m *market.CreateBid) { m.Price = r.price("0") }))
	p.refused(market.ErrMismatch, "bid-price-denom", bend(func(m *market.CreateBid) { m.Price.Denom = OtherDenom }))
	p.refused(market.ErrInvalid, "deposit-too-low", bend(func(m *market.CreateBid) { m.Deposit = market.NewCoin(Denom, 1) }))
	p.refused(market.ErrInsufficientFunds, "balance-too-low", bend(func(m *market.CreateBid) { m.Deposit = market.NewCoin(Denom, Units+1) }))
	nobody.refused(market.ErrNotFound, "provider-unknown", nobody.offer(o, "5"))
	a.do(market.CreateProvider{Provider: market.Provider{Owner: a.Address(), HostURI: "https://tenant.example"}})
	a.refused(market.ErrUnauthorized, "bid-own-order", a.offer(o, "5"))
	p.wantOwns(Denom, 0, 0)
	p.do(offer)
	p.refused(market.ErrExists, "bid-exists", offer)
	p.wantOwns(Denom, 0, bidDeposit)
	got, err := a.Bid(r.ctx, offer.ID)
	r.must(err)
	r.want(got.State == market.BidOpen && got.Price == offer.Price && got.Deposit == offer.Deposit, "bid is %+v", got)
}

func bidsAreBounded(r *run) {
	a := r.actor()
	o := orderOf(a.deploy(1, r.spec("web", "10")), 1, 1)
	providers := []*actor{r.provider(), r.provider(), r.provider(), r.provider()}
	for _, p := range providers[:3] {
		p.bid(o, "5")
	}
	last := providers[3]
	last.refused(market.ErrLimit, "order-bids", last.offer(o, "5"))
	providers[0].do(market.CloseBid{ID: market.BidID{OrderID: o, Provider: providers[0].Address()}})
	last.bid(o, "5")
	got, err := a.Order(r.ctx, o)
	r.must(err)
	r.want(got.Bids == 3, "the order counts %d bids, want 3", got.Bids)
}

func withdrawnBidsRenew(r *run) {
	a, p := r.actor(), r.provider()
	o := orderOf(a.deploy(1, r.spec("web", "10")), 1, 1)
	bid := p.bid(o, "5")
	p.do(market.CloseBid{ID: bid})
	p.wantOwns(Denom, 0, 0)
	a.refused(market.ErrState, "bid-not-open", market.CreateLease{ID: bid})
	p.refused(market.ErrMismatch, "bid-price-raised", p.offer(o, "5.000000000000000001"))
	p.bid(o, "4")
	p.wantOwns(Denom, 0, bidDeposit)
	got, err := a.Bid(r.ctx, bid)
	r.must(err)
	r.want(got.State == market.BidOpen && got.Price == r.price("4"), "renewed bid is %+v", got)
}

func losersRefunded(r *run) {
	a, winner, loser := r.actor(), r.provider(), r.provider()
	o := orderOf(a.deploy(1, r.spec("web", "10")), 1, 1)
	lost := loser.bid(o, "5")
	l := r.lease(a, winner, o, "6")
	r.wantStates(a, l.ID, market.GroupOpen, market.OrderMatched, market.BidWon, market.LeaseActive)
	b, err := a.Bid(r.ctx, lost)
	r.must(err)
	r.want(b.State == market.BidLost, "the other bid is %s", b.State)
	loser.wantOwns(Denom, 0, 0)
	winner.wantOwns(Denom, 0, bidDeposit)
	r.want(l.Price == r.price("6"), "the lease costs %s", l.Price)
}

func attributesRequired(r *run) {
	a := r.actor()
	region := market.Attribute{Key: "region", Value: "eu-west"}
	gpu := market.Attribute{Key: "capabilities/gpu/vendor/nvidia/model/a100", Value: "true"}
	disk := []market.Attribute{{Key: "capabilities/storage/1/class", Value: "beta2"}, {Key: "capabilities/storage/1/persistent", Value: "true"}}
	spec := r.spec("web", "10")
	spec.Requirements.Attributes = market.Attributes{region}
	unit := &spec.Units[0]
	unit.GPU = market.GPU{Units: 1, Attributes: market.Attributes{{Key: "vendor/nvidia/model/*", Value: "true"}}}
	unit.Storage[0].Attributes = market.Attributes{{Key: "class", Value: "beta2"}, {Key: "persistent", Value: "true"}}
	o := orderOf(a.deploy(1, spec), 1, 1)

	none := r.provider(gpu, disk[0], disk[1])
	none.refused(market.ErrMismatch, "bid-attributes", none.offer(o, "5"))
	noGPU := r.provider(region, disk[0], disk[1])
	noGPU.refused(market.ErrMismatch, "bid-gpu", noGPU.offer(o, "5"))
	noDisk := r.provider(region, gpu, disk[0], market.Attribute{Key: "capabilities/storage/2/persistent", Value: "true"})
	noDisk.refused(market.ErrMismatch, "bid-storage", noDisk.offer(o, "5"))
	r.provider(region, gpu, disk[0], disk[1]).bid(o, "5")
}

func auditorsSigned(r *run) {
	a, auditor, other := r.actor(), r.actor(), r.actor()
	region := market.Attributes{{Key: "region", Value: "eu-west"}}
	p := r.provider(region...)
	spec := r.spec("web", "10")
	spec.Requirements.Attributes = region
	spec.Requirements.SignedBy = market.SignedBy{AllOf: []market.Address{auditor.Address()}, AnyOf: []market.Address{other.Address(), a.Address()}}
	o := orderOf(a.deploy(1, spec), 1, 1)
	p.refused(market.ErrMismatch, "bid-signed-by-all", p.offer(o, "5"))
	word := market.Audit{ID: market.AuditID{Provider: p.Address(), Auditor: auditor.Address()}, Attributes: region}
	auditor.do(market.SignAudit{Audit: word})
	p.refused(market.ErrMismatch, "bid-signed-by-any", p.offer(o, "5"))
	word.ID.Auditor = other.Address()
	other.do(market.SignAudit{Audit: word})
	audits, _, err := a.Audits(r.ctx, market.AuditFilter{Provider: p.Address()}, market.Page{})
	r.must(err)
	r.want(len(audits) == 2, "%d audits of the provider, want 2", len(audits))
	r.wantAudits(1, market.AuditFilter{Auditor: auditor.Address()})
	r.wantAudits(1, market.AuditFilter{Provider: p.Address(), Auditor: other.Address()})
	r.wantAudits(0, market.AuditFilter{Auditor: a.Address()})
	auditor.do(market.RevokeAudit{ID: market.AuditID{Provider: p.Address(), Auditor: auditor.Address()}})
	r.wantAudits(0, market.AuditFilter{Auditor: auditor.Address()})
	p.refused(market.ErrMismatch, "bid-signed-by-all", p.offer(o, "5"))
	word.ID.Auditor = auditor.Address()
	auditor.do(market.SignAudit{Audit: word})
	p.bid(o, "5")
}

// wantAudits expects n audits that match a filter.
func (r *run) wantAudits(n int, f market.AuditFilter) {
	list, _, err := r.actor().Audits(r.ctx, f, market.Page{})
	r.must(err)
	r.want(len(list) == n, "%d audits match %+v, want %d", len(list), f, n)
}

func closingReopens(r *run) {
	a, p := r.actor(), r.provider()
	l := r.leased(a, p, 1, "10")
	a.do(market.CloseLease{ID: l.ID})
	r.wantStates(a, l.ID, market.GroupOpen, market.OrderClosed, market.BidClosed, market.LeaseClosed)
	closed, err := a.Lease(r.ctx, l.ID)
	r.must(err)
	r.want(closed.Reason == market.ReasonTenant, "the lease closed for %s", closed.Reason)
	o, err := a.Order(r.ctx, orderOf(l.ID.DeploymentID, 1, 2))
	r.must(err)
	r.want(o.State == market.OrderOpen, "the next order is %s", o.State)
	r.lease(a, p, o.ID, "9")
}

func resigningPauses(r *run) {
	a, p := r.actor(), r.provider()
	l := r.leased(a, p, 1, "10")
	p.refused(market.ErrInvalid, "close-reason", market.CloseBid{ID: l.ID.Bid(), Reason: market.ReasonTenant})
	p.do(market.CloseBid{ID: l.ID.Bid(), Reason: market.ReasonDecommission})
	r.wantStates(a, l.ID, market.GroupPaused, market.OrderClosed, market.BidClosed, market.LeaseClosed)
	closed, err := a.Lease(r.ctx, l.ID)
	r.must(err)
	r.want(closed.Reason == market.ReasonDecommission, "the lease closed for %s", closed.Reason)
	a.do(market.StartGroup{ID: l.ID.GroupID})
	r.lease(a, p, orderOf(l.ID.DeploymentID, 1, 2), "10")
}

func oneLeasePerOrder(r *run) {
	a, p, q := r.actor(), r.provider(), r.provider()
	o := orderOf(a.deploy(1, r.spec("web", "10")), 1, 1)
	second := q.bid(o, "7")
	l := r.lease(a, p, o, "5")
	a.refused(market.ErrState, "bid-not-open", market.CreateLease{ID: l.ID.Bid()})
	a.refused(market.ErrState, "bid-not-open", market.CreateLease{ID: second})
	q.refused(market.ErrState, "order-not-open", q.offer(o, "4"))
}
