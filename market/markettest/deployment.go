package markettest

import (
	"github.com/moorage-dev/moorage/market"
)

func deploymentCases() []Case {
	return []Case{
		{"deployment-opens-orders", "CreateDeployment makes one open order per group and moves the deposit into escrow", deploymentOpensOrders},
		{"deployment-is-checked", "a deployment outside the parameters is refused by a named rule and costs nothing", deploymentIsChecked},
		{"update-replaces-the-hash", "UpdateDeployment replaces the hash, which must differ, of an active deployment", updateReplacesHash},
		{"groups-pause-and-start", "PauseGroup ends the order and its bids; StartGroup opens the next order; CloseGroup is final", groupsPauseAndStart},
		{"closed-is-final", "nothing can be done to a closed deployment", closedIsFinal},
		{"orders-expire", "an open order closes at ExpiresAt, its bids get their deposits back, its group is paused", ordersExpire},
	}
}

func deploymentOpensOrders(r *run) {
	a := r.actor()
	id := a.deploy(7, r.spec("one", "10"), r.spec("two", "20"))
	d, err := a.Deployment(r.ctx, id)
	r.must(err)
	r.want(d.ID == id && d.State == market.DeploymentActive && d.Hash == market.Hash{1} && d.CreatedAt > 0, "deployment is %+v", d)
	groups, err := a.Groups(r.ctx, id)
	r.must(err)
	r.want(len(groups) == 2 && groups[0].Spec.Name == "one" && groups[1].Spec.Name == "two", "groups are %+v", groups)
	for gseq := uint32(1); gseq <= 2; gseq++ {
		o, err := a.Order(r.ctx, orderOf(id, gseq, 1))
		r.must(err)
		r.want(o.State == market.OrderOpen && o.Spec.Name == groups[gseq-1].Spec.Name, "order is %+v", o)
		r.want(o.ExpiresAt == o.CreatedAt+Params().OrderLifetimeBlocks, "order made at %d expires at %d", o.CreatedAt, o.ExpiresAt)
	}
	account, err := a.Account(r.ctx, id)
	r.must(err)
	funds, err := account.Funds()
	r.must(err)
	r.want(account.State == market.AccountOpen && funds.Of(Denom) == market.NewAmount(deposit), "account is %+v", account)
	a.wantOwns(Denom, 0, deposit)
}

func deploymentIsChecked(r *run) {
	a := r.actor()
	id := market.DeploymentID{Owner: a.Address(), DSeq: 3}
	good := market.CreateDeployment{ID: id, Groups: []market.GroupSpec{r.spec("web", "10")}, Hash: market.Hash{1}, Deposit: market.NewCoin(Denom, deposit)}
	bad := []struct {
		kind error
		rule string
		bend func(*market.CreateDeployment)
	}{
		{market.ErrInvalid, "deployment-id", func(m *market.CreateDeployment) { m.ID.DSeq = 0 }},
		{market.ErrInvalid, "deployment-hash", func(m *market.CreateDeployment) { m.Hash = market.Hash{} }},
		{market.ErrLimit, "deployment-groups", func(m *market.CreateDeployment) { m.Groups = nil }},
		{market.ErrInvalid, "group-name", func(m *market.CreateDeployment) { m.Groups = append(m.Groups, m.Groups[0]) }},
		{market.ErrLimit, "unit-replicas", func(m *market.CreateDeployment) { m.Groups[0].Units[0].Count = 51 }},
		{market.ErrLimit, "unit-cpu", func(m *market.CreateDeployment) { m.Groups[0].Units[0].CPU.MilliCores = 0 }},
		{market.ErrInvalid, "group-price-zero", func(m *market.CreateDeployment) { m.Groups[0].Units[0].Price = r.price("0") }},
		{market.ErrInvalid, "price-denom", func(m *market.CreateDeployment) { m.Groups[0].Units[0].Price.Denom = "nothing" }},
		{market.ErrInvalid, "deposit-too-low", func(m *market.CreateDeployment) { m.Deposit = market.NewCoin(Denom, 499_999) }},
		{market.ErrInvalid, "deposit-denom", func(m *market.CreateDeployment) { m.Deposit = market.NewCoin("nothing", deposit) }},
		{market.ErrInsufficientFunds, "balance-too-low", func(m *market.CreateDeployment) { m.Deposit = market.NewCoin(Denom, Units+1) }},
	}
	for _, b := range bad {
		msg := market.CloneMsg(good).(market.CreateDeployment)
		b.bend(&msg)
		a.refused(b.kind, b.rule, msg)
	}
	a.wantOwns(Denom, 0, 0)
	a.do(good)
	a.refused(market.ErrExists, "deployment-exists", good)
	a.wantOwns(Denom, 0, deposit)
}

func updateReplacesHash(r *run) {
	a := r.actor()
	id := a.deploy(1, r.spec("web", "10"))
	a.refused(market.ErrInvalid, "deployment-hash", market.UpdateDeployment{ID: id, Hash: market.Hash{1}})
	a.do(market.UpdateDeployment{ID: id, Hash: market.Hash{2}})
	d, err := a.Deployment(r.ctx, id)
	r.must(err)
	r.want(d.Hash == market.Hash{2}, "hash is %s", d.Hash)
}

func groupsPauseAndStart(r *run) {
	a, p := r.actor(), r.provider()
	id := a.deploy(1, r.spec("web", "10"))
	group := market.GroupID{DeploymentID: id, GSeq: 1}
	bid := p.bid(orderOf(id, 1, 1), "5")
	a.refused(market.ErrState, "group-open", market.StartGroup{ID: group})
	a.do(market.PauseGroup{ID: group})
	p.wantOwns(Denom, 0, 0)
	b, err := a.Bid(r.ctx, bid)
	r.must(err)
	r.want(b.State == market.BidWithdrawn, "bid on a paused group is %s", b.State)
	a.refused(market.ErrState, "group-not-open", market.PauseGroup{ID: group})
	p.refused(market.ErrState, "order-not-open", p.offer(orderOf(id, 1, 1), "5"))
	a.do(market.StartGroup{ID: group})
	r.lease(a, p, orderOf(id, 1, 2), "5")
	a.do(market.CloseGroup{ID: group})
	r.wantStates(a, market.LeaseID{OrderID: orderOf(id, 1, 2), Provider: p.Address()}, market.GroupClosed, market.OrderClosed, market.BidClosed, market.LeaseClosed)
	a.refused(market.ErrState, "group-closed", market.StartGroup{ID: group})
}

func closedIsFinal(r *run) {
	a, p := r.actor(), r.provider()
	l := r.leased(a, p, 9, "10")
	id := l.ID.DeploymentID
	a.do(market.CloseDeployment{ID: id})
	r.wantStates(a, l.ID, market.GroupClosed, market.OrderClosed, market.BidClosed, market.LeaseClosed)
	a.refused(market.ErrState, "deployment-closed", market.CloseDeployment{ID: id})
	a.refused(market.ErrState, "deployment-closed", market.UpdateDeployment{ID: id, Hash: market.Hash{3}})
	a.refused(market.ErrState, "deployment-closed", market.DepositDeployment{ID: id, Depositor: a.Address(), Amount: market.NewCoin(Denom, 1)})
	a.refused(market.ErrState, "group-closed", market.StartGroup{ID: l.ID.GroupID})
	a.refused(market.ErrState, "lease-closed", market.CloseLease{ID: l.ID})
	p.refused(market.ErrState, "lease-closed", market.WithdrawLease{ID: l.ID})
	p.refused(market.ErrState, "bid-ended", market.CloseBid{ID: l.ID.Bid(), Reason: market.ReasonUnstable})
}

func ordersExpire(r *run) {
	a, p := r.actor(), r.provider()
	id := a.deploy(1, r.spec("web", "10"))
	p.bid(orderOf(id, 1, 1), "5")
	o, err := a.Order(r.ctx, orderOf(id, 1, 1))
	r.must(err)
	r.reach(a, o.ExpiresAt)
	o, err = a.Order(r.ctx, o.ID)
	r.must(err)
	r.want(o.State == market.OrderClosed && o.ClosedAt == o.ExpiresAt, "at height %d the order is %+v", a.head().Height, o)
	groups, err := a.Groups(r.ctx, id)
	r.must(err)
	r.want(groups[0].State == market.GroupPaused, "its group is %s", groups[0].State)
	p.wantOwns(Denom, 0, 0)
	a.do(market.StartGroup{ID: groups[0].ID})
}
