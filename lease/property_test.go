package lease_test

import (
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

// pair is one account kept twice: lazily, settled only by what is done to it,
// and eagerly, settled in every block. Whatever is done, both must agree.
type pair struct {
	lazy, eager *lease.Book
	height      int64
	next        uint32
	in          map[string]*big.Int         // deposited
	out         map[string]*big.Int         // withdrawn and refunded
	due         map[market.LeaseID]*big.Int // price × blocks so far, with 18 decimals
	clean       map[market.LeaseID]bool     // never overdrawn
	earned      map[market.LeaseID]*big.Int
	stopped     map[market.LeaseID]bool
}

func newPair() *pair {
	zero := func() map[string]*big.Int { return map[string]*big.Int{"uakt": new(big.Int), "uact": new(big.Int)} }
	return &pair{
		lazy: lease.Open(deployment(12), 0), eager: lease.Open(deployment(12), 0), next: 1,
		in: zero(), out: zero(),
		due: map[market.LeaseID]*big.Int{}, clean: map[market.LeaseID]bool{}, earned: map[market.LeaseID]*big.Int{},
		stopped: map[market.LeaseID]bool{},
	}
}

func genDenom() *rapid.Generator[string] { return rapid.SampledFrom([]string{"uakt", "uact"}) }

// genPrice draws prices that are tiny, fractional, whole and large.
func genPrice() *rapid.Generator[market.Decimal] {
	return rapid.Custom(func(t *rapid.T) market.Decimal {
		most := rapid.SampledFrom([]uint64{10, 1e9, 1e18, 5e18, 1.7e19}).Draw(t, "scale")
		raw := new(big.Int).SetUint64(rapid.Uint64Range(1, most).Draw(t, "raw"))
		d, _ := market.DecimalFromRaw(raw)
		return d
	})
}

func (p *pair) advance(t *rapid.T) {
	for range rapid.IntRange(1, 40).Draw(t, "blocks") {
		p.height++
		require.NoError(t, p.eager.Settle(p.height))
		for _, pay := range p.eager.Payments {
			if p.stopped[pay.ID] {
				continue
			}
			p.clean[pay.ID] = p.clean[pay.ID] && pay.Unpaid.IsZero()
			p.due[pay.ID].Add(p.due[pay.ID], pay.Price.AmountPerBlock.Raw())
		}
	}
}

func (p *pair) settle(t *rapid.T) { require.NoError(t, p.lazy.Settle(p.height)) }

func (p *pair) deposit(t *rapid.T) {
	from := rapid.SampledFrom([]market.Address{"tenant", "friend", "other"}).Draw(t, "from")
	c := market.NewCoin(genDenom().Draw(t, "denom"), rapid.Uint64Range(1, 300).Draw(t, "amount"))
	// A refused Deposit may leave a book half settled: try on copies.
	lazy, eager := copyOf(p.lazy), copyOf(p.eager)
	refused, alike := lazy.Deposit(p.height, from, c), eager.Deposit(p.height, from, c)
	require.Equal(t, refused, alike)
	if refused != nil {
		require.ErrorIs(t, refused, market.ErrLimit)
		return
	}
	p.lazy, p.eager = lazy, eager
	p.in[c.Denom].Add(p.in[c.Denom], c.Amount.Big())
	paid, err := p.lazy.Redeem(333)
	require.NoError(t, err)
	same, err := p.eager.Redeem(333)
	require.NoError(t, err)
	require.Equal(t, same, paid)
	for _, r := range paid {
		p.paid(r.Payment.ID, r.Payout)
		p.wantAllDue(t, r.Payment)
	}
}

// wantAllDue checks that a stopped payment has been paid, or is owed, all that
// fell due while it ran.
func (p *pair) wantAllDue(t *rapid.T, pay market.Payment) {
	due := new(big.Int).Quo(p.due[pay.ID], market.NewDecimal(1).Raw())
	have := new(big.Int).Add(p.earned[pay.ID], pay.Unpaid.Big())
	require.Equal(t, due.String(), have.String(), "what %s got and is owed", pay.ID)
}

func (p *pair) start(t *rapid.T) {
	id := leaseID(p.next)
	price := market.Price{Denom: genDenom().Draw(t, "denom"), AmountPerBlock: genPrice().Draw(t, "price")}
	// A refused Start may leave a book half settled: try on copies.
	lazy, eager := copyOf(p.lazy), copyOf(p.eager)
	err, same := lazy.Start(p.height, id, price), eager.Start(p.height, id, price)
	require.Equal(t, err, same)
	if err != nil {
		require.ErrorIs(t, err, market.ErrState)
		return
	}
	p.lazy, p.eager = lazy, eager
	p.next++
	p.due[id], p.clean[id], p.earned[id] = new(big.Int), true, new(big.Int)
}

// reprice changes what a payment costs from here on.
func (p *pair) reprice(t *rapid.T) {
	pay, ok := p.pick(t)
	if !ok {
		return
	}
	next := market.Price{Denom: pay.Price.Denom, AmountPerBlock: genPrice().Draw(t, "price")}
	require.NoError(t, p.lazy.Reprice(p.height, pay.ID, next))
	require.NoError(t, p.eager.Reprice(p.height, pay.ID, next))
}

func copyOf(b *lease.Book) *lease.Book { return lease.Load(b.Account.Clone(), b.Payments) }

// pick draws one of the open payments, or none.
func (p *pair) pick(t *rapid.T) (market.Payment, bool) {
	open := slices.DeleteFunc(slices.Clone(p.lazy.Payments), func(pay market.Payment) bool { return pay.State.Terminal() })
	if len(open) == 0 {
		return market.Payment{}, false
	}
	return rapid.SampledFrom(open).Draw(t, "payment"), true
}

func (p *pair) withdraw(t *rapid.T) {
	pay, ok := p.pick(t)
	if !ok {
		return
	}
	out, err := p.lazy.Withdraw(p.height, pay.ID, 333)
	require.NoError(t, err)
	same, err := p.eager.Withdraw(p.height, pay.ID, 333)
	require.NoError(t, err)
	require.Equal(t, same, out)
	p.paid(pay.ID, out)
}

func (p *pair) stop(t *rapid.T) {
	pay, ok := p.pick(t)
	if !ok {
		return
	}
	closed, out, err := p.lazy.Stop(p.height, pay.ID, 333)
	require.NoError(t, err)
	closedSame, same, err := p.eager.Stop(p.height, pay.ID, 333)
	require.NoError(t, err)
	require.Equal(t, same, out)
	require.Equal(t, closedSame, closed)
	p.paid(pay.ID, out)
	p.stopped[pay.ID] = true
	p.wantAllDue(t, closed)
	if !p.clean[pay.ID] {
		return
	}
	due := new(big.Int).Quo(p.due[pay.ID], market.NewDecimal(1).Raw())
	require.Equal(t, due.String(), p.earned[pay.ID].String(), "a lease that was never overdrawn pays the whole part of price × blocks, of each price")
}

func (p *pair) paid(id market.LeaseID, out lease.Payout) {
	sum := new(big.Int).Add(out.Net.Amount.Big(), out.Fee.Amount.Big())
	p.out[out.Net.Denom].Add(p.out[out.Net.Denom], sum)
	p.earned[id].Add(p.earned[id], sum)
}

// check settles a copy of the lazy book and compares: nothing is created or
// lost, and it does not matter when one looks.
func (p *pair) check(t *rapid.T) {
	lazy := copyOf(p.lazy)
	require.NoError(t, lazy.Settle(p.height))
	require.Equal(t, p.eager.Account, lazy.Account)
	require.Equal(t, p.eager.Payments, lazy.Payments)
	held := map[string]*big.Int{"uakt": new(big.Int), "uact": new(big.Int)}
	for _, d := range lazy.Account.Deposits {
		held[d.Balance.Denom].Add(held[d.Balance.Denom], d.Balance.Amount.Big())
	}
	for _, pay := range lazy.Payments {
		held[pay.Price.Denom].Add(held[pay.Price.Denom], pay.Balance.Big())
		require.Equal(t, p.stopped[pay.ID], pay.State.Terminal())
		require.Equal(t, pay.State == market.AccountOverdrawn || pay.State.Terminal(), !pay.Unpaid.IsZero())
		require.Negative(t, pay.Fraction.Cmp(market.NewDecimal(1)))
	}
	for denom := range held {
		want := new(big.Int).Sub(p.in[denom], p.out[denom])
		require.Equal(t, want.String(), held[denom].String(), "of %s", denom)
	}
	p.checkRunsOut(t, lazy)
}

// checkRunsOut settles copies one block before and at the height foretold.
func (p *pair) checkRunsOut(t *rapid.T, b *lease.Book) {
	overdrawn := func(b *lease.Book) (n int) {
		for _, pay := range b.Payments {
			if !pay.Unpaid.IsZero() {
				n++
			}
		}
		return n
	}
	at := b.RunsOutAt()
	if at == 0 {
		return
	}
	require.Greater(t, at, p.height)
	before, then := copyOf(b), copyOf(b)
	require.NoError(t, before.Settle(at-1))
	require.NoError(t, then.Settle(at))
	require.Equal(t, overdrawn(b), overdrawn(before), "one block before %d", at)
	require.Greater(t, overdrawn(then), overdrawn(b), "at %d", at)
}

func TestMoneyIsConservedAndDoesNotDependOnWhenOneLooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair()
		t.Repeat(map[string]func(*rapid.T){
			"":         p.check,
			"advance":  p.advance,
			"settle":   p.settle,
			"deposit":  p.deposit,
			"start":    p.start,
			"withdraw": p.withdraw,
			"stop":     p.stop,
			"reprice":  p.reprice,
		})
	})
}
