package lease

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// Book is an escrow account with its payments that are not closed, and with the
// closed ones that are still owed something. Its methods change it in place; after an error it is to be thrown away. The slices a Book
// was made with are never written to, so that what was loaded from storage may
// be shared. Heights must not go back. Not safe for concurrent use.
type Book struct {
	Account market.Account
	// Payments are sorted by the binary key of their IDs.
	Payments []market.Payment
}

// Open returns the book of a new account, without money.
func Open(id market.DeploymentID, height int64) *Book {
	return &Book{Account: market.Account{ID: id, State: market.AccountOpen, SettledAt: height}}
}

// Load returns the book of an account as stored, with its payments that are not
// closed and those that are closed and owed something, in any order.
func Load(a market.Account, payments []market.Payment) *Book {
	b := &Book{Account: a, Payments: slices.Clone(payments)}
	slices.SortFunc(b.Payments, func(x, y market.Payment) int { return compareIDs(x.ID, y.ID) })
	return b
}

// Deposit settles, adds money from a depositor, and pays unpaid dues of that
// denomination as far as it goes, those of closed payments too: see
// [Book.Redeem]. A deposit of nothing is [market.ErrInvalid], one
// into a closed account [market.ErrState], one too many of others than the tenant
// [market.ErrLimit].
func (b *Book) Deposit(height int64, from market.Address, c market.Coin) error {
	if c.Amount.IsZero() {
		return market.Refuse(market.ErrInvalid, "deposit-zero", "a deposit of %s", c)
	}
	if err := b.Settle(height); err != nil {
		return err
	}
	if err := b.addDeposit(market.Deposit{Depositor: from, Height: height, Balance: c}); err != nil {
		return err
	}
	if err := b.payDebt(c.Denom); err != nil {
		return err
	}
	b.refresh()
	return nil
}

// addDeposit puts a deposit behind all others. One that follows another of the
// same depositor, with none of that denomination between, is added to it: then
// the tenant has at most one deposit more than others have, so that those bound all.
func (b *Book) addDeposit(d market.Deposit) error {
	deposits := slices.Clone(b.Account.Deposits)
	last := len(deposits) - 1
	for last >= 0 && deposits[last].Balance.Denom != d.Balance.Denom {
		last--
	}
	if last >= 0 && deposits[last].Depositor == d.Depositor {
		sum, err := deposits[last].Balance.Amount.Add(d.Balance.Amount)
		deposits[last].Balance.Amount = sum
		b.Account.Deposits = deposits
		return err
	}
	if n := b.strangers(); d.Depositor != b.Account.ID.Owner && n >= market.MaxDepositors {
		return market.Refuse(market.ErrLimit, "account-depositors", "account %s holds %d deposits of others than its tenant", b.Account.ID, n)
	}
	b.Account.Deposits = append(deposits, d)
	return nil
}

// strangers counts the deposits of others than the tenant.
func (b *Book) strangers() (n int) {
	for _, d := range b.Account.Deposits {
		if d.Depositor != b.Account.ID.Owner {
			n++
		}
	}
	return n
}

// Start settles and adds a payment that runs from this height on. A price of
// zero is [market.ErrInvalid], a payment that is there already
// [market.ErrExists], an overdrawn or closed account [market.ErrState].
func (b *Book) Start(height int64, id market.LeaseID, price market.Price) error {
	if price.AmountPerBlock.IsZero() {
		return market.Refuse(market.ErrInvalid, "payment-price-zero", "lease %s at %s", id, price)
	}
	if err := b.Settle(height); err != nil {
		return err
	}
	if b.Account.State != market.AccountOpen {
		return market.Refuse(market.ErrState, "account-overdrawn", "account %s is %s", b.Account.ID, b.Account.State)
	}
	i, found := b.find(id)
	if found {
		return fmt.Errorf("lease: payment %s: %w", id, market.ErrExists)
	}
	b.Payments = slices.Insert(b.Payments, i, market.Payment{ID: id, State: market.AccountOpen, Price: price})
	return nil
}

// Reprice settles and changes what a payment costs from this height on. The
// fraction of a unit that the old price has earned is carried on. A price of
// zero or in another denomination is [market.ErrInvalid], an unknown or closed
// payment [market.ErrNotFound].
func (b *Book) Reprice(height int64, id market.LeaseID, price market.Price) error {
	if err := b.Settle(height); err != nil {
		return err
	}
	p, err := b.open(id)
	if err != nil {
		return err
	}
	if price.AmountPerBlock.IsZero() || price.Denom != p.Price.Denom {
		return market.Refuse(market.ErrInvalid, "payment-price", "lease %s at %s, it was %s", id, price, p.Price)
	}
	p.Price = price
	return nil
}

// EndAt has a payment fall due no longer than up to a height, which lies ahead.
// Looking late does not make it dearer. An unknown or closed payment is
// [market.ErrNotFound].
func (b *Book) EndAt(id market.LeaseID, height int64) error {
	p, err := b.open(id)
	if err != nil {
		return err
	}
	if height <= b.Account.SettledAt {
		return market.Refuse(market.ErrInvalid, "height-back", "lease %s is paid up to %d, after %d", id, b.Account.SettledAt, height)
	}
	p.EndsAt = height
	return nil
}

// Payout is money that leaves a payment.
type Payout struct {
	// Provider receives Net; Net plus Fee is what the payment had earned.
	Provider market.Address
	Net, Fee market.Coin
}

// Withdraw settles and takes out all that a payment has earned. feePerMyriad is
// the market's part, in hundredths of a percent, 0 to 10000; parts of a unit of
// it are carried on, so that many small withdrawals cost the same as one.
// Twice in a block takes out nothing the second time. An unknown or closed
// payment is [market.ErrNotFound].
func (b *Book) Withdraw(height int64, id market.LeaseID, feePerMyriad uint32) (Payout, error) {
	if err := b.Settle(height); err != nil {
		return Payout{}, err
	}
	p, err := b.open(id)
	if err != nil {
		return Payout{}, err
	}
	return payOut(p, feePerMyriad)
}

// Stop settles, ends a payment and takes out all that it has earned. From then
// on it costs nothing. The closed payment leaves the book, unless something of it
// is unpaid: then it stays, and the account is overdrawn until deposits have paid
// that. Errors are those of [Book.Withdraw].
func (b *Book) Stop(height int64, id market.LeaseID, feePerMyriad uint32) (market.Payment, Payout, error) {
	out, err := b.Withdraw(height, id, feePerMyriad)
	if err != nil {
		return market.Payment{}, Payout{}, err
	}
	i, _ := b.find(id)
	p := b.Payments[i]
	p.State = market.AccountClosed
	b.Payments[i] = p
	if p.Unpaid.IsZero() {
		b.Payments = slices.Delete(b.Payments, i, i+1)
	}
	b.refresh()
	return p, out, nil
}

// Redeemed is a closed payment that deposits have paid something of its debt.
type Redeemed struct {
	Payment market.Payment
	Payout  Payout
}

// Redeem takes out what deposits have paid of the debts of closed payments. Those
// that are owed nothing any more leave the book. feePerMyriad is as for
// [Book.Withdraw]. It is to be called after a deposit: a closed payment has nobody
// who would withdraw.
func (b *Book) Redeem(feePerMyriad uint32) ([]Redeemed, error) {
	var out []Redeemed
	for i := range b.Payments {
		p := &b.Payments[i]
		if !p.State.Terminal() || p.Balance.IsZero() {
			continue
		}
		paid, err := payOut(p, feePerMyriad)
		if err != nil {
			return nil, err
		}
		out = append(out, Redeemed{*p, paid})
	}
	b.Payments = slices.DeleteFunc(b.Payments, func(p market.Payment) bool { return p.State.Terminal() && p.Unpaid.IsZero() })
	return out, nil
}

// Close ends the account and returns the deposits with what is left of each, to
// be given back. All payments must have been stopped: [market.ErrState]. What is
// unpaid of them then will not be paid.
func (b *Book) Close(height int64) ([]market.Deposit, error) {
	if err := b.Settle(height); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(b.Payments, func(p market.Payment) bool { return !p.State.Terminal() }); i >= 0 {
		return nil, market.Refuse(market.ErrState, "account-has-payments", "account %s has an open payment, %s", b.Account.ID, b.Payments[i].ID)
	}
	refunds := b.Account.Deposits
	b.Payments, b.Account.Deposits = nil, nil
	b.Account.State, b.Account.OverdrawnAt, b.Account.DueAt = market.AccountClosed, 0, 0
	return refunds, nil
}

// RunsOutAt returns the first height at which something will fall due that the
// funds do not cover, if nothing changes; 0 when no such height fits an int64.
// The book must be settled. Payments that are overdrawn already do not count. One
// that ends before counts on: then the height is too low, and to be asked for again
// when the payment is stopped or the height is there.
func (b *Book) RunsOutAt() int64 {
	var first int64
	for denom, ps := range b.byDenom() {
		ps = slices.DeleteFunc(ps, func(p *market.Payment) bool { return !p.Unpaid.IsZero() })
		if len(ps) == 0 {
			continue
		}
		limit := uint64(math.MaxInt64 - 1 - b.Account.SettledAt)
		m := paidBlocks(ps, b.funds(denom), limit)
		if at := b.Account.SettledAt + 1 + int64(m); m < limit && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

// open returns a payment that is not closed. The pointer leads into the book.
func (b *Book) open(id market.LeaseID) (*market.Payment, error) {
	i, found := b.find(id)
	if !found || b.Payments[i].State.Terminal() {
		return nil, fmt.Errorf("lease: payment %s: %w", id, market.ErrNotFound)
	}
	return &b.Payments[i], nil
}

// find returns where a payment is, or would be.
func (b *Book) find(id market.LeaseID) (int, bool) {
	return slices.BinarySearchFunc(b.Payments, id, func(p market.Payment, id market.LeaseID) int {
		return compareIDs(p.ID, id)
	})
}

// compareIDs orders as the binary keys do.
func compareIDs(a, b market.LeaseID) int {
	return cmp.Or(
		cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.DSeq, b.DSeq), cmp.Compare(a.GSeq, b.GSeq),
		cmp.Compare(a.OSeq, b.OSeq), cmp.Compare(a.Provider, b.Provider),
	)
}

// funds sums what the deposits hold of a denomination. The sum fits: the money
// exists.
func (b *Book) funds(denom string) market.Amount {
	var sum market.Amount
	for _, d := range b.Account.Deposits {
		if d.Balance.Denom == denom {
			if next, err := sum.Add(d.Balance.Amount); err == nil {
				sum = next
			}
		}
	}
	return sum
}

// GraceFrom returns the height at which the first of the payments that are not
// closed was overdrawn, 0 when none is: from there the grace is counted.
func (b *Book) GraceFrom() int64 {
	var first int64
	for _, p := range b.Payments {
		if at := p.OverdrawnAt; at != 0 && !p.State.Terminal() && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

// refresh derives the account's state from what is unpaid of its payments.
func (b *Book) refresh() {
	a := &b.Account
	a.State, a.OverdrawnAt = market.AccountOpen, 0
	for i := range b.Payments {
		p := &b.Payments[i]
		state := market.AccountOverdrawn
		if p.Unpaid.IsZero() {
			state, p.OverdrawnAt = market.AccountOpen, 0
		}
		if !p.State.Terminal() {
			p.State = state
		}
		if state == market.AccountOpen {
			continue
		}
		a.State = state
		if a.OverdrawnAt == 0 || p.OverdrawnAt < a.OverdrawnAt {
			a.OverdrawnAt = p.OverdrawnAt
		}
	}
}
