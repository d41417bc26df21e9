package machine

import (
	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) openRetainer(at Moment, msg market.OpenRetainer) error {
	if err := m.checkRetainer(msg); err != nil {
		return err
	}
	old, there, err := lookup(m.Retainers, msg.ID)
	if err != nil {
		return err
	}
	if there && !old.State.Terminal() {
		return market.Refuse(market.ErrExists, "retainer-exists", "retainer %s is %s", msg.ID, old.State)
	}
	r, err := lease.OpenRetainer(at.Height, msg)
	if err != nil {
		return err
	}
	if err := m.take(msg.ID.Owner, msg.Deposit); err != nil {
		return err
	}
	m.emitRetainer(market.EventRetainerOpened, msg.ID)
	return m.keepRetainer(old, r)
}

// checkRetainer checks the form of a new retainer against the parameters.
func (m *Machine) checkRetainer(msg market.OpenRetainer) error {
	if err := msg.ID.Validate(); err != nil {
		return market.Refuse(market.ErrInvalid, "retainer-id", "%v", err)
	}
	if msg.ID.Owner == msg.ID.Provider {
		return market.Refuse(market.ErrUnauthorized, "retainer-own", "%s keeps something for itself", msg.ID.Owner)
	}
	if _, err := need(m.Providers, msg.ID.Provider, "provider"); err != nil {
		return err
	}
	if err := checkDeposit(msg.Deposit, m.Params.MinDeposits); err != nil {
		return err
	}
	price := msg.Price.AmountPerBlock
	switch {
	case msg.Price.Denom != msg.Deposit.Denom:
		return market.Refuse(market.ErrInvalid, "retainer-denom", "a deposit of %s for a retainer at %s", msg.Deposit, msg.Price)
	case price.IsZero():
		return market.Refuse(market.ErrInvalid, "retainer-price-zero", "retainer %s", msg.ID)
	case msg.Deposit.Amount.Cmp(price.Ceil()) < 0:
		return market.Refuse(market.ErrInsufficientFunds, "retainer-not-funded", "a deposit of %s for a retainer at %s", msg.Deposit, msg.Price)
	}
	return nil
}

// retainer returns a retainer that a message names.
func (m *Machine) retainer(id market.RetainerID) (market.Retainer, *lease.Retained, error) {
	old, err := need(m.Retainers, id, "retainer")
	return old, lease.LoadRetainer(old), err
}

func (m *Machine) depositRetainer(at Moment, msg market.DepositRetainer) error {
	old, r, err := m.retainer(msg.ID)
	if err != nil {
		return err
	}
	if err := r.Deposit(at.Height, msg.Amount); err != nil {
		return err
	}
	if err := m.take(msg.ID.Owner, msg.Amount); err != nil {
		return err
	}
	m.emitRetainer(market.EventRetainerDeposited, msg.ID)
	return m.keepRetainer(old, r)
}

func (m *Machine) withdrawRetainer(at Moment, msg market.WithdrawRetainer) error {
	old, r, err := m.retainer(msg.ID)
	if err != nil {
		return err
	}
	out, err := r.Withdraw(at.Height, m.Params.FeePerMyriad)
	if err != nil {
		return err
	}
	m.emitRetainer(market.EventRetainerWithdrawn, msg.ID)
	if err := m.payOut(out); err != nil {
		return err
	}
	return m.keepRetainer(old, r)
}

func (m *Machine) closeRetainer(at Moment, msg market.CloseRetainer) error {
	reason := market.ReasonTenant
	switch msg.By {
	case msg.ID.Owner:
	case msg.ID.Provider:
		reason = market.ReasonUnspecified
	default:
		return market.Refuse(market.ErrUnauthorized, "retainer-not-yours", "%s is neither owner nor provider of retainer %s", msg.By, msg.ID)
	}
	old, r, err := m.retainer(msg.ID)
	if err != nil {
		return err
	}
	return m.endRetainer(at, old, r, reason)
}

// endRetainer closes a retainer: the provider gets what it has earned, the
// owner what is left.
func (m *Machine) endRetainer(at Moment, old market.Retainer, r *lease.Retained, reason market.CloseReason) error {
	out, refund, err := r.Close(at.Height, reason, m.Params.FeePerMyriad)
	if err != nil {
		return err
	}
	m.emitRetainer(market.EventRetainerClosed, old.ID)
	if err := m.payOut(out); err != nil {
		return err
	}
	if err := m.give(old.ID.Owner, refund); err != nil {
		return err
	}
	return m.keepRetainer(old, r)
}

// settleRetainer settles a retainer that is due and ends it if it has run dry
// or expired.
func (m *Machine) settleRetainer(at Moment, t Timer) error {
	old, ok, err := lookup(m.Retainers, t.Retainer)
	if err != nil || !ok || old.DueAt != t.Height {
		return err
	}
	r := lease.LoadRetainer(old)
	if err := r.Settle(at.Height); err != nil {
		return err
	}
	if reason, over := r.Over(at.Height); over {
		return m.endRetainer(at, old, r, reason)
	}
	return m.keepRetainer(old, r)
}

// keepRetainer writes a retainer with its timer and refs in the place of what
// was there before, which may be nothing.
func (m *Machine) keepRetainer(old market.Retainer, r *lease.Retained) error {
	now := r.Retainer()
	for _, t := range retainerTimers(old) {
		if err := m.Timers.Delete(t); err != nil {
			return err
		}
	}
	for _, t := range retainerTimers(now) {
		if err := m.addTimer(t); err != nil {
			return err
		}
	}
	open := Ref{Kind: RefOpenRetainer, Retainer: now.ID}
	if err := m.Refs.Delete(open); err != nil {
		return err
	}
	for _, ref := range retainerRefs(now) {
		if err := m.Refs.Set(ref, ref); err != nil {
			return err
		}
	}
	return m.Retainers.Set(now.ID, now)
}

// retainerTimers returns the timers that belong to a retainer.
func retainerTimers(r market.Retainer) []Timer {
	if r.DueAt == 0 {
		return nil
	}
	return []Timer{{Height: r.DueAt, Kind: TimerRetainer, Retainer: r.ID}}
}

// retainerRefs returns the refs of a retainer in its state.
func retainerRefs(r market.Retainer) []Ref {
	refs := []Ref{{Kind: RefProviderRetainer, Retainer: r.ID}}
	if !r.State.Terminal() {
		refs = append(refs, Ref{Kind: RefOpenRetainer, Retainer: r.ID})
	}
	return refs
}

func (m *Machine) emitRetainer(kind market.EventKind, id market.RetainerID) {
	e := market.Event{Kind: kind, Retainer: id}
	e.ID.Owner, e.ID.Provider = id.Owner, id.Provider
	m.events = append(m.events, e)
}
