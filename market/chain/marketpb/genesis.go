package marketpb

import (
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// FromGenesis converts parameters and a whole state.
func FromGenesis(p market.Params, g machine.Genesis) *GenesisState {
	return &GenesisState{
		Params:      FromParams(p),
		Deployments: each(g.Deployments, FromDeployment), Groups: each(g.Groups, FromGroup),
		Orders: each(g.Orders, FromOrder), Bids: each(g.Bids, FromBid), Leases: each(g.Leases, FromLease),
		Accounts: each(g.Accounts, FromAccount), Payments: each(g.Payments, FromPayment),
		Providers: each(g.Providers, FromProvider), Certificates: each(g.Certificates, FromCertificate),
		Audits: each(g.Audits, FromAudit), Retainers: each(g.Retainers, FromRetainer),
	}
}

// ToGenesis converts parameters, which it checks, and a whole state, which it
// does not.
func ToGenesis(s *GenesisState) (market.Params, machine.Genesis, error) {
	var g machine.Genesis
	p, err := ToParams(s.Params)
	for _, step := range []func() error{
		func() error { return fill(&g.Deployments, s.Deployments, ToDeployment) },
		func() error { return fill(&g.Groups, s.Groups, ToGroup) },
		func() error { return fill(&g.Orders, s.Orders, ToOrder) },
		func() error { return fill(&g.Bids, s.Bids, ToBid) },
		func() error { return fill(&g.Leases, s.Leases, ToLease) },
		func() error { return fill(&g.Accounts, s.Accounts, ToAccount) },
		func() error { return fill(&g.Payments, s.Payments, ToPayment) },
		func() error { return fill(&g.Providers, s.Providers, ToProvider) },
		func() error { return fill(&g.Certificates, s.Certificates, ToCertificate) },
		func() error { return fill(&g.Audits, s.Audits, ToAudit) },
		func() error { return fill(&g.Retainers, s.Retainers, ToRetainer) },
	} {
		if err == nil {
			err = step()
		}
	}
	return p, g, err
}

func fill[A, B any](into *[]B, in []A, convert func(A) (B, error)) (err error) {
	*into, err = eachErr(in, convert)
	return err
}
