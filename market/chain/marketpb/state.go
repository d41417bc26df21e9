package marketpb

import (
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// toHash converts a manifest hash.
func toHash(b []byte) (market.Hash, error) {
	var h market.Hash
	if len(b) != market.HashSize {
		return h, fmt.Errorf("marketpb: hash of %d bytes: %w: want %d", len(b), market.ErrInvalid, market.HashSize)
	}
	copy(h[:], b)
	return h, nil
}

// toHashOrNone converts a hash that may be absent.
func toHashOrNone(b []byte) (market.Hash, error) {
	if len(b) == 0 {
		return market.Hash{}, nil
	}
	return toHash(b)
}

// fromHash converts a hash of which zero means none.
func fromHash(h market.Hash) []byte {
	if h == (market.Hash{}) {
		return nil
	}
	return h[:]
}

// first returns the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// FromDeployment converts a deployment.
func FromDeployment(d market.Deployment) Deployment {
	return Deployment{
		Id: FromDeploymentID(d.ID), State: DeploymentState(d.State), Hash: d.Hash[:],
		CreatedAt: d.CreatedAt, ClosedAt: d.ClosedAt,
	}
}

// ToDeployment converts a deployment.
func ToDeployment(d Deployment) (market.Deployment, error) {
	state, err1 := toEnum[market.DeploymentState]("deployment state", int32(d.State))
	hash, err2 := toHash(d.Hash)
	return market.Deployment{
		ID: ToDeploymentID(d.Id), State: state, Hash: hash, CreatedAt: d.CreatedAt, ClosedAt: d.ClosedAt,
	}, first(err1, err2)
}

// FromGroup converts a group.
func FromGroup(g market.Group) Group {
	return Group{
		Id: FromGroupID(g.ID), State: GroupState(g.State), Spec: FromGroupSpec(g.Spec),
		LastOseq: g.LastOSeq, CreatedAt: g.CreatedAt,
	}
}

// ToGroup converts a group.
func ToGroup(g Group) (market.Group, error) {
	state, err1 := toEnum[market.GroupState]("group state", int32(g.State))
	spec, err2 := ToGroupSpec(g.Spec)
	return market.Group{
		ID: ToGroupID(g.Id), State: state, Spec: spec, LastOSeq: g.LastOseq, CreatedAt: g.CreatedAt,
	}, first(err1, err2)
}

// FromOrder converts an order.
func FromOrder(o market.Order) Order {
	return Order{
		Id: FromOrderID(o.ID), State: OrderState(o.State), Spec: FromGroupSpec(o.Spec), Bids: o.Bids,
		CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt, ClosedAt: o.ClosedAt,
	}
}

// ToOrder converts an order.
func ToOrder(o Order) (market.Order, error) {
	state, err1 := toEnum[market.OrderState]("order state", int32(o.State))
	spec, err2 := ToGroupSpec(o.Spec)
	return market.Order{
		ID: ToOrderID(o.Id), State: state, Spec: spec, Bids: o.Bids,
		CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt, ClosedAt: o.ClosedAt,
	}, first(err1, err2)
}

// FromBid converts a bid.
func FromBid(b market.Bid) Bid {
	return Bid{
		Id: FromBidID(b.ID), State: BidState(b.State), Price: FromPrice(b.Price), Units: each(b.Units, fromUnitPrice), Deposit: FromCoin(b.Deposit),
		CreatedAt: b.CreatedAt, ClosedAt: b.ClosedAt,
	}
}

// ToBid converts a bid.
func ToBid(b Bid) (market.Bid, error) {
	state, err1 := toEnum[market.BidState]("bid state", int32(b.State))
	price, err2 := ToPrice(b.Price)
	deposit, err3 := ToCoin(b.Deposit)
	units, err4 := eachErr(b.Units, toUnitPrice)
	return market.Bid{
		ID: ToBidID(b.Id), State: state, Price: price, Units: units, Deposit: deposit,
		CreatedAt: b.CreatedAt, ClosedAt: b.ClosedAt,
	}, first(err1, err2, err3, err4)
}

func fromScale(s *market.Scale) *Scale {
	if s == nil {
		return nil
	}
	return &Scale{
		Number: s.Number, Counts: each(s.Counts, fromCount), Price: FromPrice(s.Price), Hash: fromHash(s.Hash), From: fromHash(s.From),
		RequestedAt: s.RequestedAt, ExpiresAt: s.ExpiresAt,
	}
}

func toScale(s *Scale) (*market.Scale, error) {
	if s == nil {
		return nil, nil
	}
	price, err1 := ToPrice(s.Price)
	hash, err2 := toHashOrNone(s.Hash)
	from, err3 := toHashOrNone(s.From)
	return &market.Scale{
		Number: s.Number, Counts: each(s.Counts, toCount), Price: price, Hash: hash, From: from,
		RequestedAt: s.RequestedAt, ExpiresAt: s.ExpiresAt,
	}, first(err1, err2, err3)
}

// FromLease converts a lease.
func FromLease(l market.Lease) Lease {
	return Lease{
		Id: FromBidID(l.ID.Bid()), State: LeaseState(l.State), Price: FromPrice(l.Price),
		CreatedAt: l.CreatedAt, ClosedAt: l.ClosedAt, Reason: uint32(l.Reason),
		EndsAt: l.EndsAt, Scales: l.Scales, Scale: fromScale(l.Scale),
	}
}

// ToLease converts a lease.
func ToLease(l Lease) (market.Lease, error) {
	state, err1 := toEnum[market.LeaseState]("lease state", int32(l.State))
	price, err2 := ToPrice(l.Price)
	scale, err3 := toScale(l.Scale)
	return market.Lease{
		ID: ToBidID(l.Id).Lease(), State: state, Price: price,
		CreatedAt: l.CreatedAt, ClosedAt: l.ClosedAt, Reason: market.CloseReason(l.Reason),
		EndsAt: l.EndsAt, Scales: l.Scales, Scale: scale,
	}, first(err1, err2, err3)
}

func fromDeposit(d market.Deposit) Deposit {
	return Deposit{Depositor: string(d.Depositor), Height: d.Height, Balance: FromCoin(d.Balance)}
}

func toDeposit(d Deposit) (market.Deposit, error) {
	balance, err := ToCoin(d.Balance)
	return market.Deposit{Depositor: market.Address(d.Depositor), Height: d.Height, Balance: balance}, err
}

// FromAccount converts an escrow account.
func FromAccount(a market.Account) Account {
	return Account{
		Id: FromDeploymentID(a.ID), State: AccountState(a.State), Deposits: each(a.Deposits, fromDeposit),
		Transferred: FromCoins(a.Transferred), SettledAt: a.SettledAt, OverdrawnAt: a.OverdrawnAt, DueAt: a.DueAt,
	}
}

// ToAccount converts an escrow account.
func ToAccount(a Account) (market.Account, error) {
	state, err1 := toEnum[market.AccountState]("account state", int32(a.State))
	deposits, err2 := eachErr(a.Deposits, toDeposit)
	transferred, err3 := ToCoins(a.Transferred)
	return market.Account{
		ID: ToDeploymentID(a.Id), State: state, Deposits: deposits, Transferred: transferred,
		SettledAt: a.SettledAt, OverdrawnAt: a.OverdrawnAt, DueAt: a.DueAt,
	}, first(err1, err2, err3)
}

// FromPayment converts a payment.
func FromPayment(p market.Payment) Payment {
	return Payment{
		Id: FromBidID(p.ID.Bid()), State: AccountState(p.State), Price: FromPrice(p.Price),
		Balance: p.Balance.String(), Fraction: p.Fraction.String(), Withdrawn: p.Withdrawn.String(),
		Unpaid: p.Unpaid.String(), FeeCarry: p.FeeCarry, OverdrawnAt: p.OverdrawnAt, EndsAt: p.EndsAt,
	}
}

// ToPayment converts a payment.
func ToPayment(p Payment) (market.Payment, error) {
	state, err1 := toEnum[market.AccountState]("payment state", int32(p.State))
	price, err2 := ToPrice(p.Price)
	balance, err3 := toAmount(p.Balance)
	fraction, err4 := toDecimal(p.Fraction)
	withdrawn, err5 := toAmount(p.Withdrawn)
	unpaid, err6 := toAmount(p.Unpaid)
	return market.Payment{
		ID: ToBidID(p.Id).Lease(), State: state, Price: price, Balance: balance, Fraction: fraction,
		Withdrawn: withdrawn, Unpaid: unpaid, FeeCarry: p.FeeCarry, OverdrawnAt: p.OverdrawnAt, EndsAt: p.EndsAt,
	}, first(err1, err2, err3, err4, err5, err6)
}

// FromRetainer converts a retainer.
func FromRetainer(r market.Retainer) Retainer {
	return Retainer{
		Id: FromRetainerID(r.ID), State: RetainerState(r.State), Price: FromPrice(r.Price), Funds: r.Funds.String(),
		Balance: r.Balance.String(), Fraction: r.Fraction.String(), Withdrawn: r.Withdrawn.String(), FeeCarry: r.FeeCarry,
		Unpaid: r.Unpaid.String(), CreatedAt: r.CreatedAt, SettledAt: r.SettledAt, ExpiresAt: r.ExpiresAt, DueAt: r.DueAt,
		ClosedAt: r.ClosedAt, Reason: uint32(r.Reason),
	}
}

// ToRetainer converts a retainer.
func ToRetainer(r Retainer) (market.Retainer, error) {
	state, err1 := toEnum[market.RetainerState]("retainer state", int32(r.State))
	price, err2 := ToPrice(r.Price)
	funds, err3 := toAmount(r.Funds)
	balance, err4 := toAmount(r.Balance)
	fraction, err5 := toDecimal(r.Fraction)
	withdrawn, err6 := toAmount(r.Withdrawn)
	unpaid, err7 := toAmount(r.Unpaid)
	return market.Retainer{
		ID: ToRetainerID(r.Id), State: state, Price: price, Funds: funds, Balance: balance, Fraction: fraction,
		Withdrawn: withdrawn, FeeCarry: r.FeeCarry, Unpaid: unpaid, CreatedAt: r.CreatedAt, SettledAt: r.SettledAt,
		ExpiresAt: r.ExpiresAt, DueAt: r.DueAt, ClosedAt: r.ClosedAt, Reason: market.CloseReason(r.Reason),
	}, first(err1, err2, err3, err4, err5, err6, err7)
}

// FromProvider converts a provider.
func FromProvider(p market.Provider) Provider {
	return Provider{
		Owner: string(p.Owner), HostUri: p.HostURI, Attributes: FromAttributes(p.Attributes),
		Email: p.Email, Website: p.Website, CreatedAt: p.CreatedAt,
	}
}

// ToProvider converts a provider.
func ToProvider(p Provider) (market.Provider, error) {
	return market.Provider{
		Owner: market.Address(p.Owner), HostURI: p.HostUri, Attributes: ToAttributes(p.Attributes),
		Email: p.Email, Website: p.Website, CreatedAt: p.CreatedAt,
	}, nil
}

// FromCertificate converts a certificate.
func FromCertificate(c market.Certificate) Certificate {
	return Certificate{
		Id:    CertificateID{Owner: string(c.ID.Owner), Serial: c.ID.Serial},
		State: CertificateState(c.State), Der: c.DER, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
	}
}

// ToCertificate converts a certificate. Times are UTC.
func ToCertificate(c Certificate) (market.Certificate, error) {
	state, err := toEnum[market.CertificateState]("certificate state", int32(c.State))
	return market.Certificate{
		ID:    market.CertificateID{Owner: market.Address(c.Id.Owner), Serial: c.Id.Serial},
		State: state, DER: c.Der, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
	}, err
}

// FromAudit converts an audit.
func FromAudit(a market.Audit) Audit {
	return Audit{
		Id:         AuditID{Provider: string(a.ID.Provider), Auditor: string(a.ID.Auditor)},
		Attributes: FromAttributes(a.Attributes), ExpiresAt: fromTime(a.ExpiresAt),
	}
}

// ToAudit converts an audit.
func ToAudit(a Audit) (market.Audit, error) {
	return market.Audit{
		ID:         market.AuditID{Provider: market.Address(a.Id.Provider), Auditor: market.Address(a.Id.Auditor)},
		Attributes: ToAttributes(a.Attributes), ExpiresAt: toTime(a.ExpiresAt),
	}, nil
}

// fromTime converts a time of which zero means none.
func fromTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func toTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
