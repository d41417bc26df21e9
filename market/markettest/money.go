package markettest

import (
	"github.com/moorage-dev/moorage/market"
)

func moneyCases() []Case {
	return []Case{
		{"a-lease-costs-price-times-blocks", "a lease costs the whole part of price × blocks, however often it is withdrawn from; the fee is the market's part of that", leaseCostsExactly},
		{"withdrawing-twice-in-a-block-pays-once", "two withdrawals in one block pay what is due once", withdrawTwice},
		{"a-second-close-in-a-block-stops-charging", "two leases closed in one block both stop", secondCloseStops},
		{"ids-that-are-prefixes-share-nothing", "deployments 12 and 123 of a tenant do not pay for one another", prefixesShareNothing},
		{"refunds-go-to-each-depositor", "what is left of each deposit goes back to who made it", refundsGoBack},
		{"the-market-keeps-nothing", "when all is closed, what was deposited is back or with the providers and the fee", marketKeepsNothing},
	}
}

func leaseCostsExactly(r *run) {
	a, p := r.actor(), r.provider()
	l := r.leased(a, p, 1, "100.7")
	for i := range 5 {
		r.advance(i)
		p.do(market.WithdrawLease{ID: l.ID})
	}
	r.advance(3)
	a.do(market.CloseDeployment{ID: l.ID.DeploymentID})
	closed, err := a.Lease(r.ctx, l.ID)
	r.must(err)
	cost := r.due(l.Price, closed.ClosedAt-closed.CreatedAt)
	r.want(cost > 1000, "the lease ran %d blocks", closed.ClosedAt-closed.CreatedAt)
	a.wantOwns(Denom, 0, cost)
	p.wantOwns(Denom, cost-fee(cost), 0)
	payment, err := a.Payment(r.ctx, l.ID)
	r.must(err)
	r.want(payment.Withdrawn == market.NewAmount(cost) && payment.Balance.IsZero() && payment.State == market.AccountClosed,
		"payment is %+v, want %d withdrawn", payment, cost)
}

func withdrawTwice(r *run) {
	a, p := r.actor(), r.provider()
	l := r.leased(a, p, 1, "1000")
	r.advance(3)
	receipt := p.do(market.WithdrawLease{ID: l.ID}, market.WithdrawLease{ID: l.ID})
	earned := r.due(l.Price, receipt.Height-l.CreatedAt)
	p.wantOwns(Denom, earned-fee(earned), bidDeposit)
	payment, err := a.Payment(r.ctx, l.ID)
	r.must(err)
	r.want(payment.Withdrawn == market.NewAmount(earned), "%s withdrawn, want %d", payment.Withdrawn, earned)
}

func secondCloseStops(r *run) {
	a, p, q := r.actor(), r.provider(), r.provider()
	id := a.deploy(1, r.spec("one", "2000"), r.spec("two", "2000"))
	first := r.lease(a, p, orderOf(id, 1, 1), "1000")
	second := r.lease(a, q, orderOf(id, 2, 1), "1000")
	receipt := a.do(market.CloseGroup{ID: first.ID.GroupID}, market.CloseGroup{ID: second.ID.GroupID})
	cost := r.due(first.Price, receipt.Height-first.CreatedAt) + r.due(second.Price, receipt.Height-second.CreatedAt)
	r.advance(30)
	q.refused(market.ErrState, "lease-closed", market.WithdrawLease{ID: second.ID})
	a.do(market.CloseDeployment{ID: id})
	a.wantOwns(Denom, 0, cost)
}

func prefixesShareNothing(r *run) {
	a, p := r.actor(), r.provider()
	short := r.leased(a, p, 12, "1000")
	long := r.leased(a, p, 123, "1000")
	r.advance(2)
	receipt := a.do(market.CloseDeployment{ID: short.ID.DeploymentID})
	got, err := a.Lease(r.ctx, long.ID)
	r.must(err)
	r.want(got.State == market.LeaseActive, "closing 12 left the lease of 123 %s", got.State)
	shortCost := r.due(short.Price, receipt.Height-short.CreatedAt)
	a.wantOwns(Denom, 0, deposit+shortCost)
	end := a.do(market.CloseDeployment{ID: long.ID.DeploymentID})
	a.wantOwns(Denom, 0, shortCost+r.due(long.Price, end.Height-long.CreatedAt))
}

func refundsGoBack(r *run) {
	a, friend, p := r.actor(), r.actor(), r.provider()
	l := r.leased(a, p, 1, "1000")
	id := l.ID.DeploymentID
	top := func(amount market.Coin) market.DepositDeployment {
		return market.DepositDeployment{ID: id, Depositor: friend.Address(), Amount: amount}
	}
	friend.refused(market.ErrInvalid, "deposit-too-low", top(market.NewCoin(Denom, 1)))
	friend.do(top(market.NewCoin(Denom, 600_000)))
	friend.do(top(market.NewCoin(OtherDenom, 700_000)))
	friend.wantOwns(OtherDenom, 0, 700_000)
	account, err := a.Account(r.ctx, id)
	r.must(err)
	r.want(len(account.Deposits) == 3, "the account has %d deposits, want 3", len(account.Deposits))
	end := a.do(market.CloseDeployment{ID: id})
	friend.wantOwns(Denom, 0, 0)
	friend.wantOwns(OtherDenom, 0, 0)
	a.wantOwns(Denom, 0, r.due(l.Price, end.Height-l.CreatedAt))
}

func marketKeepsNothing(r *run) {
	a, p, q := r.actor(), r.provider(), r.provider()
	id := a.deploy(1, r.spec("one", "2000"), r.spec("two", "2000"), r.spec("three", "2000"))
	leases := []market.Lease{
		r.lease(a, p, orderOf(id, 1, 1), "333.333"),
		r.lease(a, q, orderOf(id, 2, 1), "0.1"),
		r.lease(a, p, orderOf(id, 3, 1), "1999.999999999999999999"),
	}
	q.bid(orderOf(a.deploy(2, r.spec("web", "10")), 1, 1), "5")
	a.do(market.CloseLease{ID: leases[0].ID})
	q.do(market.CloseBid{ID: leases[1].ID.Bid(), Reason: market.ReasonUnspecified})
	a.do(market.CloseDeployment{ID: id})
	a.do(market.CloseDeployment{ID: market.DeploymentID{Owner: a.Address(), DSeq: 2}})
	var paid, earnedP, earnedQ uint64
	for i, l := range leases {
		closed, err := a.Lease(r.ctx, l.ID)
		r.must(err)
		cost := r.due(l.Price, closed.ClosedAt-closed.CreatedAt)
		paid += cost
		if i == 1 {
			earnedQ += cost - fee(cost)
		} else {
			earnedP += cost - fee(cost)
		}
	}
	a.wantOwns(Denom, 0, paid)
	p.wantOwns(Denom, earnedP, 0)
	q.wantOwns(Denom, earnedQ, 0)
}
