package marketpb

import (
	"fmt"

	gogoproto "github.com/cosmos/gogoproto/proto"

	"github.com/moorage-dev/moorage/market"
)

// Msg is a message of the market in wire form.
type Msg interface {
	gogoproto.Message
	// Market returns the message that package market knows. The error wraps
	// [market.ErrInvalid].
	Market() (market.Msg, error)
}

// FromMsg converts a message. The error wraps [market.ErrInvalid]; it is for
// types that are not messages of package market.
func FromMsg(m market.Msg) (Msg, error) {
	switch m := m.(type) {
	case market.CreateDeployment:
		return &MsgCreateDeployment{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Groups: each(m.Groups, FromGroupSpec), Hash: m.Hash[:], Deposit: FromCoin(m.Deposit)}, nil
	case market.UpdateDeployment:
		return &MsgUpdateDeployment{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Hash: m.Hash[:]}, nil
	case market.DepositDeployment:
		return &MsgDepositDeployment{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Depositor: string(m.Depositor), Amount: FromCoin(m.Amount)}, nil
	case market.CloseDeployment:
		return &MsgCloseDeployment{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq}, nil
	case market.CloseGroup:
		return &MsgCloseGroup{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq}, nil
	case market.PauseGroup:
		return &MsgPauseGroup{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq}, nil
	case market.StartGroup:
		return &MsgStartGroup{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq}, nil
	}
	return fromLeaseMsg(m)
}

func fromLeaseMsg(m market.Msg) (Msg, error) {
	switch m := m.(type) {
	case market.CreateBid:
		return &MsgCreateBid{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider), Price: FromPrice(m.Price), Units: each(m.Units, fromUnitPrice), Deposit: FromCoin(m.Deposit)}, nil
	case market.CloseBid:
		return &MsgCloseBid{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider), Reason: uint32(m.Reason)}, nil
	case market.CreateLease:
		return &MsgCreateLease{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider)}, nil
	case market.CloseLease:
		return &MsgCloseLease{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider)}, nil
	case market.WithdrawLease:
		return &MsgWithdrawLease{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider)}, nil
	}
	return fromStandingMsg(m)
}

func fromStandingMsg(m market.Msg) (Msg, error) {
	switch m := m.(type) {
	case market.ScaleLease:
		out := &MsgScaleLease{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider), Counts: each(m.Counts, fromCount), Hash: fromHash(m.Hash)}
		if m.MaxPrice != (market.Price{}) {
			most := FromPrice(m.MaxPrice)
			out.MaxPrice = &most
		}
		return out, nil
	case market.ConfirmScale:
		return &MsgConfirmScale{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider), Number: m.Number}, nil
	case market.DeclineScale:
		return &MsgDeclineScale{Owner: string(m.ID.Owner), Dseq: m.ID.DSeq, Gseq: m.ID.GSeq, Oseq: m.ID.OSeq, Provider: string(m.ID.Provider), Number: m.Number}, nil
	case market.OpenRetainer:
		return &MsgOpenRetainer{Owner: string(m.ID.Owner), Provider: string(m.ID.Provider), Kind: m.ID.Kind, Name: m.ID.Name, Price: FromPrice(m.Price), Deposit: FromCoin(m.Deposit), ExpiresAt: m.ExpiresAt}, nil
	case market.DepositRetainer:
		return &MsgDepositRetainer{Owner: string(m.ID.Owner), Provider: string(m.ID.Provider), Kind: m.ID.Kind, Name: m.ID.Name, Amount: FromCoin(m.Amount)}, nil
	case market.WithdrawRetainer:
		return &MsgWithdrawRetainer{Owner: string(m.ID.Owner), Provider: string(m.ID.Provider), Kind: m.ID.Kind, Name: m.ID.Name}, nil
	case market.CloseRetainer:
		return &MsgCloseRetainer{Owner: string(m.ID.Owner), Provider: string(m.ID.Provider), Kind: m.ID.Kind, Name: m.ID.Name, By: string(m.By)}, nil
	}
	return fromRegistryMsg(m)
}

func fromRegistryMsg(m market.Msg) (Msg, error) {
	switch m := m.(type) {
	case market.CreateProvider:
		p := m.Provider
		return &MsgCreateProvider{Owner: string(p.Owner), HostUri: p.HostURI, Attributes: FromAttributes(p.Attributes), Email: p.Email, Website: p.Website}, nil
	case market.UpdateProvider:
		p := m.Provider
		return &MsgUpdateProvider{Owner: string(p.Owner), HostUri: p.HostURI, Attributes: FromAttributes(p.Attributes), Email: p.Email, Website: p.Website}, nil
	case market.DeleteProvider:
		return &MsgDeleteProvider{Owner: string(m.Owner)}, nil
	case market.CreateCertificate:
		return &MsgCreateCertificate{Owner: string(m.Owner), Der: m.DER}, nil
	case market.RevokeCertificate:
		return &MsgRevokeCertificate{Owner: string(m.ID.Owner), Serial: m.ID.Serial}, nil
	case market.SignAudit:
		a := m.Audit
		return &MsgSignAudit{Provider: string(a.ID.Provider), Auditor: string(a.ID.Auditor), Attributes: FromAttributes(a.Attributes), ExpiresAt: fromTime(a.ExpiresAt)}, nil
	case market.RevokeAudit:
		return &MsgRevokeAudit{Provider: string(m.ID.Provider), Auditor: string(m.ID.Auditor)}, nil
	}
	return nil, fmt.Errorf("marketpb: message %T: %w", m, market.ErrInvalid)
}

// Market implements [Msg].
func (m *MsgCreateDeployment) Market() (market.Msg, error) {
	groups, err1 := eachErr(m.Groups, ToGroupSpec)
	hash, err2 := toHash(m.Hash)
	deposit, err3 := ToCoin(m.Deposit)
	id := IDParts{Owner: m.Owner, Dseq: m.Dseq}.Deployment()
	return market.CreateDeployment{ID: id, Groups: groups, Hash: hash, Deposit: deposit}, first(err1, err2, err3)
}

// Market implements [Msg].
func (m *MsgUpdateDeployment) Market() (market.Msg, error) {
	hash, err := toHash(m.Hash)
	return market.UpdateDeployment{ID: IDParts{Owner: m.Owner, Dseq: m.Dseq}.Deployment(), Hash: hash}, err
}

// Market implements [Msg].
func (m *MsgDepositDeployment) Market() (market.Msg, error) {
	amount, err := ToCoin(m.Amount)
	id := IDParts{Owner: m.Owner, Dseq: m.Dseq}.Deployment()
	return market.DepositDeployment{ID: id, Depositor: market.Address(m.Depositor), Amount: amount}, err
}

// Market implements [Msg].
func (m *MsgCloseDeployment) Market() (market.Msg, error) {
	return market.CloseDeployment{ID: IDParts{Owner: m.Owner, Dseq: m.Dseq}.Deployment()}, nil
}

// Market implements [Msg].
func (m *MsgCloseGroup) Market() (market.Msg, error) {
	return market.CloseGroup{ID: IDParts{Owner: m.Owner, Dseq: m.Dseq, Gseq: m.Gseq}.Group()}, nil
}

// Market implements [Msg].
func (m *MsgPauseGroup) Market() (market.Msg, error) {
	return market.PauseGroup{ID: IDParts{Owner: m.Owner, Dseq: m.Dseq, Gseq: m.Gseq}.Group()}, nil
}

// Market implements [Msg].
func (m *MsgStartGroup) Market() (market.Msg, error) {
	return market.StartGroup{ID: IDParts{Owner: m.Owner, Dseq: m.Dseq, Gseq: m.Gseq}.Group()}, nil
}

// Market implements [Msg].
func (m *MsgCreateBid) Market() (market.Msg, error) {
	price, err1 := ToPrice(m.Price)
	deposit, err2 := ToCoin(m.Deposit)
	units, err3 := eachErr(m.Units, toUnitPrice)
	id := IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid()
	return market.CreateBid{ID: id, Price: price, Units: units, Deposit: deposit}, first(err1, err2, err3)
}

// Market implements [Msg].
func (m *MsgCloseBid) Market() (market.Msg, error) {
	id := IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid()
	return market.CloseBid{ID: id, Reason: market.CloseReason(m.Reason)}, nil
}

// Market implements [Msg].
func (m *MsgCreateLease) Market() (market.Msg, error) {
	return market.CreateLease{ID: IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid()}, nil
}

// Market implements [Msg].
func (m *MsgCloseLease) Market() (market.Msg, error) {
	return market.CloseLease{ID: IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid().Lease()}, nil
}

// Market implements [Msg].
func (m *MsgWithdrawLease) Market() (market.Msg, error) {
	return market.WithdrawLease{ID: IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid().Lease()}, nil
}

// Market implements [Msg].
func (m *MsgCreateProvider) Market() (market.Msg, error) {
	p := market.Provider{Owner: market.Address(m.Owner), HostURI: m.HostUri, Attributes: ToAttributes(m.Attributes), Email: m.Email, Website: m.Website}
	return market.CreateProvider{Provider: p}, nil
}

// Market implements [Msg].
func (m *MsgUpdateProvider) Market() (market.Msg, error) {
	p := market.Provider{Owner: market.Address(m.Owner), HostURI: m.HostUri, Attributes: ToAttributes(m.Attributes), Email: m.Email, Website: m.Website}
	return market.UpdateProvider{Provider: p}, nil
}

// Market implements [Msg].
func (m *MsgDeleteProvider) Market() (market.Msg, error) {
	return market.DeleteProvider{Owner: market.Address(m.Owner)}, nil
}

// Market implements [Msg].
func (m *MsgCreateCertificate) Market() (market.Msg, error) {
	return market.CreateCertificate{Owner: market.Address(m.Owner), DER: m.Der}, nil
}

// Market implements [Msg].
func (m *MsgRevokeCertificate) Market() (market.Msg, error) {
	return market.RevokeCertificate{ID: market.CertificateID{Owner: market.Address(m.Owner), Serial: m.Serial}}, nil
}

// Market implements [Msg].
func (m *MsgSignAudit) Market() (market.Msg, error) {
	id := market.AuditID{Provider: market.Address(m.Provider), Auditor: market.Address(m.Auditor)}
	return market.SignAudit{Audit: market.Audit{ID: id, Attributes: ToAttributes(m.Attributes), ExpiresAt: toTime(m.ExpiresAt)}}, nil
}

// Market implements [Msg].
func (m *MsgRevokeAudit) Market() (market.Msg, error) {
	return market.RevokeAudit{ID: market.AuditID{Provider: market.Address(m.Provider), Auditor: market.Address(m.Auditor)}}, nil
}

// Market implements [Msg].
func (m *MsgScaleLease) Market() (market.Msg, error) {
	hash, err := toHashOrNone(m.Hash)
	if err != nil {
		return nil, err
	}
	out := market.ScaleLease{ID: IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid().Lease(), Counts: each(m.Counts, toCount), Hash: hash}
	if m.MaxPrice != nil {
		out.MaxPrice, err = ToPrice(*m.MaxPrice)
	}
	return out, err
}

// Market implements [Msg].
func (m *MsgConfirmScale) Market() (market.Msg, error) {
	return market.ConfirmScale{ID: IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid().Lease(), Number: m.Number}, nil
}

// Market implements [Msg].
func (m *MsgDeclineScale) Market() (market.Msg, error) {
	return market.DeclineScale{ID: IDParts{m.Owner, m.Dseq, m.Gseq, m.Oseq, m.Provider}.Bid().Lease(), Number: m.Number}, nil
}

// Market implements [Msg].
func (m *MsgOpenRetainer) Market() (market.Msg, error) {
	price, err1 := ToPrice(m.Price)
	deposit, err2 := ToCoin(m.Deposit)
	id := ToRetainerID(RetainerID{m.Owner, m.Provider, m.Kind, m.Name})
	return market.OpenRetainer{ID: id, Price: price, Deposit: deposit, ExpiresAt: m.ExpiresAt}, first(err1, err2)
}

// Market implements [Msg].
func (m *MsgDepositRetainer) Market() (market.Msg, error) {
	amount, err := ToCoin(m.Amount)
	return market.DepositRetainer{ID: ToRetainerID(RetainerID{m.Owner, m.Provider, m.Kind, m.Name}), Amount: amount}, err
}

// Market implements [Msg].
func (m *MsgWithdrawRetainer) Market() (market.Msg, error) {
	return market.WithdrawRetainer{ID: ToRetainerID(RetainerID{m.Owner, m.Provider, m.Kind, m.Name})}, nil
}

// Market implements [Msg].
func (m *MsgCloseRetainer) Market() (market.Msg, error) {
	return market.CloseRetainer{ID: ToRetainerID(RetainerID{m.Owner, m.Provider, m.Kind, m.Name}), By: market.Address(m.By)}, nil
}
