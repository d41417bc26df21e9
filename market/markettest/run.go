package markettest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// caseError carries the error of a case out of its body; see [Case.Run].
type caseError struct{ error }

// run is one case being run.
type run struct {
	ctx   context.Context //nolint:containedctx // lives as long as the case
	world World
}

// fail ends the case.
func (r *run) fail(format string, args ...any) { panic(caseError{fmt.Errorf(format, args...)}) }

// must ends the case if err is not nil.
func (r *run) must(err error) {
	if err != nil {
		panic(caseError{err})
	}
}

// want ends the case unless ok.
func (r *run) want(ok bool, format string, args ...any) {
	if !ok {
		r.fail(format, args...)
	}
}

// actor is an account with its client.
type actor struct {
	market.Client
	r *run
	// fees are what the host took for the account's submissions.
	fees market.Coins
}

func (r *run) actor() *actor {
	c, err := r.world.Client(r.ctx)
	r.must(err)
	return &actor{Client: c, r: r}
}

// do submits messages that must succeed.
func (a *actor) do(msgs ...market.Msg) market.Receipt {
	receipt, err := a.Submit(a.r.ctx, msgs...)
	if err != nil {
		a.r.fail("%T: %w", msgs[0], err)
	}
	for _, c := range receipt.Fee {
		a.fees, err = a.fees.Add(c)
		a.r.must(err)
	}
	return receipt
}

// refused submits messages that the market must refuse by a rule.
func (a *actor) refused(kind error, rule string, msgs ...market.Msg) {
	_, err := a.Submit(a.r.ctx, msgs...)
	var re *market.RuleError
	switch {
	case err == nil:
		a.r.fail("%T was carried out, want rule %s to refuse it", msgs[0], rule)
	case !errors.Is(err, kind):
		a.r.fail("%T: error %w, want one of kind %q", msgs[0], err, kind)
	case !errors.As(err, &re) || re.Rule != rule:
		a.r.fail("%T: error %w, want rule %s", msgs[0], err, rule)
	}
}

// owns returns the account's balance, with what the host took as fees for
// submissions added back.
func (a *actor) owns(denom string) market.Amount {
	coins, err := a.Balances(a.r.ctx, a.Address())
	a.r.must(err)
	sum, err := coins.Of(denom).Add(a.fees.Of(denom))
	a.r.must(err)
	return sum
}

// wantOwns checks the balance against what the account began with and what it
// has won or lost since.
func (a *actor) wantOwns(denom string, won, lost uint64) {
	want := market.NewAmount(Units + won - lost)
	got := a.owns(denom)
	a.r.want(got == want, "account %s owns %s%s, want %s", a.Address(), got, denom, want)
}

func (a *actor) head() market.Head {
	h, err := a.Head(a.r.ctx)
	a.r.must(err)
	return h
}

// reach advances until a height is committed.
func (r *run) reach(a *actor, height int64) {
	if n := height - a.head().Height; n > 0 {
		r.must(r.world.Advance(r.ctx, int(n)))
	}
	got := a.head().Height
	r.want(got >= height, "height is %d after advancing to %d", got, height)
}

// advance makes n blocks.
func (r *run) advance(n int) { r.must(r.world.Advance(r.ctx, n)) }

// price returns a price per block in [Denom].
func (r *run) price(perBlock string) market.Price {
	d, err := market.ParseDecimal(perBlock)
	r.must(err)
	return market.Price{Denom: Denom, AmountPerBlock: d}
}

// spec returns a small group that pays at most so much for a block.
func (r *run) spec(name, ceiling string) market.GroupSpec {
	return market.GroupSpec{Name: name, Units: []market.ResourceUnit{{
		Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 256 << 20},
			Storage:   []market.Volume{{Name: "default", Bytes: 1 << 30}},
			Endpoints: []market.Endpoint{{Kind: market.EndpointSharedHTTP}},
		},
		Count: 1, Price: r.price(ceiling),
	}}}
}

// Money the cases use.
const (
	deposit    = 5_000_000
	bidDeposit = 500_000
)

// deploy creates a deployment with a deposit and groups.
func (a *actor) deploy(dseq uint64, groups ...market.GroupSpec) market.DeploymentID {
	id := market.DeploymentID{Owner: a.Address(), DSeq: dseq}
	a.do(market.CreateDeployment{ID: id, Groups: groups, Hash: market.Hash{1}, Deposit: market.NewCoin(Denom, deposit)})
	return id
}

// provider returns an actor that is registered as provider.
func (r *run) provider(attributes ...market.Attribute) *actor {
	a := r.actor()
	a.do(market.CreateProvider{Provider: market.Provider{
		Owner: a.Address(), HostURI: "https://provider.example:8443", Attributes: attributes,
	}})
	return a
}

func orderOf(id market.DeploymentID, gseq, oseq uint32) market.OrderID {
	return market.OrderID{GroupID: market.GroupID{DeploymentID: id, GSeq: gseq}, OSeq: oseq}
}

// offer returns the message that bids on an order.
func (a *actor) offer(o market.OrderID, perBlock string) market.CreateBid {
	return market.CreateBid{
		ID: market.BidID{OrderID: o, Provider: a.Address()}, Price: a.r.price(perBlock), Deposit: market.NewCoin(Denom, bidDeposit),
	}
}

// bid bids on an order.
func (a *actor) bid(o market.OrderID, perBlock string) market.BidID {
	msg := a.offer(o, perBlock)
	a.do(msg)
	return msg.ID
}

// leased deploys one group with a lease at a price and returns the lease.
func (r *run) leased(tenant, provider *actor, dseq uint64, perBlock string) market.Lease {
	id := tenant.deploy(dseq, r.spec("web", "100000"))
	return r.lease(tenant, provider, orderOf(id, 1, 1), perBlock)
}

// lease bids on an order and accepts the bid.
func (r *run) lease(tenant, provider *actor, o market.OrderID, perBlock string) market.Lease {
	bid := provider.bid(o, perBlock)
	tenant.do(market.CreateLease{ID: bid})
	l, err := tenant.Lease(r.ctx, bid.Lease())
	r.must(err)
	return l
}

// due returns the whole part of price × blocks.
func (r *run) due(p market.Price, blocks int64) uint64 {
	whole, _, err := p.AmountPerBlock.Accrue(market.Decimal{}, uint64(blocks))
	r.must(err)
	n, _ := whole.Uint64()
	return n
}

// fee returns the market's part of an amount.
func fee(n uint64) uint64 { return n * uint64(Params().FeePerMyriad) / market.MaxMyriad }

// within returns a context for something that must happen soon.
func (r *run) within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.ctx, d)
}

// states reads the states that belong to a lease.
func (r *run) states(a *actor, id market.LeaseID) (g market.GroupState, o market.OrderState, b market.BidState, l market.LeaseState) {
	groups, err := a.Groups(r.ctx, id.DeploymentID)
	r.must(err)
	r.want(len(groups) >= int(id.GSeq), "%d groups, want at least %d", len(groups), id.GSeq)
	order, err := a.Order(r.ctx, id.OrderID)
	r.must(err)
	bid, err := a.Bid(r.ctx, id.Bid())
	r.must(err)
	lease, err := a.Lease(r.ctx, id)
	r.must(err)
	return groups[id.GSeq-1].State, order.State, bid.State, lease.State
}

// wantStates checks the states that belong to a lease.
func (r *run) wantStates(a *actor, id market.LeaseID, g market.GroupState, o market.OrderState, b market.BidState, l market.LeaseState) {
	g2, o2, b2, l2 := r.states(a, id)
	r.want(g2 == g && o2 == o && b2 == b && l2 == l,
		"group, order, bid, lease of %s are %s, %s, %s, %s; want %s, %s, %s, %s", id, g2, o2, b2, l2, g, o, b, l)
}
