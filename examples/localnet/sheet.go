package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
)

// breakdown notes when each step was done.
type breakdown struct {
	start, last time.Time
	names       []string
	took        []time.Duration
}

func newBreakdown() *breakdown {
	now := time.Now()
	return &breakdown{start: now, last: now}
}

// mark ends a step; only the first time counts.
func (b *breakdown) mark(name string) {
	for _, have := range b.names {
		if have == name {
			return
		}
	}
	now := time.Now()
	b.names = append(b.names, name)
	b.took = append(b.took, now.Sub(b.last))
	b.last = now
}

func (b *breakdown) rows() []string {
	var out []string
	for i, name := range b.names {
		out = append(out, fmt.Sprintf("%s\t%6.2f s", name, b.took[i].Seconds()))
	}
	return append(out, fmt.Sprintf("in all\t%6.2f s", b.last.Sub(b.start).Seconds()))
}

// balances are what the two accounts own, money that the market holds for them
// included, and what went from one to the other so far.
type balances struct{ tenant, provider, spent market.Coins }

func (n *network) balances(ctx context.Context) (b balances, err error) {
	if b.tenant, err = n.tenant.Balances(ctx, n.tenant.Address()); err != nil {
		return b, err
	}
	if b.provider, err = n.tenant.Balances(ctx, n.provider.Address()); err != nil {
		return b, err
	}
	if err := n.addBids(ctx, &b); err != nil {
		return b, err
	}
	deployments := func(p market.Page) ([]market.Deployment, string, error) {
		return n.tenant.Deployments(ctx, market.DeploymentFilter{Owner: n.tenant.Address()}, p)
	}
	for d, err := range market.All(deployments) {
		if err != nil {
			return b, err
		}
		if err := n.addEscrow(ctx, &b, d.ID); err != nil {
			return b, err
		}
	}
	return b, nil
}

// addBids adds the deposits that the market holds for the provider's bids.
func (n *network) addBids(ctx context.Context, b *balances) error {
	bids := func(p market.Page) ([]market.Bid, string, error) {
		return n.tenant.Bids(ctx, market.BidFilter{Provider: n.provider.Address()}, p)
	}
	for bid, err := range market.All(bids) {
		if err != nil {
			return err
		}
		if bid.State.Terminal() {
			continue
		}
		if b.provider, err = b.provider.Add(bid.Deposit); err != nil {
			return err
		}
	}
	return nil
}

// addEscrow adds what is in a deployment's escrow, and what has left it.
func (n *network) addEscrow(ctx context.Context, b *balances, id market.DeploymentID) error {
	account, err := n.tenant.Account(ctx, id)
	if err != nil {
		return err
	}
	for _, d := range account.Deposits {
		if b.tenant, err = b.tenant.Add(d.Balance); err != nil {
			return err
		}
	}
	for _, c := range account.Transferred {
		if b.spent, err = b.spent.Add(c); err != nil {
			return err
		}
	}
	leases := func(p market.Page) ([]market.Lease, string, error) {
		return n.tenant.Leases(ctx, market.LeaseFilter{Owner: id.Owner, DSeq: id.DSeq}, p)
	}
	for l, err := range market.All(leases) {
		if err != nil {
			return err
		}
		p, err := n.tenant.Payment(ctx, l.ID)
		if err != nil {
			return err
		}
		if b.provider, err = b.provider.Add(market.Coin{Denom: p.Price.Denom, Amount: p.Balance}); err != nil {
			return err
		}
	}
	return nil
}

// sheet prints who paid whom, and fails if it does not add up.
func (n *network) sheet(ctx context.Context, r tenant.Running, before balances) error {
	after, err := n.balances(ctx)
	if err != nil {
		return err
	}
	lease, err := n.tenant.Lease(ctx, r.Leases[0])
	if err != nil {
		return err
	}
	n.con.Title("Balance sheet")
	n.con.Table(fmt.Sprintf("the lease ran for\t%d blocks at %s", lease.ClosedAt-lease.CreatedAt, lease.Price))
	sound := true
	for _, denom := range n.o.denoms {
		s := sheet{
			tenantBefore: before.tenant.Of(denom), tenantAfter: after.tenant.Of(denom),
			providerBefore: before.provider.Of(denom), providerAfter: after.provider.Of(denom),
			spentBefore: before.spent.Of(denom), spentAfter: after.spent.Of(denom),
		}
		rows, ok := s.rows(denom)
		sound = sound && ok
		n.con.Table(rows...)
	}
	if !sound {
		return errors.New("the balance sheet does not add up")
	}
	n.con.Print("  adds up: every coin the tenant paid is a coin the provider earned")
	return nil
}

// sheet is the balance of one denomination over a run.
type sheet struct {
	tenantBefore, tenantAfter     market.Amount
	providerBefore, providerAfter market.Amount
	spentBefore, spentAfter       market.Amount
}

// rows renders the sheet and says whether it adds up: what the tenant has less
// is what escrow passed on is what the provider has more.
func (s sheet) rows(denom string) ([]string, bool) {
	paid, err := s.tenantBefore.Sub(s.tenantAfter)
	if err != nil {
		return []string{"the tenant is richer than before\t" + denom}, false
	}
	earned, err := s.providerAfter.Sub(s.providerBefore)
	if err != nil {
		return []string{"the provider is poorer than before\t" + denom}, false
	}
	passed, err := s.spentAfter.Sub(s.spentBefore)
	if err != nil {
		return []string{"escrow took something back\t" + denom}, false
	}
	if paid.IsZero() && earned.IsZero() && passed.IsZero() {
		return nil, true
	}
	return []string{
		fmt.Sprintf("tenant had\t%s %s", s.tenantBefore, denom),
		fmt.Sprintf("tenant has, the rest of the deposit refunded\t%s %s", s.tenantAfter, denom),
		fmt.Sprintf("tenant paid\t%s %s", paid, denom),
		fmt.Sprintf("escrow passed on\t%s %s", passed, denom),
		fmt.Sprintf("provider earned\t%s %s", earned, denom),
	}, paid == earned && paid == passed
}
