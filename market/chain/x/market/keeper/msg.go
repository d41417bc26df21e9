package keeper

import (
	"context"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

var _ marketpb.MsgServer = msgServer{}

// msgServer hands messages of transactions to the machine.
type msgServer struct{ keeper *Keeper }

// NewMsgServer returns the server of the market's messages.
func NewMsgServer(k *Keeper) marketpb.MsgServer { return msgServer{k} }

func (s msgServer) execute(ctx context.Context, m marketpb.Msg) error {
	msg, err := m.Market()
	if err != nil {
		return marketpb.WireError(err)
	}
	return s.keeper.Execute(ctx, msg)
}

// UpdateParams implements [marketpb.MsgServer].
func (s msgServer) UpdateParams(ctx context.Context, m *marketpb.MsgUpdateParams) (*marketpb.MsgUpdateParamsResponse, error) {
	if m.Authority != s.keeper.config.Authority {
		return nil, marketpb.WireError(market.Refuse(market.ErrUnauthorized, "authority", "the market's parameters belong to %s, not %s", s.keeper.config.Authority, m.Authority))
	}
	params, err := marketpb.ToParams(m.Params)
	if err != nil {
		return nil, marketpb.WireError(market.Refuse(market.ErrInvalid, "params", "%v", err))
	}
	return &marketpb.MsgUpdateParamsResponse{}, s.keeper.SetParams(ctx, params)
}

// CreateDeployment implements [marketpb.MsgServer].
func (s msgServer) CreateDeployment(ctx context.Context, m *marketpb.MsgCreateDeployment) (*marketpb.MsgCreateDeploymentResponse, error) {
	return &marketpb.MsgCreateDeploymentResponse{}, s.execute(ctx, m)
}

// UpdateDeployment implements [marketpb.MsgServer].
func (s msgServer) UpdateDeployment(ctx context.Context, m *marketpb.MsgUpdateDeployment) (*marketpb.MsgUpdateDeploymentResponse, error) {
	return &marketpb.MsgUpdateDeploymentResponse{}, s.execute(ctx, m)
}

// DepositDeployment implements [marketpb.MsgServer].
func (s msgServer) DepositDeployment(ctx context.Context, m *marketpb.MsgDepositDeployment) (*marketpb.MsgDepositDeploymentResponse, error) {
	return &marketpb.MsgDepositDeploymentResponse{}, s.execute(ctx, m)
}

// CloseDeployment implements [marketpb.MsgServer].
func (s msgServer) CloseDeployment(ctx context.Context, m *marketpb.MsgCloseDeployment) (*marketpb.MsgCloseDeploymentResponse, error) {
	return &marketpb.MsgCloseDeploymentResponse{}, s.execute(ctx, m)
}

// CloseGroup implements [marketpb.MsgServer].
func (s msgServer) CloseGroup(ctx context.Context, m *marketpb.MsgCloseGroup) (*marketpb.MsgCloseGroupResponse, error) {
	return &marketpb.MsgCloseGroupResponse{}, s.execute(ctx, m)
}

// PauseGroup implements [marketpb.MsgServer].
func (s msgServer) PauseGroup(ctx context.Context, m *marketpb.MsgPauseGroup) (*marketpb.MsgPauseGroupResponse, error) {
	return &marketpb.MsgPauseGroupResponse{}, s.execute(ctx, m)
}

// StartGroup implements [marketpb.MsgServer].
func (s msgServer) StartGroup(ctx context.Context, m *marketpb.MsgStartGroup) (*marketpb.MsgStartGroupResponse, error) {
	return &marketpb.MsgStartGroupResponse{}, s.execute(ctx, m)
}

// CreateBid implements [marketpb.MsgServer].
func (s msgServer) CreateBid(ctx context.Context, m *marketpb.MsgCreateBid) (*marketpb.MsgCreateBidResponse, error) {
	return &marketpb.MsgCreateBidResponse{}, s.execute(ctx, m)
}

// CloseBid implements [marketpb.MsgServer].
func (s msgServer) CloseBid(ctx context.Context, m *marketpb.MsgCloseBid) (*marketpb.MsgCloseBidResponse, error) {
	return &marketpb.MsgCloseBidResponse{}, s.execute(ctx, m)
}

// CreateLease implements [marketpb.MsgServer].
func (s msgServer) CreateLease(ctx context.Context, m *marketpb.MsgCreateLease) (*marketpb.MsgCreateLeaseResponse, error) {
	return &marketpb.MsgCreateLeaseResponse{}, s.execute(ctx, m)
}

// CloseLease implements [marketpb.MsgServer].
func (s msgServer) CloseLease(ctx context.Context, m *marketpb.MsgCloseLease) (*marketpb.MsgCloseLeaseResponse, error) {
	return &marketpb.MsgCloseLeaseResponse{}, s.execute(ctx, m)
}

// WithdrawLease implements [marketpb.MsgServer].
func (s msgServer) WithdrawLease(ctx context.Context, m *marketpb.MsgWithdrawLease) (*marketpb.MsgWithdrawLeaseResponse, error) {
	return &marketpb.MsgWithdrawLeaseResponse{}, s.execute(ctx, m)
}

// CreateProvider implements [marketpb.MsgServer].
func (s msgServer) CreateProvider(ctx context.Context, m *marketpb.MsgCreateProvider) (*marketpb.MsgCreateProviderResponse, error) {
	return &marketpb.MsgCreateProviderResponse{}, s.execute(ctx, m)
}

// UpdateProvider implements [marketpb.MsgServer].
func (s msgServer) UpdateProvider(ctx context.Context, m *marketpb.MsgUpdateProvider) (*marketpb.MsgUpdateProviderResponse, error) {
	return &marketpb.MsgUpdateProviderResponse{}, s.execute(ctx, m)
}

// DeleteProvider implements [marketpb.MsgServer].
func (s msgServer) DeleteProvider(ctx context.Context, m *marketpb.MsgDeleteProvider) (*marketpb.MsgDeleteProviderResponse, error) {
	return &marketpb.MsgDeleteProviderResponse{}, s.execute(ctx, m)
}

// CreateCertificate implements [marketpb.MsgServer].
func (s msgServer) CreateCertificate(ctx context.Context, m *marketpb.MsgCreateCertificate) (*marketpb.MsgCreateCertificateResponse, error) {
	return &marketpb.MsgCreateCertificateResponse{}, s.execute(ctx, m)
}

// RevokeCertificate implements [marketpb.MsgServer].
func (s msgServer) RevokeCertificate(ctx context.Context, m *marketpb.MsgRevokeCertificate) (*marketpb.MsgRevokeCertificateResponse, error) {
	return &marketpb.MsgRevokeCertificateResponse{}, s.execute(ctx, m)
}

// SignAudit implements [marketpb.MsgServer].
func (s msgServer) SignAudit(ctx context.Context, m *marketpb.MsgSignAudit) (*marketpb.MsgSignAuditResponse, error) {
	return &marketpb.MsgSignAuditResponse{}, s.execute(ctx, m)
}

// RevokeAudit implements [marketpb.MsgServer].
func (s msgServer) RevokeAudit(ctx context.Context, m *marketpb.MsgRevokeAudit) (*marketpb.MsgRevokeAuditResponse, error) {
	return &marketpb.MsgRevokeAuditResponse{}, s.execute(ctx, m)
}

// ScaleLease implements [marketpb.MsgServer].
func (s msgServer) ScaleLease(ctx context.Context, m *marketpb.MsgScaleLease) (*marketpb.MsgScaleLeaseResponse, error) {
	return &marketpb.MsgScaleLeaseResponse{}, s.execute(ctx, m)
}

// ConfirmScale implements [marketpb.MsgServer].
func (s msgServer) ConfirmScale(ctx context.Context, m *marketpb.MsgConfirmScale) (*marketpb.MsgConfirmScaleResponse, error) {
	return &marketpb.MsgConfirmScaleResponse{}, s.execute(ctx, m)
}

// DeclineScale implements [marketpb.MsgServer].
func (s msgServer) DeclineScale(ctx context.Context, m *marketpb.MsgDeclineScale) (*marketpb.MsgDeclineScaleResponse, error) {
	return &marketpb.MsgDeclineScaleResponse{}, s.execute(ctx, m)
}

// OpenRetainer implements [marketpb.MsgServer].
func (s msgServer) OpenRetainer(ctx context.Context, m *marketpb.MsgOpenRetainer) (*marketpb.MsgOpenRetainerResponse, error) {
	return &marketpb.MsgOpenRetainerResponse{}, s.execute(ctx, m)
}

// DepositRetainer implements [marketpb.MsgServer].
func (s msgServer) DepositRetainer(ctx context.Context, m *marketpb.MsgDepositRetainer) (*marketpb.MsgDepositRetainerResponse, error) {
	return &marketpb.MsgDepositRetainerResponse{}, s.execute(ctx, m)
}

// WithdrawRetainer implements [marketpb.MsgServer].
func (s msgServer) WithdrawRetainer(ctx context.Context, m *marketpb.MsgWithdrawRetainer) (*marketpb.MsgWithdrawRetainerResponse, error) {
	return &marketpb.MsgWithdrawRetainerResponse{}, s.execute(ctx, m)
}

// CloseRetainer implements [marketpb.MsgServer].
func (s msgServer) CloseRetainer(ctx context.Context, m *marketpb.MsgCloseRetainer) (*marketpb.MsgCloseRetainerResponse, error) {
	return &marketpb.MsgCloseRetainerResponse{}, s.execute(ctx, m)
}
