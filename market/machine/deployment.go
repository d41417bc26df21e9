package machine

import (
	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) createDeployment(at Moment, msg market.CreateDeployment) error {
	if err := m.checkDeployment(msg); err != nil {
		return err
	}
	if err := free(m.Deployments, msg.ID, "deployment"); err != nil {
		return err
	}
	if err := m.take(msg.ID.Owner, msg.Deposit); err != nil {
		return err
	}
	b := &book{Book: lease.Open(msg.ID, at.Height)}
	if err := b.Deposit(at.Height, msg.ID.Owner, msg.Deposit); err != nil {
		return err
	}
	if err := m.keep(b); err != nil {
		return err
	}
	d := market.Deployment{ID: msg.ID, State: market.DeploymentActive, Hash: msg.Hash, CreatedAt: at.Height}
	if err := m.Deployments.Set(d.ID, d); err != nil {
		return err
	}
	m.emit(market.EventDeploymentCreated, deploymentEvent(msg.ID))
	if err := m.addRef(RefActiveDeployment, deploymentEvent(msg.ID)); err != nil {
		return err
	}
	for i, spec := range msg.Groups {
		g := market.Group{ID: market.GroupID{DeploymentID: msg.ID, GSeq: uint32(i + 1)}, Spec: spec, CreatedAt: at.Height}
		if err := m.openOrder(at, g); err != nil {
			return err
		}
	}
	return nil
}

// checkDeployment checks the form of a new deployment against the parameters.
func (m *Machine) checkDeployment(msg market.CreateDeployment) error {
	if err := msg.ID.Validate(); err != nil {
		return market.Refuse(market.ErrInvalid, "deployment-id", "%v", err)
	}
	if msg.Hash == (market.Hash{}) {
		return market.Refuse(market.ErrInvalid, "deployment-hash", "deployment %s has no manifest hash", msg.ID)
	}
	if n := len(msg.Groups); n == 0 || n > int(m.Params.Limits.MaxGroups) {
		return market.Refuse(market.ErrLimit, "deployment-groups", "%d groups, want 1 to %d", n, m.Params.Limits.MaxGroups)
	}
	names := make(map[string]bool, len(msg.Groups))
	for _, g := range msg.Groups {
		if err := g.Validate(m.Params.Limits); err != nil {
			return err
		}
		if names[g.Name] {
			return market.Refuse(market.ErrInvalid, "group-name", "two groups are named %q", g.Name)
		}
		names[g.Name] = true
		if denom := g.Units[0].Price.Denom; m.Params.MinDeposits.Of(denom).IsZero() {
			return market.Refuse(market.ErrInvalid, "price-denom", "group %q pays in %s, want one of %v", g.Name, denom, m.Params.MinDeposits)
		}
		if g.ReclaimBlocks > m.Params.MaxReclaimBlocks {
			return market.Refuse(market.ErrLimit, "group-reclaim", "group %q asks for a notice of %d blocks, at most %d", g.Name, g.ReclaimBlocks, m.Params.MaxReclaimBlocks)
		}
	}
	return checkDeposit(msg.Deposit, m.Params.MinDeposits)
}

// activeDeployment returns a deployment that is not closed.
func (m *Machine) activeDeployment(id market.DeploymentID) (market.Deployment, error) {
	d, err := need(m.Deployments, id, "deployment")
	if err == nil && d.State.Terminal() {
		err = market.Refuse(market.ErrState, "deployment-closed", "deployment %s is closed", id)
	}
	return d, err
}

func (m *Machine) updateDeployment(msg market.UpdateDeployment) error {
	d, err := m.activeDeployment(msg.ID)
	if err != nil {
		return err
	}
	if msg.Hash == (market.Hash{}) || msg.Hash == d.Hash {
		return market.Refuse(market.ErrInvalid, "deployment-hash", "hash %s of deployment %s is zero or the present one", msg.Hash, msg.ID)
	}
	d.Hash = msg.Hash
	m.emit(market.EventDeploymentUpdated, deploymentEvent(msg.ID))
	return m.Deployments.Set(d.ID, d)
}

func (m *Machine) depositDeployment(at Moment, msg market.DepositDeployment) error {
	if err := msg.Depositor.Validate(); err != nil {
		return market.Refuse(market.ErrInvalid, "depositor", "%v", err)
	}
	if _, err := m.activeDeployment(msg.ID); err != nil {
		return err
	}
	if err := m.checkTopUp(msg); err != nil {
		return err
	}
	if err := m.take(msg.Depositor, msg.Amount); err != nil {
		return err
	}
	b, err := m.book(msg.ID)
	if err != nil {
		return err
	}
	if err := b.Deposit(at.Height, msg.Depositor, msg.Amount); err != nil {
		return err
	}
	m.emit(market.EventAccountDeposited, deploymentEvent(msg.ID))
	if err := m.redeem(b); err != nil {
		return err
	}
	return m.keep(b)
}

// checkTopUp checks a further deposit. The tenant may add any amount; strangers
// at least what a deployment is opened with, so that they cannot fill the
// account's places with dust.
func (m *Machine) checkTopUp(msg market.DepositDeployment) error {
	if msg.Depositor != msg.ID.Owner {
		return checkDeposit(msg.Amount, m.Params.MinDeposits)
	}
	if m.Params.MinDeposits.Of(msg.Amount.Denom).IsZero() {
		return market.Refuse(market.ErrInvalid, "deposit-denom", "%s is not taken here, want one of %v", msg.Amount, m.Params.MinDeposits)
	}
	return nil
}

func (m *Machine) closeDeployment(at Moment, msg market.CloseDeployment) error {
	d, err := m.activeDeployment(msg.ID)
	if err != nil {
		return err
	}
	b, err := m.book(msg.ID)
	if err != nil {
		return err
	}
	groups, err := collect(m.Groups.Scan(key(msg.ID), nil))
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.State.Terminal() {
			continue
		}
		if err := m.stopGroup(at, b, g, market.GroupClosed, market.ReasonTenant); err != nil {
			return err
		}
	}
	if err := m.closeAccount(at, b); err != nil {
		return err
	}
	d.State, d.ClosedAt = market.DeploymentClosed, at.Height
	m.emit(market.EventDeploymentClosed, deploymentEvent(d.ID))
	if err := m.dropRef(RefActiveDeployment, deploymentEvent(d.ID)); err != nil {
		return err
	}
	return m.Deployments.Set(d.ID, d)
}
