package sim_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/internal/sim"
	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
)

// keeps is a cluster that deletes nothing.
type keeps struct{ provider.Cluster }

func (keeps) Delete(context.Context, market.LeaseID) error { return nil }

// single is a cluster that runs one replica of everything.
type single struct{ provider.Cluster }

func (k single) Apply(ctx context.Context, w driver.Workload) error {
	w = w.Clone()
	for i := range w.Group.Services {
		w.Group.Services[i].Count = 1
	}
	return k.Cluster.Apply(ctx, w)
}

// inert is a market that pretends to close bids and to scale.
type inert struct{ market.Client }

func (m inert) Submit(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
	if _, ok := msgs[0].(market.ConfirmScale); ok {
		return market.Receipt{}, nil
	}
	if _, ok := msgs[0].(market.CloseBid); ok {
		return market.Receipt{}, nil
	}
	return m.Client.Submit(ctx, msgs...)
}

// amnesia is a store that has lost what was accepted when a process begins.
type amnesia struct{ provider.Store }

func (s amnesia) Load() ([]provider.Record, error) {
	rs, err := s.Store.Load()
	for i := range rs {
		rs[i].Manifest, rs[i].Revision = nil, 0
	}
	return rs, err
}

// sticky is an announcer that withdraws nothing.
type sticky struct{ ipdriver.Announcer }

func (sticky) Withdraw(context.Context, iplease.ClaimID) error { return nil }

// onePort is an announcer that carries the first port of a claim alone.
type onePort struct{ ipdriver.Announcer }

func (f onePort) Apply(ctx context.Context, a ipdriver.Announcement) error {
	a = a.Clone()
	a.Ports = a.Ports[:1]
	return f.Announcer.Apply(ctx, a)
}

// forgetful is a store that has lost the claims when a process begins.
type forgetful struct{ provider.Store }

func (s forgetful) SaveClaims(rs ...iplease.Record) error {
	return s.Store.(provider.AddressStore).SaveClaims(rs...)
}

func (forgetful) LoadClaims() ([]iplease.Record, error) { return nil, nil }

// leasing changes what a provider leases addresses with, if it leases any.
func leasing(change func(*provider.Addresses)) func(*provider.Config) {
	return func(c *provider.Config) {
		if c.Addresses != nil {
			change(c.Addresses)
		}
	}
}

// Each of these breaks what the simulation watches over; some seed of forty must
// show it.
func TestWhatIsBrokenIsNoticed(t *testing.T) {
	for name, change := range map[string]func(*provider.Config){
		"workloads are never deleted":          func(c *provider.Config) { c.Cluster = keeps{c.Cluster} },
		"one replica, whatever was ordered":    func(c *provider.Config) { c.Cluster = single{c.Cluster} },
		"leases are not closed when they must": func(c *provider.Config) { c.Market = inert{c.Market} },
		"accepted manifests are lost":          func(c *provider.Config) { c.Store = amnesia{c.Store} },
		"addresses are never withdrawn":        leasing(func(a *provider.Addresses) { a.Announcer = sticky{a.Announcer} }),
		"one port of an address is announced":  leasing(func(a *provider.Addresses) { a.Announcer = onePort{a.Announcer} }),
		"addresses do not rest":                leasing(func(a *provider.Addresses) { a.Cooling = 1 }),
		"claims are lost":                      func(c *provider.Config) { c.Store = forgetful{c.Store} },
	} {
		t.Run(name, func(t *testing.T) {
			noticed := false
			for seed := uint64(1); seed <= 40 && !noticed; seed++ {
				synctest.Test(t, func(t *testing.T) {
					_, err := sim.Run(t.Context(), sim.Config{
						Seed: seed, Blocks: 300, Tenants: 6, Providers: 2, FaultPercent: 2, Change: change,
					})
					noticed = err != nil
				})
			}
			require.True(t, noticed)
		})
	}
}
