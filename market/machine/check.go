package machine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

// Held returns what the pot must hold: the deposits in escrow, of retainers
// too, what payments and retainers have earned and not been paid, and the
// deposits of live bids.
func Held(s State) (market.Coins, error) {
	g, err := Export(s)
	if err != nil {
		return nil, err
	}
	return g.held()
}

func (g Genesis) held() (sum market.Coins, err error) {
	add := func(c market.Coin) {
		if err == nil {
			sum, err = sum.Add(c)
		}
	}
	for _, a := range g.Accounts {
		for _, d := range a.Deposits {
			add(d.Balance)
		}
	}
	for _, p := range g.Payments {
		add(market.Coin{Denom: p.Price.Denom, Amount: p.Balance})
	}
	for _, b := range g.Bids {
		if !b.State.Terminal() {
			add(b.Deposit)
		}
	}
	for _, r := range g.Retainers {
		add(market.Coin{Denom: r.Price.Denom, Amount: r.Funds})
		add(market.Coin{Denom: r.Price.Denom, Amount: r.Balance})
	}
	return sum, err
}

// Check looks for broken invariants: money (pot = deposits in escrow + earned
// and unpaid balances + deposits of live bids), at most one live lease per
// order, prices that follow from bids and counts, states that agree with one another, indexes and timers that agree with
// the rows. pot is what the market's pot holds. It reads the whole state: it is
// for tests, simulation and genesis. The error joins every fault found.
func Check(s State, pot market.Coins) error {
	g, err := Export(s)
	if err != nil {
		return err
	}
	c := newChecker(g)
	held, err := g.held()
	if err != nil {
		return err
	}
	if !slices.Equal(held, pot) {
		c.fault("the pot holds %v, deposits and balances are %v", pot, held)
	}
	c.groups()
	c.orders()
	c.leases()
	c.accounts()
	c.fractions()
	c.dues()
	c.retainers()
	return errors.Join(append(c.faults, checkDerived(s, g))...)
}

// checkDerived compares the indexes and timers with what the rows call for.
func checkDerived(s State, g Genesis) error {
	refs, timers := derived(g)
	return errors.Join(sameRows("refs", s.Refs, refs), sameRows("timers", s.Timers, timers))
}

func sameRows[K Key](what string, t Table[K, K], want []K) error {
	have, err := collect(t.Scan(nil, nil))
	if err != nil {
		return err
	}
	slices.SortFunc(want, func(a, b K) int { return bytes.Compare(key(a), key(b)) })
	if !slices.EqualFunc(have, want, func(a, b K) bool { return bytes.Equal(key(a), key(b)) }) {
		return fmt.Errorf("machine: check: %s are %v, the rows call for %v", what, have, want)
	}
	return nil
}

// checker holds a state by ID and collects faults.
type checker struct {
	g           Genesis
	deployments map[market.DeploymentID]market.Deployment
	groupOf     map[market.GroupID]market.Group
	order       map[market.OrderID]market.Order
	bid         map[market.BidID]market.Bid
	payment     map[market.LeaseID]market.Payment
	faults      []error
}

func newChecker(g Genesis) *checker {
	c := &checker{
		g:           g,
		deployments: make(map[market.DeploymentID]market.Deployment, len(g.Deployments)),
		groupOf:     make(map[market.GroupID]market.Group, len(g.Groups)),
		order:       make(map[market.OrderID]market.Order, len(g.Orders)),
		bid:         make(map[market.BidID]market.Bid, len(g.Bids)),
		payment:     make(map[market.LeaseID]market.Payment, len(g.Payments)),
	}
	for _, d := range g.Deployments {
		c.deployments[d.ID] = d
	}
	for _, v := range g.Groups {
		c.groupOf[v.ID] = v
	}
	for _, o := range g.Orders {
		c.order[o.ID] = o
	}
	for _, b := range g.Bids {
		c.bid[b.ID] = b
	}
	for _, p := range g.Payments {
		c.payment[p.ID] = p
	}
	return c
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("machine: check: "+format, args...))
}

// groups checks that an open group has a live newest order and another has
// none, and that nothing is live in a closed deployment.
func (c *checker) groups() {
	for _, g := range c.g.Groups {
		o := c.order[market.OrderID{GroupID: g.ID, OSeq: g.LastOSeq}]
		live := o.State == market.OrderOpen || o.State == market.OrderMatched
		if live != (g.State == market.GroupOpen) {
			c.fault("group %s is %s, its newest order %s", g.ID, g.State, o.State)
		}
		d := c.deployments[g.ID.DeploymentID]
		if d.State != market.DeploymentActive && !g.State.Terminal() {
			c.fault("group %s is %s, its deployment %s", g.ID, g.State, d.State)
		}
	}
}

// orders checks the number of open bids and of active leases of each order.
func (c *checker) orders() {
	open := make(map[market.OrderID]uint32)
	for _, b := range c.g.Bids {
		if b.State == market.BidOpen {
			open[b.ID.OrderID]++
		}
	}
	active := make(map[market.OrderID]int)
	for _, l := range c.g.Leases {
		if !l.State.Terminal() {
			active[l.ID.OrderID]++
		}
	}
	for _, o := range c.g.Orders {
		if o.Bids != open[o.ID] || o.State != market.OrderOpen && open[o.ID] > 0 {
			c.fault("order %s, %s, counts %d bids, %d are open", o.ID, o.State, o.Bids, open[o.ID])
		}
		want := 0
		if o.State == market.OrderMatched {
			want = 1
		}
		if active[o.ID] != want {
			c.fault("order %s, %s, has %d active leases", o.ID, o.State, active[o.ID])
		}
		if g := c.groupOf[o.ID.GroupID]; !o.State.Terminal() && g.LastOSeq != o.ID.OSeq {
			c.fault("order %s is %s, its group is at order %d", o.ID, o.State, g.LastOSeq)
		}
	}
}

// leases checks that lease, bid and payment live and end together, and that a
// closed payment holds nothing.
func (c *checker) leases() {
	for _, l := range c.g.Leases {
		b, p := c.bid[l.ID.Bid()], c.payment[l.ID]
		live := !l.State.Terminal()
		if live != (b.State == market.BidWon) || !live && b.State != market.BidClosed {
			c.fault("lease %s is %s, its bid %s", l.ID, l.State, b.State)
		}
		if live == p.State.Terminal() || p.State == 0 {
			c.fault("lease %s is %s, its payment %s", l.ID, l.State, p.State)
		}
		if !live && !p.Balance.IsZero() {
			c.fault("payment %s is closed and holds %s", p.ID, p.Balance)
		}
		if live {
			c.running(l, b, p)
		}
		if live && p.EndsAt != l.EndsAt {
			c.fault("lease %s ends at %d, its payment at %d", l.ID, l.EndsAt, p.EndsAt)
		}
		if (l.State == market.LeaseClosing) != (l.EndsAt != 0) || l.Scale != nil && l.State != market.LeaseActive {
			c.fault("lease %s is %s, ends at %d, waits for an answer: %t", l.ID, l.State, l.EndsAt, l.Scale != nil)
		}
	}
}

// running checks that a lease costs what its bid asks for the counts of its
// order, which are those of its group and within what was ordered, and no more
// than the order pays.
func (c *checker) running(l market.Lease, b market.Bid, p market.Payment) {
	o, g := c.order[l.ID.OrderID], c.groupOf[l.ID.GroupID]
	want := b.Price
	if len(b.Units) > 0 {
		want, _ = o.Spec.PriceOf(b.Price.Denom, b.Units) // a fault gives another price
	}
	if l.Price != want || p.Price != want {
		c.fault("lease %s costs %s, its payment %s, its bid asks %s", l.ID, l.Price, p.Price, want)
	}
	if !slices.Equal(o.Spec.Counts(), g.Spec.Counts()) {
		c.fault("order %s has counts %v, its group %v", o.ID, o.Spec.Counts(), g.Spec.Counts())
	}
	if _, err := o.Spec.WithCounts(o.Spec.Counts()); err != nil {
		c.fault("order %s: %w", o.ID, err)
	}
	most, err := o.Spec.Ceiling()
	if err != nil || l.Price.Denom != most.Denom || l.Price.AmountPerBlock.Cmp(most.AmountPerBlock) > 0 {
		c.fault("lease %s costs %s, its order pays at most %s", l.ID, l.Price, most)
	}
}

// retainers checks that a closed retainer is empty and that an open one will be
// looked at where it ends.
func (c *checker) retainers() {
	for _, r := range c.g.Retainers {
		if r.State.Terminal() && (!r.Funds.IsZero() || !r.Balance.IsZero()) {
			c.fault("retainer %s is closed and holds %s and %s", r.ID, r.Funds, r.Balance)
		}
		if due := lease.LoadRetainer(r).Retainer().DueAt; due != r.DueAt {
			c.fault("retainer %s is due at %d, it ends at %d", r.ID, r.DueAt, due)
		}
	}
}

// fractions checks that what is carried on is less than what would be moved.
func (c *checker) fractions() {
	one := market.NewDecimal(1)
	for _, p := range c.g.Payments {
		if p.Fraction.Cmp(one) >= 0 || p.FeeCarry >= market.MaxMyriad {
			c.fault("payment %s carries %s units and %d ten-thousandths of a fee", p.ID, p.Fraction, p.FeeCarry)
		}
	}
	for _, r := range c.g.Retainers {
		if r.Fraction.Cmp(one) >= 0 || r.FeeCarry >= market.MaxMyriad {
			c.fault("retainer %s carries %s units and %d ten-thousandths of a fee", r.ID, r.Fraction, r.FeeCarry)
		}
	}
}

// dues checks that the market will look at an account where its funds run out,
// or at the end of a grace, which is as long as the parameters said when the
// account was written.
func (c *checker) dues() {
	payments := make(map[market.DeploymentID][]market.Payment)
	for _, p := range c.g.Payments {
		if !p.State.Terminal() {
			payments[p.ID.DeploymentID] = append(payments[p.ID.DeploymentID], p)
		}
	}
	for _, a := range c.g.Accounts {
		b := lease.Load(a, payments[a.ID])
		runs, from := b.RunsOutAt(), b.GraceFrom()
		grace := from != 0 && a.DueAt >= from && a.DueAt-from <= market.MaxBlocks && (runs == 0 || a.DueAt <= runs)
		switch {
		case a.State.Terminal() && a.DueAt == 0, grace:
		case a.DueAt != runs || a.DueAt == 0 && from != 0 || a.State.Terminal():
			c.fault("account %s is due at %d, it runs out at %d, its grace is from %d", a.ID, a.DueAt, runs, from)
		}
	}
}

// accounts checks that each deployment has its account, that a closed account
// is empty, and that another is overdrawn exactly while something is unpaid, of
// closed payments too, which is only where funds are gone.
func (c *checker) accounts() {
	for _, a := range c.g.Accounts {
		d := c.deployments[a.ID]
		if a.State.Terminal() != d.State.Terminal() {
			c.fault("account %s is %s, its deployment %s", a.ID, a.State, d.State)
		}
		if a.State.Terminal() && len(a.Deposits) > 0 {
			c.fault("account %s is closed and holds %v", a.ID, a.Deposits)
		}
	}
	unpaid := make(map[market.DeploymentID][]string) // denominations
	for _, p := range c.g.Payments {
		if !p.State.Terminal() && (p.State == market.AccountOverdrawn) != !p.Unpaid.IsZero() || p.Unpaid.IsZero() != (p.OverdrawnAt == 0) {
			c.fault("payment %s is %s with %s unpaid since %d", p.ID, p.State, p.Unpaid, p.OverdrawnAt)
		}
		if !p.Unpaid.IsZero() {
			unpaid[p.ID.DeploymentID] = append(unpaid[p.ID.DeploymentID], p.Price.Denom)
		}
	}
	for _, a := range c.g.Accounts {
		if !a.State.Terminal() && (len(unpaid[a.ID]) > 0) != (a.State == market.AccountOverdrawn) {
			c.fault("account %s is %s, unpaid is something in %v", a.ID, a.State, unpaid[a.ID])
		}
		for _, d := range a.Deposits {
			if slices.Contains(unpaid[a.ID], d.Balance.Denom) {
				c.fault("account %s holds %s while something is unpaid in that", a.ID, d.Balance)
			}
		}
	}
}
