package machine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
	"github.com/moorage-dev/moorage/market/memmarket"
)

// The accounts and numbers of the random market. They are prefixes of one
// another on purpose.
func tenants() []market.Address   { return []market.Address{"a", "ab", "a1"} }
func providers() []market.Address { return []market.Address{"p", "p1", "p12"} }
func dseqs() []uint64             { return []uint64{1, 12, 123, 256} }

const each = 4_000_000 // units of each denomination per account

// random is a market to which random things are done.
type random struct {
	market   *memmarket.Market
	refusals map[string]int
	happened map[market.EventKind]int
}

func randomParams(t *rapid.T) market.Params {
	p := market.DefaultParams("uakt", "uact")
	p.MaxBids = 2
	p.OrderLifetimeBlocks = rapid.Int64Range(0, 12).Draw(t, "lifetime")
	p.GraceBlocks = rapid.Int64Range(0, 6).Draw(t, "grace")
	p.FeePerMyriad = rapid.Uint32Range(0, 3000).Draw(t, "fee")
	p.ScaleBlocks = rapid.Int64Range(0, 6).Draw(t, "scale blocks")
	p.MaxReclaimBlocks = 3
	return p
}

func newRandom(t *rapid.T, refusals map[string]int, happened map[market.EventKind]int) *random {
	cfg := memmarket.Config{Params: randomParams(t), BlockPerSubmit: true, Start: time.Unix(1_700_000_000, 0), Balances: map[market.Address]market.Coins{}}
	for _, a := range append(tenants(), providers()...) {
		cfg.Balances[a] = market.Coins{market.NewCoin("uact", each), market.NewCoin("uakt", each)}
	}
	m, err := memmarket.New(cfg)
	require.NoError(t, err)
	r := &random{market: m, refusals: refusals, happened: happened}
	for _, p := range providers()[:2] {
		r.submit(t, market.CreateProvider{Provider: market.Provider{Owner: p, HostURI: "https://p.example"}})
	}
	for _, dseq := range dseqs()[:2] {
		r.lease(t, market.DeploymentID{Owner: "a", DSeq: dseq})
	}
	return r
}

// lease makes a deployment of two groups, one leased for a short time, one with
// a bid.
func (r *random) lease(t *rapid.T, id market.DeploymentID) {
	r.submit(t, market.CreateDeployment{
		ID: id, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 600_000), Groups: []market.GroupSpec{drawSpec(t, "g0"), drawSpec(t, "g1")},
	})
	for i, p := range providers()[:2] {
		o := market.OrderID{GroupID: market.GroupID{DeploymentID: id, GSeq: uint32(i + 1)}, OSeq: 1}
		r.offer(t, market.BidID{OrderID: o, Provider: p}, rapid.SampledFrom([]string{"700.7", "7000.7", "70000.7"}).Draw(t, "price"))
		if i == 0 {
			r.submit(t, market.CreateLease{ID: market.BidID{OrderID: o, Provider: p}})
		}
	}
}

// submit submits messages of one signer together. A refusal is fine; anything
// else is not. A refused submission must not have changed anything.
func (r *random) submit(t *rapid.T, msgs ...market.Msg) {
	before, err := r.market.Export()
	require.NoError(t, err)
	_, err = r.market.Client(msgs[0].Signer()).Submit(t.Context(), msgs...)
	if err == nil {
		return
	}
	var re *market.RuleError
	require.ErrorAs(t, err, &re, "an error that is no refusal")
	r.refusals[re.Rule]++
	if rapid.IntRange(0, 9).Draw(t, "compare") == 0 {
		r.wantUnchanged(t, before)
	}
}

// wantUnchanged compares states but for what the end of the block did: nothing,
// if no timer was due.
func (r *random) wantUnchanged(t *rapid.T, before machine.Genesis) {
	after, err := r.market.Export()
	require.NoError(t, err)
	head, err := r.market.Client("observer").Head(t.Context())
	require.NoError(t, err)
	for _, o := range before.Orders {
		if o.State == market.OrderOpen && o.ExpiresAt != 0 && o.ExpiresAt <= head.Height {
			return
		}
	}
	for _, due := range dues(before) {
		if due != 0 && due <= head.Height {
			return
		}
	}
	require.Equal(t, before, after)
}

// dues are the heights at which accounts, leases and retainers are due.
func dues(g machine.Genesis) (out []int64) {
	for _, a := range g.Accounts {
		out = append(out, a.DueAt)
	}
	for _, r := range g.Retainers {
		out = append(out, r.DueAt)
	}
	for _, l := range g.Leases {
		out = append(out, l.EndsAt)
		if l.Scale != nil {
			out = append(out, l.Scale.ExpiresAt)
		}
	}
	return out
}

func drawOrder(t *rapid.T) market.OrderID {
	id := market.DeploymentID{Owner: rapid.SampledFrom(tenants()).Draw(t, "tenant"), DSeq: rapid.SampledFrom(dseqs()).Draw(t, "dseq")}
	group := market.GroupID{DeploymentID: id, GSeq: rapid.Uint32Range(1, 2).Draw(t, "gseq")}
	return market.OrderID{GroupID: group, OSeq: rapid.Uint32Range(1, 3).Draw(t, "oseq")}
}

func drawBid(t *rapid.T) market.BidID {
	return market.BidID{OrderID: drawOrder(t), Provider: rapid.SampledFrom(providers()).Draw(t, "provider")}
}

// openOrder draws one of the open orders, or any order.
func (r *random) openOrder(t *rapid.T) market.OrderID {
	open, _, err := r.market.Client("observer").Orders(t.Context(), market.OrderFilter{State: market.OrderOpen}, market.Page{})
	require.NoError(t, err)
	if len(open) == 0 {
		return drawOrder(t)
	}
	return rapid.SampledFrom(open).Draw(t, "order").ID
}

// liveBid draws one of the bids in a state, or any bid.
func (r *random) liveBid(t *rapid.T, state market.BidState) market.BidID {
	bids, _, err := r.market.Client("observer").Bids(t.Context(), market.BidFilter{State: state}, market.Page{})
	require.NoError(t, err)
	if len(bids) == 0 {
		return drawBid(t)
	}
	return rapid.SampledFrom(bids).Draw(t, "bid").ID
}

func drawDenom(t *rapid.T) string {
	return rapid.SampledFrom([]string{"uakt", "uakt", "uakt", "uact"}).Draw(t, "denom")
}

func drawSpec(t *rapid.T, name string) market.GroupSpec {
	ceiling := market.Price{Denom: drawDenom(t), AmountPerBlock: market.NewDecimal(200_000)}
	unit := market.ResourceUnit{
		Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 1}, Memory: market.Memory{Bytes: 1}}, Count: 1, Price: ceiling,
	}
	if rapid.Bool().Draw(t, "scalable") {
		unit.Count, unit.MinCount, unit.MaxCount = 2, 1, 4
	}
	notice := rapid.SampledFrom([]int64{0, 0, 0, 1, 3}).Draw(t, "notice")
	return market.GroupSpec{Name: name, Units: []market.ResourceUnit{unit}, ReclaimBlocks: notice}
}

func (r *random) create(t *rapid.T) {
	id := drawOrder(t).DeploymentID
	msg := market.CreateDeployment{ID: id, Hash: market.Hash{1}, Deposit: market.NewCoin(drawDenom(t), rapid.Uint64Range(499_999, 900_000).Draw(t, "deposit"))}
	for i := range rapid.IntRange(1, 2).Draw(t, "groups") {
		msg.Groups = append(msg.Groups, drawSpec(t, fmt.Sprint("g", i)))
	}
	r.submit(t, msg)
}

func (r *random) bid(t *rapid.T) {
	id := market.BidID{OrderID: r.openOrder(t), Provider: rapid.SampledFrom(providers()).Draw(t, "provider")}
	r.offer(t, id, rapid.SampledFrom([]string{"0.000000000000000001", "0.9", "333.333333333333333333", "70000", "123456.789", "200000"}).Draw(t, "price"))
}

// offer bids so much for a replica in the denomination of the order.
func (r *random) offer(t *rapid.T, id market.BidID, perBlock string) {
	d, err := market.ParseDecimal(perBlock)
	require.NoError(t, err)
	msg := market.CreateBid{
		ID: id, Price: market.Price{Denom: "uakt", AmountPerBlock: d}, Deposit: market.NewCoin("uakt", rapid.Uint64Range(499_999, 500_010).Draw(t, "deposit")),
	}
	if order, err := r.market.Client("observer").Order(t.Context(), id.OrderID); err == nil {
		msg.Units = []market.UnitPrice{{Unit: 1, AmountPerBlock: d}}
		msg.Price, err = order.Spec.PriceOf(order.Spec.Units[0].Price.Denom, msg.Units)
		require.NoError(t, err)
	}
	r.submit(t, msg)
}

// scale asks for other counts, mostly of a lease that may have them.
func (r *random) scale(t *rapid.T) {
	msg := market.ScaleLease{
		ID:     r.liveBid(t, market.BidWon).Lease(),
		Counts: []market.UnitCount{{Unit: 1, Count: rapid.Uint32Range(0, 5).Draw(t, "count")}},
	}
	if rapid.IntRange(0, 3).Draw(t, "with hash") == 0 {
		msg.Hash = market.Hash{rapid.Byte().Draw(t, "hash")}
	}
	if rapid.IntRange(0, 3).Draw(t, "bounded") == 0 {
		msg.MaxPrice = market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(150_000)}
	}
	r.submit(t, msg)
}

// answer confirms or declines one of the requests to scale, or misses it.
func (r *random) answer(t *rapid.T) {
	leases, _, err := r.market.Client("observer").Leases(t.Context(), market.LeaseFilter{State: market.LeaseActive}, market.Page{})
	require.NoError(t, err)
	for _, l := range leases {
		if l.Scale == nil {
			continue
		}
		switch rapid.IntRange(0, 5).Draw(t, "answer") {
		case 0:
			r.submit(t, market.DeclineScale{ID: l.ID, Number: l.Scale.Number})
		case 1:
			r.submit(t, market.ConfirmScale{ID: l.ID, Number: l.Scale.Number + 1})
		case 2: // all in one block
			r.submit(t, market.WithdrawLease{ID: l.ID}, market.ConfirmScale{ID: l.ID, Number: l.Scale.Number}, market.WithdrawLease{ID: l.ID})
		default:
			r.submit(t, market.ConfirmScale{ID: l.ID, Number: l.Scale.Number})
		}
		return
	}
}

// retain does something with a retainer. The names are prefixes of one another.
func (r *random) retain(t *rapid.T) {
	id := market.RetainerID{
		Owner: rapid.SampledFrom(tenants()).Draw(t, "owner"), Provider: rapid.SampledFrom(providers()[:2]).Draw(t, "keeper"),
		Kind: "address", Name: rapid.SampledFrom([]string{"w", "we", "web"}).Draw(t, "name"),
	}
	denom := drawDenom(t)
	amount := market.NewCoin(denom, rapid.Uint64Range(1, 700_000).Draw(t, "amount"))
	switch rapid.IntRange(0, 7).Draw(t, "retain") {
	case 0:
		r.submit(t, market.DepositRetainer{ID: id, Amount: amount})
	case 1:
		r.submit(t, market.WithdrawRetainer{ID: id}, market.WithdrawRetainer{ID: id})
	case 2:
		r.submit(t, market.CloseRetainer{ID: id, By: rapid.SampledFrom([]market.Address{id.Owner, id.Provider}).Draw(t, "by")})
	default:
		msg := market.OpenRetainer{ID: id, Price: market.Price{Denom: denom}, Deposit: market.NewCoin(denom, rapid.Uint64Range(499_999, 700_000).Draw(t, "deposit"))}
		var err error
		msg.Price.AmountPerBlock, err = market.ParseDecimal(rapid.SampledFrom([]string{"0.3", "333.333333333333333333", "77777.7", "300000"}).Draw(t, "price"))
		require.NoError(t, err)
		head, err := r.market.Client("observer").Head(t.Context())
		require.NoError(t, err)
		if rapid.Bool().Draw(t, "expires") {
			msg.ExpiresAt = head.Height + rapid.Int64Range(0, 12).Draw(t, "life")
		}
		r.submit(t, msg)
	}
}

func (r *random) accept(t *rapid.T) {
	r.submit(t, market.CreateLease{ID: r.liveBid(t, market.BidOpen)})
}

func (r *random) withdraw(t *rapid.T) {
	id := r.liveBid(t, market.BidWon).Lease()
	msgs := []market.Msg{market.WithdrawLease{ID: id}}
	if rapid.Bool().Draw(t, "twice") {
		msgs = append(msgs, msgs[0])
	}
	r.submit(t, msgs...)
}

func (r *random) end(t *rapid.T) {
	won := r.liveBid(t, market.BidWon)
	switch rapid.IntRange(0, 6).Draw(t, "end") {
	case 0:
		r.submit(t, market.CloseLease{ID: won.Lease()})
	case 1:
		r.submit(t, market.CloseBid{ID: won, Reason: market.ReasonUnstable})
	case 2:
		r.submit(t, market.CloseBid{ID: r.liveBid(t, market.BidOpen)})
	case 3:
		r.submit(t, market.PauseGroup{ID: won.GroupID})
	case 4:
		r.submit(t, market.CloseGroup{ID: won.GroupID})
	case 5:
		r.submit(t, market.CloseDeployment{ID: won.DeploymentID})
	case 6: // both groups in one block
		other := won.GroupID
		other.GSeq = 3 - other.GSeq
		r.submit(t, market.PauseGroup{ID: won.GroupID}, market.CloseGroup{ID: other})
	}
}

func (r *random) deposit(t *rapid.T) {
	id := r.liveBid(t, market.BidWon).DeploymentID
	from := rapid.SampledFrom(append(tenants(), id.Owner)).Draw(t, "depositor")
	r.submit(t, market.DepositDeployment{ID: id, Depositor: from, Amount: market.NewCoin(drawDenom(t), rapid.Uint64Range(1, 700_000).Draw(t, "amount"))})
}

func (r *random) registry(t *rapid.T) {
	p := rapid.SampledFrom(providers()).Draw(t, "provider")
	if rapid.Bool().Draw(t, "delete") {
		r.submit(t, market.DeleteProvider{Owner: p})
		return
	}
	r.submit(t, market.CreateProvider{Provider: market.Provider{Owner: p, HostURI: "https://p.example"}})
}

// check looks for broken invariants, and that no money came or went.
func (r *random) check(t *rapid.T) {
	require.NoError(t, r.market.Check())
	for _, denom := range []string{"uakt", "uact"} {
		sum := market.Coins{}
		var err error
		add := func(cs market.Coins) {
			sum, err = sum.Add(market.Coin{Denom: denom, Amount: cs.Of(denom)})
			require.NoError(t, err)
		}
		for _, a := range append(tenants(), providers()...) {
			cs, err := r.market.Client("observer").Balances(t.Context(), a)
			require.NoError(t, err)
			add(cs)
		}
		add(r.market.Pot())
		add(r.market.Fees())
		require.Equal(t, market.NewAmount(each*6), sum.Of(denom), "all %s", denom)
	}
}

func TestNoMoneyIsMadeOrLostWhateverIsDone(t *testing.T) {
	refusals, happened := map[string]int{}, map[market.EventKind]int{}
	rapid.Check(t, func(t *rapid.T) {
		r := newRandom(t, refusals, happened)
		start := func(t *rapid.T) { r.submit(t, market.StartGroup{ID: drawOrder(t).GroupID}) }
		advance := func(t *rapid.T) { require.NoError(t, r.market.Advance(rapid.IntRange(1, 5).Draw(t, "blocks"))) }
		t.Repeat(map[string]func(*rapid.T){
			"": r.check, "create": r.create, "create2": r.create, "bid": r.bid, "bid2": r.bid, "accept": r.accept, "accept2": r.accept,
			"withdraw": r.withdraw, "end": r.end, "deposit": r.deposit, "registry": r.registry, "start": start, "advance": advance,
			"scale": r.scale, "scale2": r.scale, "answer": r.answer, "answer2": r.answer, "retain": r.retain,
		})
		r.finish(t)
	})
	t.Logf("refusals by rule: %v", refusals)
	t.Logf("events: %v", happened)
}

// finish checks that an exported market goes on like the original, then closes
// everything and checks that nothing is left.
func (r *random) finish(t *rapid.T) {
	g, err := r.market.Export()
	require.NoError(t, err)
	r.roundTrip(t, g)
	head, err := r.market.Client("observer").Head(t.Context())
	require.NoError(t, err)
	for b, err := range r.market.Client("observer").Watch(t.Context(), 1) {
		require.NoError(t, err)
		for _, e := range b.Events {
			r.happened[e.Kind]++
		}
		if b.Height == head.Height {
			break
		}
	}
	for _, d := range g.Deployments {
		if d.State == market.DeploymentActive {
			r.submit(t, market.CloseDeployment{ID: d.ID})
		}
	}
	for _, v := range g.Retainers {
		r.submit(t, market.CloseRetainer{ID: v.ID, By: v.ID.Owner})
	}
	r.check(t)
	require.Empty(t, r.market.Pot(), "all is closed")
	g, err = r.market.Export()
	require.NoError(t, err)
	for _, d := range g.Deployments {
		require.Equal(t, market.DeploymentClosed, d.State)
	}
}

// roundTrip imports an export and compares.
func (r *random) roundTrip(t *rapid.T, g machine.Genesis) {
	p, err := r.market.Client("observer").Params(t.Context())
	require.NoError(t, err)
	again, err := memmarket.New(memmarket.Config{Params: p, Genesis: g})
	require.NoError(t, err)
	same, err := again.Export()
	require.NoError(t, err)
	require.Equal(t, g, same)
	require.Equal(t, r.market.Pot(), again.Pot())
	require.NoError(t, again.Check())
}

var errBank = errors.New("the bank is closed")

// brokenBank refuses to pay anybody.
type brokenBank struct{ machine.Bank }

func (brokenBank) Give(market.Address, market.Coin) error { return errBank }

func TestAFailureOfTheBankIsNoRefusal(t *testing.T) {
	var hook *machine.Machine
	m, err := memmarket.New(memmarket.Config{
		BlockPerSubmit: true,
		Balances:       map[market.Address]market.Coins{"tenant": {market.NewCoin("uakt", each)}},
		Machine: func(m *machine.Machine) {
			hook = m
			m.Bank = brokenBank{m.Bank}
		},
	})
	require.NoError(t, err)
	c := m.Client("tenant")
	id := market.DeploymentID{Owner: "tenant", DSeq: 1}
	spec := market.GroupSpec{Name: "g", Units: []market.ResourceUnit{{
		Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 1}, Memory: market.Memory{Bytes: 1}},
		Count:     1, Price: market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(1)},
	}}}
	_, err = c.Submit(t.Context(), market.CreateDeployment{ID: id, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 500_000), Groups: []market.GroupSpec{spec}})
	require.NoError(t, err)
	_, err = c.Submit(t.Context(), market.CloseDeployment{ID: id})
	require.ErrorIs(t, err, errBank)
	var re *market.RuleError
	require.False(t, errors.As(err, &re))
	require.NoError(t, m.Check(), "the failed message left nothing behind")
	d, err := hook.Deployments.Get(id)
	require.NoError(t, err)
	require.Equal(t, market.DeploymentActive, d.State)
}
