package lease

import (
	"iter"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// Settle moves what has fallen due up to a height from the deposits to the
// payments. Settling twice at a height changes nothing the second time. A
// height before the last settlement is [market.ErrInvalid], a closed account
// [market.ErrState].
func (b *Book) Settle(height int64) error {
	a := &b.Account
	switch {
	case a.State.Terminal():
		return market.Refuse(market.ErrState, "account-closed", "account %s is closed", a.ID)
	case height < a.SettledAt:
		return market.Refuse(market.ErrInvalid, "height-back", "account %s is settled up to %d, after %d", a.ID, a.SettledAt, height)
	case height == a.SettledAt:
		return nil
	}
	for a.SettledAt < height {
		to := b.nextEnd(height)
		for denom, ps := range b.byDenom() {
			if err := b.settle(denom, ps, uint64(to-a.SettledAt)); err != nil {
				return err
			}
		}
		a.SettledAt = to
	}
	b.refresh()
	return nil
}

// nextEnd returns the first height after the last settlement, at most a height,
// at which a payment ends because of a notice.
func (b *Book) nextEnd(height int64) int64 {
	for _, p := range b.Payments {
		if !p.State.Terminal() && p.EndsAt > b.Account.SettledAt && p.EndsAt < height {
			height = p.EndsAt
		}
	}
	return height
}

// runs reports whether a payment goes on falling due after the last settlement.
func (b *Book) runs(p market.Payment) bool {
	return !p.State.Terminal() && (p.EndsAt == 0 || p.EndsAt > b.Account.SettledAt)
}

// byDenom yields the payments of each denomination that go on falling due, sorted
// by denomination. The pointers lead into the book.
func (b *Book) byDenom() iter.Seq2[string, []*market.Payment] {
	return func(yield func(string, []*market.Payment) bool) {
		var denoms []string
		for i := range b.Payments {
			if d := b.Payments[i].Price.Denom; b.runs(b.Payments[i]) && !slices.Contains(denoms, d) {
				denoms = append(denoms, d)
			}
		}
		slices.Sort(denoms)
		for _, d := range denoms {
			ps := make([]*market.Payment, 0, len(b.Payments))
			for i := range b.Payments {
				if b.Payments[i].Price.Denom == d && b.runs(b.Payments[i]) {
					ps = append(ps, &b.Payments[i])
				}
			}
			if !yield(d, ps) {
				return
			}
		}
	}
}

// settle brings the payments of one denomination n blocks on: as many blocks as
// the funds cover, then the block in which they fall short, then debt.
func (b *Book) settle(denom string, ps []*market.Payment, n uint64) error {
	at := b.Account.SettledAt
	funds := b.funds(denom)
	if !funds.IsZero() {
		paid := paidBlocks(ps, funds, n)
		if err := b.pay(denom, ps, paid); err != nil || paid == n {
			return err
		}
		n, at = n-paid-1, at+int64(paid)+1
		if err := b.fallShort(denom, ps, at); err != nil {
			return err
		}
	}
	for _, p := range ps {
		if err := owe(p, at, n); err != nil {
			return err
		}
	}
	return nil
}

// pay moves what falls due in n blocks, which the funds cover.
func (b *Book) pay(denom string, ps []*market.Payment, n uint64) error {
	var total market.Amount
	for _, p := range ps {
		whole, rest, err := p.Price.AmountPerBlock.Accrue(p.Fraction, n)
		if err != nil {
			return err
		}
		if p.Balance, err = p.Balance.Add(whole); err != nil {
			return err
		}
		if total, err = total.Add(whole); err != nil {
			return err
		}
		p.Fraction = rest
	}
	return b.take(market.Coin{Denom: denom, Amount: total})
}

// fallShort shares what is left of the funds over what falls due in the one
// block at a height that they do not cover. The rest is owed.
func (b *Book) fallShort(denom string, ps []*market.Payment, height int64) error {
	for _, p := range ps {
		if err := owe(p, height-1, 1); err != nil {
			return err
		}
	}
	return b.payDebt(denom)
}

// owe adds n blocks after a height to what a payment is owed.
func owe(p *market.Payment, after int64, n uint64) error {
	if n == 0 {
		return nil
	}
	whole, rest, err := p.Price.AmountPerBlock.Accrue(p.Fraction, n)
	if err != nil {
		return err
	}
	if p.Unpaid.IsZero() && !whole.IsZero() {
		p.OverdrawnAt = after + 1 + int64(paidBlocks([]*market.Payment{p}, market.Amount{}, n))
	}
	p.Fraction = rest
	p.Unpaid, err = p.Unpaid.Add(whole)
	return err
}

// payDebt uses the funds of a denomination for what is unpaid in it, all of it
// or in proportion.
func (b *Book) payDebt(denom string) error {
	var debtors []*market.Payment
	var debts []market.Amount
	var total market.Amount
	var err error
	for i := range b.Payments {
		p := &b.Payments[i]
		if p.Price.Denom != denom || p.Unpaid.IsZero() {
			continue
		}
		debtors, debts = append(debtors, p), append(debts, p.Unpaid)
		if total, err = total.Add(p.Unpaid); err != nil {
			return err
		}
	}
	if total.IsZero() {
		return nil
	}
	paid := total
	if funds := b.funds(denom); funds.Cmp(total) < 0 {
		paid, debts = funds, share(funds, debts, total)
	}
	for i, p := range debtors {
		if p.Unpaid, err = p.Unpaid.Sub(debts[i]); err != nil {
			return err
		}
		if p.Balance, err = p.Balance.Add(debts[i]); err != nil {
			return err
		}
	}
	return b.take(market.Coin{Denom: denom, Amount: paid})
}

// take spends deposits, first in, first out. Empty ones go.
func (b *Book) take(c market.Coin) error {
	if c.Amount.IsZero() {
		return nil
	}
	left := c.Amount
	var kept []market.Deposit
	for _, d := range b.Account.Deposits {
		if d.Balance.Denom == c.Denom {
			part := least(left, d.Balance.Amount)
			left, _ = left.Sub(part)                         // part is at most left
			d.Balance.Amount, _ = d.Balance.Amount.Sub(part) // and at most the balance
		}
		if !d.Balance.Amount.IsZero() {
			kept = append(kept, d)
		}
	}
	if !left.IsZero() {
		return market.Refuse(market.ErrInsufficientFunds, "account-short", "account %s lacks %s of %s", b.Account.ID, left, c)
	}
	b.Account.Deposits = kept
	var err error
	b.Account.Transferred, err = b.Account.Transferred.Add(c)
	return err
}

func least(a, b market.Amount) market.Amount {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}
