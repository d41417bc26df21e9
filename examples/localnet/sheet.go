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

// balances are what the two accounts own outside escrow.
type balances struct{ tenant, provider market.Coins }

func (n *network) balances(ctx context.Context) (balances, error) {
	t, err := n.tenant.Balances(ctx, n.tenant.Address())
	if err != nil {
		return balances{}, err
	}
	p, err := n.tenant.Balances(ctx, n.provider.Address())
	return balances{t, p}, err
}

// sheet prints who paid whom, and fails if it does not add up.
func (n *network) sheet(ctx context.Context, r tenant.Running, before balances) error {
	after, err := n.balances(ctx)
	if err != nil {
		return err
	}
	account, err := n.tenant.Account(ctx, r.Deployment)
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
			spent: account.Transferred.Of(denom),
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

// sheet is the balance of one denomination.
type sheet struct {
	tenantBefore, tenantAfter     market.Amount
	providerBefore, providerAfter market.Amount
	spent                         market.Amount
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
	if paid.IsZero() && earned.IsZero() && s.spent.IsZero() {
		return nil, true
	}
	return []string{
		fmt.Sprintf("tenant had\t%s %s", s.tenantBefore, denom),
		fmt.Sprintf("tenant has, deposit refunded\t%s %s", s.tenantAfter, denom),
		fmt.Sprintf("tenant paid\t%s %s", paid, denom),
		fmt.Sprintf("escrow passed on\t%s %s", s.spent, denom),
		fmt.Sprintf("provider earned\t%s %s", earned, denom),
	}, paid == earned && paid == s.spent
}
