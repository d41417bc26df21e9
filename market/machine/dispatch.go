package machine

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) dispatch(at Moment, msg market.Msg) error {
	switch msg := msg.(type) {
	case market.CreateDeployment:
		return m.createDeployment(at, msg)
	case market.UpdateDeployment:
		return m.updateDeployment(msg)
	case market.DepositDeployment:
		return m.depositDeployment(at, msg)
	case market.CloseDeployment:
		return m.closeDeployment(at, msg)
	case market.CloseGroup:
		return m.closeGroup(at, msg)
	case market.PauseGroup:
		return m.pauseGroup(at, msg)
	case market.StartGroup:
		return m.startGroup(at, msg)
	case market.CreateBid:
		return m.createBid(at, msg)
	case market.CloseBid:
		return m.closeBid(at, msg)
	case market.CreateLease:
		return m.createLease(at, msg)
	case market.CloseLease:
		return m.closeLease(at, msg)
	case market.WithdrawLease:
		return m.withdrawLease(at, msg)
	default:
		return m.dispatchStanding(at, msg)
	}
}

// dispatchStanding carries out what concerns running leases and retainers.
func (m *Machine) dispatchStanding(at Moment, msg market.Msg) error {
	switch msg := msg.(type) {
	case market.ScaleLease:
		return m.scaleLease(at, msg)
	case market.ConfirmScale:
		return m.confirmScale(at, msg)
	case market.DeclineScale:
		return m.declineScale(at, msg)
	case market.OpenRetainer:
		return m.openRetainer(at, msg)
	case market.DepositRetainer:
		return m.depositRetainer(at, msg)
	case market.WithdrawRetainer:
		return m.withdrawRetainer(at, msg)
	case market.CloseRetainer:
		return m.closeRetainer(at, msg)
	default:
		return m.dispatchRegistry(at, msg)
	}
}

// dispatchRegistry carries out what concerns providers, audits and
// certificates.
func (m *Machine) dispatchRegistry(at Moment, msg market.Msg) error {
	switch msg := msg.(type) {
	case market.CreateProvider:
		return m.createProvider(at, msg)
	case market.UpdateProvider:
		return m.updateProvider(msg)
	case market.DeleteProvider:
		return m.deleteProvider(msg)
	case market.SignAudit:
		return m.signAudit(at, msg)
	case market.RevokeAudit:
		return m.revokeAudit(msg)
	case market.CreateCertificate:
		return m.createCertificate(at, msg)
	case market.RevokeCertificate:
		return m.revokeCertificate(msg)
	default:
		return fmt.Errorf("machine: message %T: %w: not one of package market", msg, market.ErrInvalid)
	}
}
