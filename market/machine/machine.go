package machine

import (
	"github.com/moorage-dev/moorage/market"
)

// MaxTimersPerBlock bounds what EndBlock does, for which nobody pays: each timer
// touches one order with its bids, one account with its leases, one lease or one
// retainer.
const MaxTimersPerBlock = 250

// Machine carries messages out. It holds no state of its own: a host may make
// one per message. It is not safe for concurrent use.
type Machine struct {
	State
	Bank Bank
	// Params are the rules in force; they must be valid.
	Params market.Params

	events []market.Event
}

// Execute carries one message out and returns what happened, in order. A
// message that breaks a rule gives a [market.RuleError]. On an error the host
// discards what was written.
func (m *Machine) Execute(at Moment, msg market.Msg) ([]market.Event, error) {
	m.events = nil
	if err := m.dispatch(at, msg); err != nil {
		return nil, err
	}
	return m.events, nil
}

// EndBlock does what is due at the end of a block: orders expire, accounts run
// dry, grace ends. It handles at most [MaxTimersPerBlock] timers, oldest first.
// An error means that the host's storage or bank failed or that the state
// breaks an invariant; a host that prefers to go on calls [Machine.Due],
// [Machine.Fire] and [Machine.Drop] itself.
func (m *Machine) EndBlock(at Moment) ([]market.Event, error) {
	due, err := m.Due(at)
	if err != nil {
		return nil, err
	}
	var all []market.Event
	for _, t := range due {
		events, err := m.Fire(at, t)
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	return all, nil
}

// Due returns the timers that are due, oldest first, at most
// [MaxTimersPerBlock].
func (m *Machine) Due(at Moment) ([]Timer, error) {
	var due []Timer
	for t, err := range m.Timers.Scan(nil, nil) {
		if err != nil {
			return nil, err
		}
		if t.Height > at.Height || len(due) == MaxTimersPerBlock {
			break
		}
		due = append(due, t)
	}
	return due, nil
}

// Fire does what one timer is for and removes it. A timer that was removed
// since [Machine.Due] does nothing.
func (m *Machine) Fire(at Moment, t Timer) ([]market.Event, error) {
	m.events = nil
	if err := m.fire(at, t); err != nil {
		return nil, err
	}
	return m.events, nil
}

// Drop takes a timer out of the queue that [Machine.Fire] failed on, so that it
// does not fail again in every block. The thing it was for stays as it is until
// a message touches it. Only for hosts that cannot stop at a fault.
func (m *Machine) Drop(t Timer) error { return m.Timers.Delete(t) }

func (m *Machine) emit(kind market.EventKind, id market.LeaseID) {
	m.events = append(m.events, market.Event{Kind: kind, ID: id})
}
