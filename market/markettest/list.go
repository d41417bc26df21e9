package markettest

import (
	"errors"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

func listCases() []Case {
	return []Case{
		{"lists-are-filtered", "lists hold exactly what matches every field of the filter", listsAreFiltered},
		{"lists-are-paged", "pages of any size go through a list in order, each row once; a token that is none is refused", listsArePaged},
		{"open-orders-are-found", "the list of open orders has every open order and no other", openOrdersFound},
	}
}

func (r *run) wantNotFound(err error, what string) {
	r.want(errors.Is(err, market.ErrNotFound), "%s: error %v, want ErrNotFound", what, err)
}

// ids reads a list to its end with pages of a size and returns the IDs as text.
func ids[T any](r *run, size int, name func(T) string, list func(market.Page) ([]T, string, error)) []string {
	var out []string
	p := market.Page{Limit: size}
	for {
		page, next, err := list(p)
		r.must(err)
		r.want(len(page) <= size, "a page of %d rows, asked for %d", len(page), size)
		for _, v := range page {
			out = append(out, name(v))
		}
		if next == "" {
			return out
		}
		r.want(next != p.Token, "the token does not move on")
		p.Token = next
	}
}

func (r *run) wantIDs(what string, got []string, want ...string) {
	r.want(slices.Equal(got, want), "%s are %v, want %v", what, got, want)
}

func bidName(b market.Bid) string           { return b.ID.String() }
func leaseName(l market.Lease) string       { return l.ID.String() }
func orderName(o market.Order) string       { return o.ID.String() }
func deployName(d market.Deployment) string { return d.ID.String() }

// busy makes a tenant with deployments 1 (leased), 2 (two open orders) and 3
// (closed), and a provider with a lease, an open bid and a lost one.
func (r *run) busy() (a, p, q *actor, lease market.LeaseID) {
	a, p, q = r.actor(), r.provider(), r.provider()
	first := a.deploy(1, r.spec("web", "100"))
	second := a.deploy(2, r.spec("one", "100"), r.spec("two", "100"))
	third := a.deploy(3, r.spec("web", "100"))
	q.bid(orderOf(first, 1, 1), "10")
	q.bid(orderOf(second, 2, 1), "10")
	p.bid(orderOf(second, 1, 1), "10")
	p.bid(orderOf(third, 1, 1), "10")
	l := r.lease(a, p, orderOf(first, 1, 1), "10")
	a.do(market.CloseDeployment{ID: third})
	return a, p, q, l.ID
}

func listsAreFiltered(r *run) {
	a, p, q, lease := r.busy()
	bids := func(f market.BidFilter) []string {
		return ids(r, 2, bidName, func(pg market.Page) ([]market.Bid, string, error) { return a.Bids(r.ctx, f, pg) })
	}
	leases := func(f market.LeaseFilter) []string {
		return ids(r, 2, leaseName, func(pg market.Page) ([]market.Lease, string, error) { return a.Leases(r.ctx, f, pg) })
	}
	deployments := func(f market.DeploymentFilter) []string {
		return ids(r, 2, deployName, func(pg market.Page) ([]market.Deployment, string, error) { return a.Deployments(r.ctx, f, pg) })
	}
	name := func(dseq uint64, gseq uint32, who *actor) string {
		return market.BidID{OrderID: orderOf(market.DeploymentID{Owner: a.Address(), DSeq: dseq}, gseq, 1), Provider: who.Address()}.String()
	}
	owner := string(a.Address())
	r.wantIDs("deployments", deployments(market.DeploymentFilter{Owner: a.Address()}), owner+"/1", owner+"/2", owner+"/3")
	r.wantIDs("one deployment", deployments(market.DeploymentFilter{Owner: a.Address(), DSeq: 2}), owner+"/2")
	r.wantIDs("active deployments", deployments(market.DeploymentFilter{Owner: a.Address(), State: market.DeploymentActive}), owner+"/1", owner+"/2")
	r.wantIDs("an active deployment", deployments(market.DeploymentFilter{Owner: a.Address(), DSeq: 1, State: market.DeploymentActive}), owner+"/1")
	r.wantIDs("an active deployment that is closed", deployments(market.DeploymentFilter{Owner: a.Address(), DSeq: 3, State: market.DeploymentActive}))
	r.wantIDs("closed deployments", deployments(market.DeploymentFilter{Owner: a.Address(), State: market.DeploymentClosed}), owner+"/3")
	r.wantIDs("bids of a provider", bids(market.BidFilter{Provider: p.Address()}), name(1, 1, p), name(2, 1, p), name(3, 1, p))
	r.wantIDs("open bids of a provider", bids(market.BidFilter{Provider: p.Address(), State: market.BidOpen}), name(2, 1, p))
	r.wantIDs("won bids of a provider", bids(market.BidFilter{Provider: p.Address(), State: market.BidWon}), name(1, 1, p))
	r.wantIDs("lost bids", bids(market.BidFilter{Owner: a.Address(), State: market.BidLost}), name(1, 1, q))
	r.wantIDs("bids on a deployment", bids(market.BidFilter{Owner: a.Address(), DSeq: 2}), name(2, 1, p), name(2, 2, q))
	r.wantIDs("bids on a group", bids(market.BidFilter{Owner: a.Address(), DSeq: 2, GSeq: 2}), name(2, 2, q))
	r.wantIDs("a provider's bid on an order", bids(market.BidFilter{Owner: a.Address(), DSeq: 2, GSeq: 2, OSeq: 1, Provider: q.Address()}), name(2, 2, q))
	r.wantIDs("open bids on a tenant's orders", bids(market.BidFilter{Owner: a.Address(), State: market.BidOpen}), name(2, 1, p), name(2, 2, q))
	r.wantIDs("open bids on an order", bids(market.BidFilter{Owner: a.Address(), DSeq: 2, GSeq: 2, OSeq: 1, State: market.BidOpen}), name(2, 2, q))
	r.wantIDs("a provider's open bid on another's order", bids(market.BidFilter{Owner: a.Address(), DSeq: 2, GSeq: 2, OSeq: 1, Provider: p.Address(), State: market.BidOpen}))
	r.wantIDs("won bids on a tenant's orders", bids(market.BidFilter{Owner: a.Address(), State: market.BidWon}), name(1, 1, p))
	r.wantIDs("live leases of a tenant", leases(market.LeaseFilter{Owner: a.Address(), Live: true}), lease.String())
	r.wantIDs("active leases of a deployment", leases(market.LeaseFilter{Owner: a.Address(), DSeq: 1, State: market.LeaseActive}), lease.String())
	r.wantIDs("closing leases of a deployment", leases(market.LeaseFilter{Owner: a.Address(), DSeq: 1, State: market.LeaseClosing}))
	r.wantIDs("live leases of another deployment", leases(market.LeaseFilter{Owner: a.Address(), DSeq: 2, Live: true}))
	r.wantIDs("leases of a tenant", leases(market.LeaseFilter{Owner: a.Address()}), lease.String())
	r.wantIDs("active leases of a provider", leases(market.LeaseFilter{Provider: p.Address(), State: market.LeaseActive}), lease.String())
	r.wantIDs("closed leases of a tenant", leases(market.LeaseFilter{Owner: a.Address(), State: market.LeaseClosed}))
	r.wantIDs("another provider's leases of a tenant", leases(market.LeaseFilter{Owner: a.Address(), Provider: q.Address()}))
	r.wantIDs("another provider's lease of an order", leases(market.LeaseFilter{Owner: a.Address(), DSeq: 1, GSeq: 1, OSeq: 1, Provider: q.Address()}))
	r.wantIDs("closed leases of a provider while one is active", leases(market.LeaseFilter{Provider: p.Address(), State: market.LeaseClosed}))
	r.wantIDs("leases of another provider", leases(market.LeaseFilter{Provider: q.Address()}))
	a.do(market.CloseDeployment{ID: lease.DeploymentID})
	r.wantIDs("live leases of a tenant after closing", leases(market.LeaseFilter{Owner: a.Address(), Live: true}))
	r.wantIDs("won bids after closing", bids(market.BidFilter{Owner: a.Address(), State: market.BidWon}))
	r.wantIDs("active leases after closing", leases(market.LeaseFilter{Provider: p.Address(), State: market.LeaseActive}))
	r.wantIDs("closed leases of a provider", leases(market.LeaseFilter{Provider: p.Address(), State: market.LeaseClosed}), lease.String())
}

func listsArePaged(r *run) {
	a := r.actor()
	var want []string
	for _, dseq := range []uint64{1, 2, 9, 10, 12, 100, 123} {
		want = append(want, a.deploy(dseq, r.spec("web", "10")).String())
	}
	f := market.DeploymentFilter{Owner: a.Address()}
	list := func(p market.Page) ([]market.Deployment, string, error) { return a.Deployments(r.ctx, f, p) }
	for _, size := range []int{1, 2, 3, 7, 1000} {
		r.wantIDs("deployments by pages", ids(r, size, deployName, list), want...)
	}
	for _, p := range []market.Page{{Token: "!"}, {Token: "AAAA"}, {Limit: -1}, {Limit: market.MaxPageLimit + 1}} {
		_, _, err := list(p)
		r.want(errors.Is(err, market.ErrInvalid), "page %+v: error %v, want ErrInvalid", p, err)
	}
	for _, f := range []market.DeploymentFilter{{DSeq: 1}, {DSeq: 1, State: market.DeploymentActive}} {
		_, _, err := a.Deployments(r.ctx, f, market.Page{})
		r.want(errors.Is(err, market.ErrInvalid), "filter %+v: error %v, want ErrInvalid", f, err)
	}
	_, _, err := a.Orders(r.ctx, market.OrderFilter{Owner: a.Address(), OSeq: 1}, market.Page{})
	r.want(errors.Is(err, market.ErrInvalid), "orders of a number: error %v, want ErrInvalid", err)
	for _, f := range []market.LeaseFilter{{DSeq: 1}, {Owner: "a", GSeq: 1}, {Owner: "a", DSeq: 1, OSeq: 1}} {
		_, _, err := a.Leases(r.ctx, f, market.Page{})
		r.want(errors.Is(err, market.ErrInvalid), "filter %+v: error %v, want ErrInvalid", f, err)
	}
}

func openOrdersFound(r *run) {
	a, _, _, lease := r.busy()
	orders := func(f market.OrderFilter) []string {
		return ids(r, 1, orderName, func(pg market.Page) ([]market.Order, string, error) { return a.Orders(r.ctx, f, pg) })
	}
	owner := string(a.Address())
	f := market.OrderFilter{Owner: a.Address(), State: market.OrderOpen}
	r.wantIDs("open orders", orders(f), owner+"/2/1/1", owner+"/2/2/1")
	a.do(market.CloseLease{ID: lease})
	r.wantIDs("open orders after a lease closed", orders(f), owner+"/1/1/2", owner+"/2/1/1", owner+"/2/2/1")
	r.wantIDs("open orders of a deployment", orders(market.OrderFilter{Owner: a.Address(), DSeq: 2, State: market.OrderOpen}), owner+"/2/1/1", owner+"/2/2/1")
	r.wantIDs("the first order of a group", orders(market.OrderFilter{Owner: a.Address(), DSeq: 1, GSeq: 1, OSeq: 1}), owner+"/1/1/1")
	r.wantIDs("the second order of a group, if open", orders(market.OrderFilter{Owner: a.Address(), DSeq: 1, GSeq: 1, OSeq: 2, State: market.OrderOpen}), owner+"/1/1/2")
	r.wantIDs("closed orders", orders(market.OrderFilter{Owner: a.Address(), State: market.OrderClosed}), owner+"/1/1/1", owner+"/3/1/1")
}
