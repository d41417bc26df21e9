package machine

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) addTimer(t Timer) error { return m.Timers.Set(t, t) }

func (m *Machine) addRef(kind RefKind, id market.LeaseID) error {
	r := Ref{Kind: kind, ID: id}
	return m.Refs.Set(r, r)
}

func (m *Machine) dropRef(kind RefKind, id market.LeaseID) error {
	return m.Refs.Delete(Ref{Kind: kind, ID: id})
}

// fire removes a timer and does what it is for.
func (m *Machine) fire(at Moment, t Timer) error {
	_, ok, err := lookup(m.Timers, t)
	if err != nil || !ok {
		return err
	}
	if err := m.Timers.Delete(t); err != nil {
		return err
	}
	switch t.Kind {
	case TimerOrder:
		return m.expireOrder(at, t)
	case TimerAccount:
		return m.settleAccount(at, t)
	case TimerScale:
		return m.lapseScale(t)
	case TimerNotice:
		return m.endNotice(at, t)
	case TimerRetainer:
		return m.settleRetainer(at, t)
	default:
		return fmt.Errorf("machine: timer of kind %d: %w", t.Kind, market.ErrInvalid)
	}
}

// settleAccount settles an account that is due and starves the groups whose
// payments are overdrawn past their grace.
func (m *Machine) settleAccount(at Moment, t Timer) error {
	b, err := m.book(t.ID.DeploymentID)
	if err != nil {
		return err
	}
	if b.dueAt != t.Height {
		return nil // the account is due at another height
	}
	b.dueAt = 0 // its timer is this one, already removed
	if err := b.Settle(at.Height); err != nil {
		return err
	}
	if b.Account.State == market.AccountOverdrawn && !b.overdrawn {
		b.overdrawn = true
		m.emit(market.EventAccountOverdrawn, deploymentEvent(b.Account.ID))
	}
	for _, p := range append([]market.Payment(nil), b.Payments...) {
		if p.State.Terminal() || p.OverdrawnAt == 0 || p.OverdrawnAt+m.Params.GraceBlocks > at.Height {
			continue
		}
		g, err := m.Groups.Get(p.ID.GroupID)
		if err != nil {
			return err
		}
		if err := m.stopGroup(at, b, g, market.GroupStarved, market.ReasonInsufficientFunds); err != nil {
			return err
		}
	}
	return m.keep(b)
}
