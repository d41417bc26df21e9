package lease

import "github.com/moorage-dev/moorage/market"

// Retained is a retainer being settled: a [Book] with one depositor and one
// payment. Its methods change it in place; after an error it is to be thrown
// away. Heights must not go back. Not safe for concurrent use.
type Retained struct {
	r    market.Retainer
	book *Book
}

// OpenRetainer returns a new retainer with its first deposit.
func OpenRetainer(height int64, msg market.OpenRetainer) (*Retained, error) {
	r := LoadRetainer(market.Retainer{
		ID: msg.ID, State: market.RetainerOpen, Price: msg.Price, CreatedAt: height, SettledAt: height, ExpiresAt: msg.ExpiresAt,
	})
	return r, r.Deposit(height, msg.Deposit)
}

// LoadRetainer returns a retainer as stored, to be settled.
func LoadRetainer(r market.Retainer) *Retained {
	a := market.Account{State: market.AccountOpen, SettledAt: r.SettledAt}
	a.ID.Owner = r.ID.Owner
	if !r.Funds.IsZero() {
		a.Deposits = []market.Deposit{{Depositor: r.ID.Owner, Balance: market.Coin{Denom: r.Price.Denom, Amount: r.Funds}}}
	}
	p := market.Payment{
		ID: paymentID(r.ID), State: market.AccountOpen, Price: r.Price, Balance: r.Balance, Fraction: r.Fraction,
		Withdrawn: r.Withdrawn, FeeCarry: r.FeeCarry, Unpaid: r.Unpaid,
	}
	return &Retained{r, &Book{a, []market.Payment{p}}}
}

func paymentID(id market.RetainerID) (out market.LeaseID) {
	out.Owner, out.Provider = id.Owner, id.Provider
	return out
}

// Retainer returns the retainer as it is to be stored.
func (r *Retained) Retainer() market.Retainer {
	out := r.r
	out.SettledAt = r.book.Account.SettledAt
	out.Funds = r.book.funds(out.Price.Denom)
	if len(r.book.Payments) > 0 {
		r.copyPayment(&out, r.book.Payments[0])
	}
	out.DueAt = 0
	if !out.State.Terminal() {
		out.DueAt = r.dueAt()
	}
	return out
}

func (*Retained) copyPayment(out *market.Retainer, p market.Payment) {
	out.Balance, out.Fraction, out.Withdrawn, out.FeeCarry, out.Unpaid = p.Balance, p.Fraction, p.Withdrawn, p.FeeCarry, p.Unpaid
}

// dueAt returns when it ends by itself: at once if it has run dry.
func (r *Retained) dueAt() int64 {
	if !r.book.Payments[0].Unpaid.IsZero() {
		return r.book.Account.SettledAt
	}
	due := r.book.RunsOutAt()
	if at := r.r.ExpiresAt; at != 0 && (due == 0 || at < due) {
		due = at
	}
	return due
}

// Settle moves what has fallen due up to a height, at most up to where the
// retainer expires, from the owner's deposits to the provider. Settling twice at
// a height changes nothing the second time. A closed retainer is
// [market.ErrState].
func (r *Retained) Settle(height int64) error {
	if r.r.State.Terminal() {
		return market.Refuse(market.ErrState, "retainer-closed", "retainer %s is closed", r.r.ID)
	}
	if at := r.r.ExpiresAt; at != 0 && height > at {
		height = at
	}
	return r.book.Settle(height)
}

// Over reports why a settled retainer has to end at a height, and whether it
// has to: it has run dry, or it has expired.
func (r *Retained) Over(height int64) (market.CloseReason, bool) {
	switch at := r.r.ExpiresAt; {
	case !r.book.Payments[0].Unpaid.IsZero():
		return market.ReasonInsufficientFunds, true
	case at != 0 && height >= at:
		return market.ReasonExpired, true
	}
	return market.ReasonNone, false
}

// Deposit settles and adds the owner's money. Another denomination than the
// price's, or nothing, is [market.ErrInvalid]; a retainer that is closed or has
// expired [market.ErrState].
func (r *Retained) Deposit(height int64, c market.Coin) error {
	if c.Denom != r.r.Price.Denom {
		return market.Refuse(market.ErrInvalid, "retainer-denom", "a deposit of %s for a retainer at %s", c, r.r.Price)
	}
	if at := r.r.ExpiresAt; at != 0 && height >= at && !r.r.State.Terminal() {
		return market.Refuse(market.ErrState, "retainer-expired", "retainer %s expires at %d, it is %d", r.r.ID, at, height)
	}
	if err := r.Settle(height); err != nil {
		return err
	}
	return r.book.Deposit(height, r.r.ID.Owner, c)
}

// Withdraw settles and takes out all that the provider has earned; see
// [Book.Withdraw].
func (r *Retained) Withdraw(height int64, feePerMyriad uint32) (Payout, error) {
	if err := r.Settle(height); err != nil {
		return Payout{}, err
	}
	return payOut(&r.book.Payments[0], feePerMyriad)
}

// Close settles and ends the retainer. It returns what the provider gets and
// what goes back to the owner.
func (r *Retained) Close(height int64, reason market.CloseReason, feePerMyriad uint32) (Payout, market.Coin, error) {
	out, err := r.Withdraw(height, feePerMyriad)
	if err != nil {
		return Payout{}, market.Coin{}, err
	}
	r.copyPayment(&r.r, r.book.Payments[0])
	refund := market.Coin{Denom: r.r.Price.Denom, Amount: r.book.funds(r.r.Price.Denom)}
	r.book.Payments, r.book.Account.Deposits = nil, nil
	r.r.State, r.r.ClosedAt, r.r.Reason = market.RetainerClosed, height, reason
	return out, refund, nil
}
