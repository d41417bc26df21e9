package iplease_test

import (
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// prepare returns "", "already", "not-found", "state", "mismatch", "conflict" or
// "invalid".
func (m *model) prepare(mv iplease.Move, now time.Time) string {
	c := m.named(mv.Claim)
	switch {
	case c == nil:
		return "not-found"
	case mv.To.Owner != mv.Claim.Owner:
		return "invalid"
	case c.State != iplease.Bound:
		return "state"
	case c.Migration == nil && c.Holder == mv.To:
		return "already"
	case c.Migration != nil && (c.Migration.Phase == iplease.Switched || c.Migration.To != mv.To):
		return "state"
	case !m.satisfies(c, mv.Selection):
		return "mismatch"
	}
	ports := withRules(mv.Ports, c.Rules)
	for i := 1; i < len(ports); i++ {
		if ports[i].Protocol == ports[i-1].Protocol && ports[i].External == ports[i-1].External {
			return "conflict"
		}
	}
	if !m.payable(c.Name, ports) {
		return "invalid"
	}
	c.Migration = &iplease.Migration{Phase: iplease.Prepared, From: c.Holder, To: mv.To, Began: now, Ports: ports}
	return ""
}

// finish does a later step of a migration and reports whether it could.
func (m *model) finish(id iplease.ClaimID, step string) bool {
	c := m.named(id)
	if c == nil || c.Migration == nil {
		return false
	}
	mig := *c.Migration
	switched := mig.Phase == iplease.Switched
	turn := func(to market.DeploymentID) {
		c.Holder = to
		c.Ports, mig.Ports = mig.Ports, c.Ports
		m.revision++
		c.Revision = m.revision
	}
	switch {
	case step == "switch" && !switched && !m.payable(c.Name, mig.Ports):
		return false
	case step == "switch" && !switched:
		turn(mig.To)
		mig.Phase = iplease.Switched
		c.Migration = &mig
	case step == "confirm" && !switched:
		return false
	case step == "confirm":
		c.From, c.Migration = mig.From, nil
	case step == "rollback" && switched:
		turn(mig.From)
		c.Migration = nil
	case step == "rollback":
		c.Migration = nil
	}
	return true
}
