package markettest

import (
	"github.com/moorage-dev/moorage/market"
)

func overdraftCases() []Case {
	return []Case{
		{"a-lease-must-be-funded", "CreateLease is refused when the account cannot pay its first block", leaseMustBeFunded},
		{"funds-run-out-by-themselves", "at the height at which funds run out the account is overdrawn, without anyone touching it", fundsRunOut},
		{"a-deposit-revives", "a deposit within the grace pays what is due and the lease goes on", depositRevives},
		{"grace-ends", "when the grace ends the lease closes for lack of funds, the group is starved, and a deposit and StartGroup bring it back", graceEnds},
		{"a-debt-outlives-its-lease", "what is unpaid when a lease ends is paid first from later deposits, and no lease begins before", debtOutlivesLease},
	}
}

// overdraw makes a lease that uses an account up and waits for that.
func (r *run) overdraw(a, p *actor) (market.Lease, market.Account) {
	l := r.leased(a, p, 1, "100000") // deposit / 100000 = 50 blocks
	account, err := a.Account(r.ctx, l.ID.DeploymentID)
	r.must(err)
	want := l.CreatedAt + 51
	r.want(account.DueAt == want, "funds for 50 blocks from %d on are due at %d, want %d", l.CreatedAt, account.DueAt, want)
	r.reach(a, account.DueAt)
	account, err = a.Account(r.ctx, l.ID.DeploymentID)
	r.must(err)
	r.want(account.State == market.AccountOverdrawn && account.OverdrawnAt == want, "account is %+v, want overdrawn at %d", account, want)
	return l, account
}

func leaseMustBeFunded(r *run) {
	a, p := r.actor(), r.provider()
	id := market.DeploymentID{Owner: a.Address(), DSeq: 1}
	spec := r.spec("web", "600000")
	a.do(market.CreateDeployment{ID: id, Groups: []market.GroupSpec{spec}, Hash: market.Hash{1}, Deposit: market.NewCoin(Denom, 500_000)})
	bid := p.bid(orderOf(id, 1, 1), "500000.5")
	a.refused(market.ErrInsufficientFunds, "lease-not-funded", market.CreateLease{ID: bid})
	a.do(market.DepositDeployment{ID: id, Depositor: a.Address(), Amount: market.NewCoin(Denom, 1)})
	a.do(market.CreateLease{ID: bid})
}

func fundsRunOut(r *run) {
	a, p := r.actor(), r.provider()
	l, _ := r.overdraw(a, p)
	r.wantStates(a, l.ID, market.GroupOpen, market.OrderMatched, market.BidWon, market.LeaseActive)
	p.do(market.WithdrawLease{ID: l.ID})
	p.wantOwns(Denom, deposit-fee(deposit), bidDeposit)
	a.do(market.CloseDeployment{ID: l.ID.DeploymentID})
	a.wantOwns(Denom, 0, deposit)
	p.wantOwns(Denom, deposit-fee(deposit), 0)
}

func depositRevives(r *run) {
	a, p := r.actor(), r.provider()
	l, _ := r.overdraw(a, p)
	a.do(market.DepositDeployment{ID: l.ID.DeploymentID, Depositor: a.Address(), Amount: market.NewCoin(Denom, deposit)})
	account, err := a.Account(r.ctx, l.ID.DeploymentID)
	r.must(err)
	r.want(account.State == market.AccountOpen && account.OverdrawnAt == 0, "account is %+v after a deposit", account)
	r.advance(int(Params().GraceBlocks) + 1)
	r.wantStates(a, l.ID, market.GroupOpen, market.OrderMatched, market.BidWon, market.LeaseActive)
	a.do(market.CloseDeployment{ID: l.ID.DeploymentID})
	closed, err := a.Lease(r.ctx, l.ID)
	r.must(err)
	a.wantOwns(Denom, 0, r.due(l.Price, closed.ClosedAt-closed.CreatedAt))
}

func debtOutlivesLease(r *run) {
	a, p := r.actor(), r.provider()
	l, account := r.overdraw(a, p)
	id := l.ID.DeploymentID
	ended := a.do(market.PauseGroup{ID: l.ID.GroupID}, market.StartGroup{ID: l.ID.GroupID})
	r.want(ended.Height < account.DueAt, "paused at %d, after the grace", ended.Height)
	cost := r.due(l.Price, ended.Height-l.CreatedAt)
	bid := p.bid(orderOf(id, 1, 2), "10")
	a.do(market.DepositDeployment{ID: id, Depositor: a.Address(), Amount: market.NewCoin(Denom, cost-deposit-1)})
	a.refused(market.ErrState, "account-overdrawn", market.CreateLease{ID: bid})
	p.wantOwns(Denom, cost-1-fee(cost-1), bidDeposit)
	a.do(market.DepositDeployment{ID: id, Depositor: a.Address(), Amount: market.NewCoin(Denom, 1+1000)})
	a.do(market.CreateLease{ID: bid})
	p.wantOwns(Denom, cost-fee(cost), bidDeposit)
	payment, err := a.Payment(r.ctx, l.ID)
	r.must(err)
	r.want(payment.Unpaid.IsZero() && payment.Withdrawn == market.NewAmount(cost), "payment is %+v, want %d withdrawn", payment, cost)
}

func graceEnds(r *run) {
	a, p := r.actor(), r.provider()
	l, account := r.overdraw(a, p)
	r.want(account.DueAt == account.OverdrawnAt+Params().GraceBlocks, "overdrawn at %d, the grace ends at %d", account.OverdrawnAt, account.DueAt)
	r.reach(a, account.DueAt)
	r.wantStates(a, l.ID, market.GroupStarved, market.OrderClosed, market.BidClosed, market.LeaseClosed)
	closed, err := a.Lease(r.ctx, l.ID)
	r.must(err)
	r.want(closed.Reason == market.ReasonInsufficientFunds && closed.ClosedAt == account.DueAt, "the lease is %+v", closed)
	p.wantOwns(Denom, deposit-fee(deposit), 0)
	a.do(
		market.DepositDeployment{ID: l.ID.DeploymentID, Depositor: a.Address(), Amount: market.NewCoin(Denom, deposit)},
		market.StartGroup{ID: l.ID.GroupID},
	)
	r.lease(a, p, orderOf(l.ID.DeploymentID, 1, 2), "10")
}
