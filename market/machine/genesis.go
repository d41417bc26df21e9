package machine

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

// Genesis is a whole [State] as a value, each list sorted by key. Timers and
// refs are not part of it: they follow from the rest.
type Genesis struct {
	Deployments  []market.Deployment  `json:"deployments"`
	Groups       []market.Group       `json:"groups"`
	Orders       []market.Order       `json:"orders"`
	Bids         []market.Bid         `json:"bids"`
	Leases       []market.Lease       `json:"leases"`
	Accounts     []market.Account     `json:"accounts"`
	Payments     []market.Payment     `json:"payments"`
	Retainers    []market.Retainer    `json:"retainers"`
	Providers    []market.Provider    `json:"providers"`
	Certificates []market.Certificate `json:"certificates"`
	Audits       []market.Audit       `json:"audits"`
}

// Export reads a whole state. It is not bounded: it is for the end of a chain,
// not for queries.
func Export(s State) (Genesis, error) {
	var g Genesis
	for _, read := range []func() error{
		func() error { return exportTable(s.Deployments, &g.Deployments) },
		func() error { return exportTable(s.Groups, &g.Groups) },
		func() error { return exportTable(s.Orders, &g.Orders) },
		func() error { return exportTable(s.Bids, &g.Bids) },
		func() error { return exportTable(s.Leases, &g.Leases) },
		func() error { return exportTable(s.Accounts, &g.Accounts) },
		func() error { return exportTable(s.Payments, &g.Payments) },
		func() error { return exportTable(s.Retainers, &g.Retainers) },
		func() error { return exportTable(s.Providers, &g.Providers) },
		func() error { return exportTable(s.Certificates, &g.Certificates) },
		func() error { return exportTable(s.Audits, &g.Audits) },
	} {
		if err := read(); err != nil {
			return Genesis{}, err
		}
	}
	return g, nil
}

func exportTable[K Key, V any](t Table[K, V], into *[]V) (err error) {
	*into, err = collect(t.Scan(nil, nil))
	return err
}

// Import writes a genesis into an empty state and derives timers and indexes.
// It trusts the values: call [Check] afterwards, with what the pot holds.
func Import(s State, g Genesis) error {
	for _, write := range []func() error{
		func() error {
			return importTable(s.Deployments, g.Deployments, func(v market.Deployment) market.DeploymentID { return v.ID })
		},
		func() error {
			return importTable(s.Groups, g.Groups, func(v market.Group) market.GroupID { return v.ID })
		},
		func() error {
			return importTable(s.Orders, g.Orders, func(v market.Order) market.OrderID { return v.ID })
		},
		func() error { return importTable(s.Bids, g.Bids, func(v market.Bid) market.BidID { return v.ID }) },
		func() error {
			return importTable(s.Leases, g.Leases, func(v market.Lease) market.LeaseID { return v.ID })
		},
		func() error {
			return importTable(s.Accounts, g.Accounts, func(v market.Account) market.DeploymentID { return v.ID })
		},
		func() error {
			return importTable(s.Payments, g.Payments, func(v market.Payment) market.LeaseID { return v.ID })
		},
		func() error {
			return importTable(s.Retainers, g.Retainers, func(v market.Retainer) market.RetainerID { return v.ID })
		},
		func() error {
			return importTable(s.Providers, g.Providers, func(v market.Provider) market.Address { return v.Owner })
		},
		func() error {
			return importTable(s.Certificates, g.Certificates, func(v market.Certificate) market.CertificateID { return v.ID })
		},
		func() error {
			return importTable(s.Audits, g.Audits, func(v market.Audit) market.AuditID { return v.ID })
		},
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return derive(s, g)
}

func importTable[K Key, V any](t Table[K, V], rows []V, id func(V) K) error {
	for _, v := range rows {
		k := id(v)
		_, taken, err := lookup(t, k)
		if err != nil {
			return err
		}
		if taken {
			return fmt.Errorf("machine: genesis: %v: %w", k, market.ErrExists)
		}
		if err := t.Set(k, v); err != nil {
			return err
		}
	}
	return nil
}

// Reindex writes the indexes and timers that the rows call for, as a migration does
// to a state in which some are not kept yet. It reads the whole state, and removes
// nothing.
func Reindex(s State) error {
	g, err := Export(s)
	if err != nil {
		return err
	}
	return derive(s, g)
}

// derive writes the timers and refs of a genesis.
func derive(s State, g Genesis) error {
	refs, timers := derived(g)
	for _, r := range refs {
		if err := s.Refs.Set(r, r); err != nil {
			return err
		}
	}
	for _, t := range timers {
		if err := s.Timers.Set(t, t); err != nil {
			return err
		}
	}
	return nil
}

// derived returns the refs and timers that belong to a state, in no particular
// order.
func derived(g Genesis) (refs []Ref, timers []Timer) {
	for _, d := range g.Deployments {
		if d.State == market.DeploymentActive {
			refs = append(refs, Ref{Kind: RefActiveDeployment, ID: deploymentEvent(d.ID)})
		}
	}
	for _, a := range g.Audits {
		refs = append(refs, Ref{Kind: RefAuditorAudit, ID: auditRef(a.ID)})
	}
	for _, o := range g.Orders {
		if o.State == market.OrderOpen {
			refs = append(refs, Ref{Kind: RefOpenOrder, ID: market.LeaseID{OrderID: o.ID}})
			if o.ExpiresAt != 0 {
				timers = append(timers, orderTimer(o))
			}
		}
	}
	for _, b := range g.Bids {
		refs = append(refs, bidRefs(b)...)
	}
	for _, p := range g.Payments {
		switch {
		case !p.State.Terminal():
			refs = append(refs, Ref{Kind: RefOpenPayment, ID: p.ID})
		case !p.Unpaid.IsZero():
			refs = append(refs, Ref{Kind: RefOwedPayment, ID: p.ID})
		}
	}
	for _, a := range g.Accounts {
		if a.DueAt != 0 {
			timers = append(timers, accountTimer(a.DueAt, a.ID))
		}
	}
	for _, l := range g.Leases {
		timers = append(timers, leaseTimers(l)...)
	}
	for _, r := range g.Retainers {
		refs = append(refs, retainerRefs(r)...)
		timers = append(timers, retainerTimers(r)...)
	}
	return refs, timers
}

// bidRefs returns the refs of a bid in its state.
func bidRefs(b market.Bid) []Ref {
	id := b.ID.Lease()
	refs := []Ref{{Kind: RefProviderBid, ID: id}}
	switch b.State {
	case market.BidOpen:
		return append(refs, Ref{Kind: RefLiveBid, ID: id}, Ref{Kind: RefOpenBid, ID: id})
	case market.BidWon:
		return append(refs, Ref{Kind: RefLiveBid, ID: id})
	default:
		return refs
	}
}
