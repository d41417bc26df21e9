package machine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// must carries messages out at a height.
func (h *host) must(t *testing.T, height int64, msgs ...market.Msg) {
	t.Helper()
	for _, msg := range msgs {
		_, err := h.step(height, msg, 0)
		require.NoError(t, err, "%T", msg)
	}
}

func TestADeploymentHasAsManyGroupsAsAllowed(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	d := benchDeployment(1)
	for i := len(d.Groups); i < 20; i++ {
		g := d.Groups[0].Clone()
		g.Name = fmt.Sprint("group", i)
		d.Groups = append(d.Groups, g)
	}
	h.must(t, 1, d)
	d.ID.DSeq, d.Groups = 2, append(d.Groups, d.Groups[0])
	_, err := h.step(1, d, 0)
	require.ErrorIs(t, err, market.ErrLimit)
}

func TestABlockDoesABoundedNumberOfThingsByItself(t *testing.T) {
	p := market.DefaultParams("uakt")
	p.OrderLifetimeBlocks = 5
	h := newHost(p)
	const n = machine.MaxTimersPerBlock + 50
	for dseq := range uint64(n) {
		h.must(t, 1, benchDeployment(dseq+1))
	}
	open := func() (count int) {
		for _, err := range h.Refs.Scan([]byte{byte(machine.RefOpenOrder)}, nil) {
			require.NoError(t, err)
			count++
		}
		return count
	}
	h.must(t, 5, nil)
	assert.Equal(t, n, open())
	h.must(t, 6, nil)
	assert.Equal(t, 50, open(), "the rest waits")
	h.must(t, 7, nil)
	assert.Equal(t, 0, open())
	require.NoError(t, machine.Check(h.State, h.purse.pot))
}

func TestALateTimerFindsTheHeightAtWhichFundsRanOut(t *testing.T) {
	at := func(late int64) machine.Genesis {
		p := market.DefaultParams("uakt")
		p.GraceBlocks = 100
		h := newHost(p)
		bid := benchBid(1)
		bid.Price.AmountPerBlock = market.NewDecimal(100)
		h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}}, benchDeployment(1), bid, market.CreateLease{ID: bid.ID})
		if late > 0 {
			h.must(t, late, nil)
		} else {
			for height := int64(1); height <= 5040; height++ {
				h.must(t, height, nil)
			}
		}
		h.must(t, 5040, market.WithdrawLease{ID: bid.ID.Lease()})
		g, err := machine.Export(h.State)
		require.NoError(t, err)
		return g
	}
	punctual, late := at(0), at(5040)
	assert.EqualValues(t, 5002, late.Accounts[0].OverdrawnAt)
	assert.Equal(t, punctual, late)
}

// A crowd of expiring orders keeps the queue busy while a notice ends.
func TestALateEndOfNoticeCostsNothing(t *testing.T) {
	run := func(crowd int) (closedAt int64, withdrawn string) {
		p := market.DefaultParams("uakt")
		p.OrderLifetimeBlocks = 9
		p.Limits.MaxGroups = 1000
		h := newHost(p)
		d, bid := benchDeployment(1), benchBid(1)
		d.Groups[0].ReclaimBlocks = 5
		h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}}, d, bid, market.CreateLease{ID: bid.ID})
		other := benchDeployment(2)
		for i := range crowd {
			g := other.Groups[0].Clone()
			g.Name = fmt.Sprint("g", i)
			other.Groups = append(other.Groups, g)
		}
		h.must(t, 1, other)
		h.must(t, 5, market.CloseBid{ID: bid.ID, Reason: market.ReasonUnstable})
		for height := int64(5); height <= 20; height++ {
			h.must(t, height, nil)
			if height == 12 && crowd > 0 { // looking at it in between changes nothing
				h.must(t, height, market.WithdrawLease{ID: bid.ID.Lease()})
			}
			require.NoError(t, machine.Check(h.State, h.purse.pot))
		}
		l, err := h.Leases.Get(bid.ID.Lease())
		require.NoError(t, err)
		return l.ClosedAt, h.payment(t, 1).Withdrawn.String()
	}
	punctual, paid := run(0)
	assert.EqualValues(t, 10, punctual)
	assert.Equal(t, "27", paid, "3 per block from 1 to 10")
	late, same := run(900)
	assert.Greater(t, late, int64(12))
	assert.Equal(t, paid, same)
}

func TestTimersThatAreGoneDoNothing(t *testing.T) {
	p := market.DefaultParams("uakt")
	p.OrderLifetimeBlocks = 5
	h := newHost(p)
	h.must(t, 1, benchDeployment(1))
	at := machine.Moment{Height: 6, Time: time.Unix(6, 0)}
	due, err := h.Due(at)
	require.NoError(t, err)
	require.Len(t, due, 1)
	h.must(t, 6, market.CloseDeployment{ID: market.DeploymentID{Owner: "tenant", DSeq: 1}})
	events, err := h.Fire(at, due[0])
	require.NoError(t, err)
	assert.Empty(t, events)

	h.must(t, 6, benchDeployment(2))
	due, err = h.Due(machine.Moment{Height: 11})
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.NoError(t, h.Drop(due[0]))
	h.must(t, 11, nil)
	o, err := h.Orders.Get(due[0].ID)
	require.NoError(t, err)
	assert.Equal(t, market.OrderOpen, o.State, "a dropped timer does not fire")
}

func TestAFilterNamesThePartsBeforeThoseItNames(t *testing.T) {
	h := leasedHost(t, 1, 2)
	var faults []error
	_, _, err := h.ListOrders(market.OrderFilter{DSeq: 2}, market.Page{})
	faults = append(faults, err)
	_, _, err = h.ListOrders(market.OrderFilter{Owner: "tenant", GSeq: 2, State: market.OrderOpen}, market.Page{})
	faults = append(faults, err)
	_, _, err = h.ListBids(market.BidFilter{DSeq: 2, Provider: "provider"}, market.Page{})
	faults = append(faults, err)
	_, _, err = h.ListLeases(market.LeaseFilter{Owner: "tenant", DSeq: 1, OSeq: 7}, market.Page{})
	faults = append(faults, err)
	for i, err := range faults {
		var re *market.RuleError
		require.ErrorAs(t, err, &re, i)
		assert.Equal(t, "filter-parts", re.Rule)
	}
	l, _, err := h.ListLeases(market.LeaseFilter{Owner: "tenant", DSeq: 2, Provider: "provider"}, market.Page{})
	require.NoError(t, err)
	assert.Len(t, l, 1)
}

func TestAPageReadsABoundedNumberOfRows(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	const n = machine.MaxScan + 10
	for dseq := range uint64(n) {
		d := market.Deployment{ID: market.DeploymentID{Owner: "tenant", DSeq: dseq + 1}, State: market.DeploymentActive}
		if dseq == n-1 {
			d.State = market.DeploymentClosed
		}
		require.NoError(t, h.Deployments.Set(d.ID, d))
	}
	f := market.DeploymentFilter{State: market.DeploymentClosed}
	page, next, err := h.ListDeployments(f, market.Page{})
	require.NoError(t, err)
	assert.Empty(t, page)
	require.NotEmpty(t, next, "an empty page is not the end")
	page, next, err = h.ListDeployments(f, market.Page{Token: next})
	require.NoError(t, err)
	assert.Len(t, page, 1)
	assert.Empty(t, next)
}

// bigOrders makes a group of the largest size for each of n deployments.
func bigOrders(t *testing.T, h *host, n int) {
	t.Helper()
	for dseq := range uint64(n) {
		d := benchDeployment(dseq + 1)
		for i := 0; ; i++ {
			next := append(d.Groups[0].Requirements.Attributes, market.Attribute{Key: fmt.Sprintf("%0128d", i), Value: strings.Repeat("x", 256)})
			if i == 100 {
				d.Groups[0].Units[0].GPU.Attributes = next[:60]
				break
			}
			d.Groups[0].Requirements.Attributes = next
		}
		h.must(t, 1, d)
	}
}

func TestAPageHasABoundedNumberOfBytes(t *testing.T) {
	h := newHost(market.DefaultParams("uakt"))
	const n = 50
	bigOrders(t, h, n)
	for _, f := range []market.OrderFilter{{}, {State: market.OrderOpen}} {
		page, next, err := h.ListOrders(f, market.Page{Limit: market.MaxPageLimit})
		require.NoError(t, err)
		require.NotEmpty(t, next)
		size := 0
		for _, o := range page {
			size += o.Spec.Size()
		}
		assert.Less(t, size, machine.MaxPageBytes+market.DefaultGroupBytes)
		assert.Greater(t, size, machine.MaxPageBytes*9/10)
		count := 0
		for o, err := range market.All(func(p market.Page) ([]market.Order, string, error) { return h.ListOrders(f, p) }) {
			require.NoError(t, err)
			count++
			assert.EqualValues(t, count, o.ID.DSeq, "each once, in order")
		}
		assert.Equal(t, n, count)
	}
}

// Every fault that the checker knows is found.
func TestTheCheckerFindsFaults(t *testing.T) {
	build := func() (machine.Genesis, market.Coins) {
		h := newHost(market.DefaultParams("uakt"))
		second := benchDeployment(2)
		bid := benchBid(1)
		h.must(t, 1, market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}},
			benchDeployment(1), second, bid, benchBid(2), market.CreateLease{ID: bid.ID}, market.OpenRetainer{
				ID:    market.RetainerID{Owner: "tenant", Provider: "provider", Kind: "address", Name: "web"},
				Price: bid.Price, Deposit: market.NewCoin("uakt", 500_000),
			})
		g, err := machine.Export(h.State)
		require.NoError(t, err)
		return g, h.purse.pot
	}
	faults := map[string]func(g *machine.Genesis){
		"a deposit too much":             func(g *machine.Genesis) { g.Accounts[0].Deposits[0].Balance.Amount = market.NewAmount(1) },
		"a balance from nowhere":         func(g *machine.Genesis) { g.Payments[0].Balance = market.NewAmount(1) },
		"a bid deposit forgotten":        func(g *machine.Genesis) { g.Bids[1].Deposit.Amount = market.Amount{} },
		"an order with too many bids":    func(g *machine.Genesis) { g.Orders[1].Bids = 2 },
		"a matched order without lease":  func(g *machine.Genesis) { g.Orders[1].State = market.OrderMatched },
		"a lease on an open order":       func(g *machine.Genesis) { g.Orders[0].State = market.OrderOpen },
		"an open group without order":    func(g *machine.Genesis) { g.Groups[0].LastOSeq = 2 },
		"a paused group with an order":   func(g *machine.Genesis) { g.Groups[1].State = market.GroupPaused },
		"a live group, dead deployment":  func(g *machine.Genesis) { g.Deployments[0].State = market.DeploymentClosed },
		"a closed lease, open payment":   func(g *machine.Genesis) { g.Leases[0].State = market.LeaseClosed },
		"an active lease, lost bid":      func(g *machine.Genesis) { g.Bids[0].State = market.BidLost },
		"an active lease, payment ended": func(g *machine.Genesis) { g.Payments[0].State = market.AccountClosed },
		"unpaid dues, open payment":      func(g *machine.Genesis) { g.Payments[0].Unpaid = market.NewAmount(1) },
		"an overdrawn account, no debt":  func(g *machine.Genesis) { g.Accounts[0].State = market.AccountOverdrawn },
		"a lease at another price":       func(g *machine.Genesis) { g.Leases[0].Price.AmountPerBlock = market.NewDecimal(4) },
		"a payment at another price":     func(g *machine.Genesis) { g.Payments[0].Price.AmountPerBlock = market.NewDecimal(4) },
		"an order with other counts":     func(g *machine.Genesis) { g.Orders[0].Spec.Units = nil },
		"a lease that ends, no notice":   func(g *machine.Genesis) { g.Leases[0].EndsAt = 9 },
		"a notice without an end":        func(g *machine.Genesis) { g.Leases[0].State = market.LeaseClosing },
		"a closed lease asked to scale":  func(g *machine.Genesis) { g.Leases[0].State, g.Leases[0].Scale = market.LeaseClosed, &market.Scale{} },
		"a retainer with more":           func(g *machine.Genesis) { g.Retainers[0].Balance = market.NewAmount(1) },
		"a closed retainer with money":   func(g *machine.Genesis) { g.Retainers[0].State = market.RetainerClosed },
		"a retainer that is forgotten":   func(g *machine.Genesis) { g.Retainers[0].DueAt = 0 },
		"an account that is forgotten":   func(g *machine.Genesis) { g.Accounts[0].DueAt = 0 },
		"an account due too late":        func(g *machine.Genesis) { g.Accounts[0].DueAt++ },
		"an idle account that is due":    func(g *machine.Genesis) { g.Accounts[1].DueAt = 9 },
		"a unit that is carried":         func(g *machine.Genesis) { g.Payments[0].Fraction = market.NewDecimal(1) },
		"a fee that is carried":          func(g *machine.Genesis) { g.Payments[0].FeeCarry = market.MaxMyriad },
		"a retainer that carries a unit": func(g *machine.Genesis) { g.Retainers[0].Fraction = market.NewDecimal(1) },
		"a payment that ends alone":      func(g *machine.Genesis) { g.Payments[0].EndsAt = 9 },
		"a closed account with money":    func(g *machine.Genesis) { g.Accounts[1].State = market.AccountClosed },
	}
	g, pot := build()
	h := newHost(market.DefaultParams("uakt"))
	require.NoError(t, machine.Import(h.State, g))
	require.NoError(t, machine.Check(h.State, pot))
	for name, spoil := range faults {
		g, pot := build()
		spoil(&g)
		h := newHost(market.DefaultParams("uakt"))
		require.NoError(t, machine.Import(h.State, g), name)
		assert.Error(t, machine.Check(h.State, pot), name)
	}
	for want, spoil := range map[string]func(g *machine.Genesis){
		"its order pays at most": func(g *machine.Genesis) {
			dear := market.NewDecimal(1_000_000)
			g.Bids[0].Price.AmountPerBlock, g.Leases[0].Price.AmountPerBlock, g.Payments[0].Price.AmountPerBlock = dear, dear, dear
		},
		"replicas of unit": func(g *machine.Genesis) {
			for _, spec := range []*market.GroupSpec{&g.Orders[0].Spec, &g.Groups[0].Spec} {
				spec.Units = slices.Clone(spec.Units)
				spec.Units[0].MinCount, spec.Units[0].MaxCount = spec.Units[0].Count+1, spec.Units[0].Count+2
			}
		},
	} {
		g, pot := build()
		spoil(&g)
		h := newHost(market.DefaultParams("uakt"))
		require.NoError(t, machine.Import(h.State, g), want)
		require.ErrorContains(t, machine.Check(h.State, pot), want)
	}
	h = newHost(market.DefaultParams("uakt"))
	require.NoError(t, machine.Import(h.State, g))
	require.NoError(t, h.Refs.Delete(machine.Ref{Kind: machine.RefOpenOrder, ID: market.LeaseID{OrderID: g.Orders[1].ID}}))
	assert.Error(t, machine.Check(h.State, pot), "an index entry is missing")
}
