package machine

import (
	"fmt"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

// book is an account with its open and owed payments, as loaded.
type book struct {
	*lease.Book
	// dueAt is the height of the timer it was stored with.
	dueAt     int64
	overdrawn bool
}

// book loads an account with its payments that are open or owed something. Only
// an overdrawn account can have closed ones that are.
func (m *Machine) book(id market.DeploymentID) (*book, error) {
	a, err := m.Accounts.Get(id)
	if err != nil {
		return nil, fmt.Errorf("machine: account %s: %w", id, err)
	}
	refs, err := collect(m.Refs.Scan(refPrefix(RefOpenPayment, id), nil))
	if err != nil {
		return nil, err
	}
	if a.State == market.AccountOverdrawn {
		owed, err := collect(m.Refs.Scan(refPrefix(RefOwedPayment, id), nil))
		if err != nil {
			return nil, err
		}
		refs = append(refs, owed...)
	}
	payments := make([]market.Payment, len(refs))
	for i, r := range refs {
		if payments[i], err = m.Payments.Get(r.ID); err != nil {
			return nil, fmt.Errorf("machine: payment %s: %w", r.ID, err)
		}
	}
	return &book{lease.Load(a, payments), a.DueAt, a.State == market.AccountOverdrawn}, nil
}

// keep writes an account and its payments, and moves its timer to where the
// account is due next.
func (m *Machine) keep(b *book) error {
	a := &b.Account
	a.DueAt = m.dueAt(b)
	if err := m.moveTimer(b); err != nil {
		return err
	}
	for _, p := range b.Payments {
		if err := m.Payments.Set(p.ID, p); err != nil {
			return err
		}
	}
	if a.State == market.AccountOverdrawn && !b.overdrawn {
		m.emit(market.EventAccountOverdrawn, deploymentEvent(a.ID))
	}
	return m.Accounts.Set(a.ID, *a)
}

// dueAt returns when the market must look at an account by itself: where its
// funds run out or the earliest grace ends. 0 is never. A debt of a closed lease
// waits for a deposit, not for the market.
func (m *Machine) dueAt(b *book) int64 {
	if b.Account.State.Terminal() {
		return 0
	}
	due := b.RunsOutAt()
	if at := b.GraceFrom(); at != 0 && (due == 0 || at+m.Params.GraceBlocks < due) {
		due = at + m.Params.GraceBlocks
	}
	return due
}

func (m *Machine) moveTimer(b *book) error {
	from, to := b.dueAt, b.Account.DueAt
	if from == to {
		return nil
	}
	if from != 0 {
		if err := m.Timers.Delete(accountTimer(from, b.Account.ID)); err != nil {
			return err
		}
	}
	if to == 0 {
		return nil
	}
	return m.addTimer(accountTimer(to, b.Account.ID))
}

// closeAccount closes an account without payments and gives the deposits back.
func (m *Machine) closeAccount(at Moment, b *book) error {
	refunds, err := b.Close(at.Height)
	if err != nil {
		return err
	}
	for _, d := range refunds {
		if err := m.give(d.Depositor, d.Balance); err != nil {
			return err
		}
	}
	return m.keep(b)
}

// endPayment stops a payment and pays the provider out.
func (m *Machine) endPayment(at Moment, b *book, id market.LeaseID) error {
	p, out, err := b.Stop(at.Height, id, m.Params.FeePerMyriad)
	if err != nil {
		return err
	}
	if err := m.dropRef(RefOpenPayment, id); err != nil {
		return err
	}
	if !p.Unpaid.IsZero() {
		if err := m.addRef(RefOwedPayment, id); err != nil {
			return err
		}
	}
	if err := m.Payments.Set(id, p); err != nil {
		return err
	}
	return m.payOut(out)
}

// redeem pays out what a deposit has paid of the debts of closed payments.
func (m *Machine) redeem(b *book) error {
	all, err := b.Redeem(m.Params.FeePerMyriad)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Payment.Unpaid.IsZero() {
			if err := m.dropRef(RefOwedPayment, r.Payment.ID); err != nil {
				return err
			}
		}
		if err := m.Payments.Set(r.Payment.ID, r.Payment); err != nil {
			return err
		}
		m.emit(market.EventPaymentWithdrawn, r.Payment.ID)
		if err := m.payOut(r.Payout); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) payOut(out lease.Payout) error {
	if err := m.give(out.Provider, out.Net); err != nil {
		return err
	}
	if out.Fee.Amount.IsZero() {
		return nil
	}
	if err := m.Bank.Fee(out.Fee); err != nil {
		return fmt.Errorf("machine: fee %s: %w", out.Fee, err)
	}
	return nil
}
