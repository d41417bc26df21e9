package iplease

import (
	"fmt"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Phase is how far a migration is. Do not renumber.
type Phase uint8

// Phases.
const (
	// Prepared: the destination's ports are checked and noted; the source still
	// has the claim.
	Prepared Phase = 1
	// Switched: the destination has the claim; the source's ports are kept in
	// case of a way back.
	Switched Phase = 2
)

// String returns the phase's name.
func (p Phase) String() string {
	switch p {
	case Prepared:
		return "prepared"
	case Switched:
		return "switched"
	}
	return fmt.Sprintf("invalid-%d", uint8(p))
}

// Migration is the move of a claim from one deployment to another.
//
//	(none)     Prepare   Prepared   nothing changes outside
//	Prepared   Switch    Switched   the destination holds the claim
//	Prepared   Rollback  (none)     nothing has changed
//	Switched   Confirm   (none)     the destination keeps it
//	Switched   Rollback  (none)     the source has it as before
//
// A prepared migration ends when either side closes or does not want the endpoint
// any more; a switched one becomes final when the source does, and is taken back
// when the destination does.
type Migration struct {
	Phase Phase               `json:"phase"`
	From  market.DeploymentID `json:"from"`
	To    market.DeploymentID `json:"to"`
	// Began is when it was prepared.
	Began time.Time `json:"began"`
	// Ports are those of the side that does not hold the claim.
	Ports []Port `json:"ports"`
}

// Move is what a migration asks for.
type Move struct {
	Claim ClaimID
	// To is another deployment of the claim's tenant.
	To market.DeploymentID
	// Ports are what To's leases want of the endpoint, with their leases and numbers.
	Ports []Port
	// Selection is what To's order asks for.
	Selection
}

// Prepare begins to move a claim to another deployment of its tenant. Preparing
// what is prepared to the same deployment sets its ports again. A claim that the
// deployment holds already is left alone, and the result says so. Errors wrap
// [market.ErrNotFound] (no such claim), [market.ErrState] (not bound, or being
// moved elsewhere), [market.ErrInvalid], or are a [*ConflictError],
// [*MismatchError] or [*NumberError].
func (t *Table) Prepare(m Move, now time.Time) (already bool, err error) {
	c := t.claims[m.Claim]
	switch {
	case c == nil:
		return false, fmt.Errorf("iplease: claim %s: %w", m.Claim, market.ErrNotFound)
	case m.To.Owner != m.Claim.Owner:
		return false, fmt.Errorf("iplease: claim %s: deployment %s is of another tenant: %w", m.Claim, m.To, market.ErrInvalid)
	case c.state != Bound:
		return false, fmt.Errorf("iplease: claim %s is %s, no deployment holds it: %w", m.Claim, c.state, market.ErrState)
	case c.holder == m.To && c.migration == nil:
		return true, nil
	case c.migration != nil && (c.migration.Phase != Prepared || c.migration.To != m.To):
		return false, fmt.Errorf("iplease: claim %s is being moved to deployment %s: %w", m.Claim, c.migration.To, market.ErrState)
	case !c.satisfies(m.Selection):
		return false, &MismatchError{m.Claim, m.Selection}
	}
	ports, err := m.ports(c)
	if err == nil {
		err = t.payable(c, ports)
	}
	if err != nil {
		return false, err
	}
	c.migration = &Migration{Phase: Prepared, From: c.holder, To: m.To, Began: now, Ports: ports}
	t.moves[c] = struct{}{}
	t.touch(c)
	return false, nil
}

// ports checks and sorts the destination's ports.
func (m Move) ports(c *claim) ([]Port, error) {
	w := Want{Name: m.Claim.Name, Ports: m.Ports}
	if err := w.validate(m.Claim); err != nil {
		return nil, err
	}
	for _, p := range m.Ports {
		if p.Lease.DeploymentID != m.To {
			return nil, fmt.Errorf("iplease: claim %s: port %d is of lease %s, which is not in deployment %s: %w", m.Claim, p.External, p.Lease, m.To, market.ErrInvalid)
		}
	}
	ports := slices.Clone(m.Ports)
	for i := range ports {
		ports[i].Sources = applyRules(ports[i], c.rules)
	}
	return ports, sortPorts(m.Claim, ports)
}

// payable checks that the leases of ports have no other claim for their numbers.
func (t *Table) payable(c *claim, ports []Port) error {
	for _, p := range ports {
		if err := t.unpaid(c, c.id, p.Lease, p.Number); err != nil {
			return err
		}
	}
	return nil
}

// Switch gives a prepared claim to its destination. Addresses stay. Switching
// what is switched does nothing. Errors wrap [market.ErrNotFound] or
// [market.ErrState], or are a [*NumberError].
func (t *Table) Switch(id ClaimID) (Claim, error) {
	c, err := t.moving(id)
	if err != nil {
		return Claim{}, err
	}
	if c.migration.Phase == Prepared {
		if err := t.payable(c, c.migration.Ports); err != nil {
			return Claim{}, err
		}
		t.swap(c)
	}
	return c.picture(), nil
}

// Confirm ends a switched migration: there is no way back. Errors as Switch.
func (t *Table) Confirm(id ClaimID) error {
	c, err := t.moving(id)
	if err != nil {
		return err
	}
	if c.migration.Phase != Switched {
		return fmt.Errorf("iplease: claim %s: the move is %s: %w", id, c.migration.Phase, market.ErrState)
	}
	t.final(c)
	return nil
}

// Rollback ends a migration with everything as it was before it. Errors as
// Switch.
func (t *Table) Rollback(id ClaimID) error {
	c, err := t.moving(id)
	if err != nil {
		return err
	}
	if c.migration.Phase == Switched {
		t.swap(c)
	}
	t.endMove(c)
	t.touch(c)
	return nil
}

// final makes a switched migration final.
func (t *Table) final(c *claim) {
	c.from = c.migration.From
	t.endMove(c)
	t.touch(c)
}

// endMove forgets a migration.
func (t *Table) endMove(c *claim) {
	c.migration = nil
	delete(t.moves, c)
}

// Moving returns the claims that are being moved, sorted by ID.
func (t *Table) Moving() []Claim {
	var out []Claim
	for c := range t.moves {
		out = append(out, c.picture())
	}
	sortByID(out)
	return out
}

func (t *Table) moving(id ClaimID) (*claim, error) {
	c := t.claims[id]
	switch {
	case c == nil:
		return nil, fmt.Errorf("iplease: claim %s: %w", id, market.ErrNotFound)
	case c.migration == nil:
		return nil, fmt.Errorf("iplease: claim %s is not being moved: %w", id, market.ErrState)
	}
	return c, nil
}

// swap gives a claim that is being moved to the other side, and keeps the ports
// of the side it was on.
func (t *Table) swap(c *claim) {
	m := *c.migration
	to, phase := m.To, Switched
	if m.Phase == Switched {
		to, phase = m.From, Prepared
	}
	unchain(t.holders, c.holder, c)
	c.holder = to
	chain(t.holders, to, c)
	c.ports, m.Ports, m.Phase = m.Ports, c.ports, phase
	c.migration = &m
	t.revise(c)
}

// abandon takes the ports of a lease out of the migrations in which its deployment
// is on the side without the claim, but for endpoints that it wants.
func (t *Table) abandon(lease market.LeaseID, wants []Want) {
	for c := range t.moves {
		if slices.ContainsFunc(wants, func(w Want) bool { return w.Name == c.id.Name }) {
			continue
		}
		m := *c.migration
		left := without(m.Ports, lease)
		switch {
		case len(left) == len(m.Ports):
		case len(left) > 0:
			m.Ports = left
			c.migration = &m
			t.touch(c)
		case m.Phase == Switched:
			t.final(c)
		default:
			t.endMove(c)
			t.touch(c)
		}
	}
}
