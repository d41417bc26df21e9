package providertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/memannouncer"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// Addresses are leased addresses under test: two at least, and whatever makes them
// reachable.
type Addresses struct {
	Pools []iplease.Pool
	// Open returns the announcer as a new process finds it.
	Open func() (ipdriver.Announcer, error)
}

// MemoryAddresses are four addresses on a network in memory.
func MemoryAddresses(testing.TB) Addresses {
	n := memannouncer.NewNetwork(memannouncer.Config{})
	first := netip.AddrFrom4([4]byte{203, 0, 113, 8})
	return Addresses{
		Pools: []iplease.Pool{{Name: "public", Ranges: []iplease.Range{{First: first, Last: first.Next().Next().Next()}}}},
		Open:  func() (ipdriver.Announcer, error) { return n.Announcer(), nil },
	}
}

// rest is how long an address rests in the cases.
const rest = 10 * time.Second

// leaseAddresses has the providers that start from now on lease addresses.
func (e *Env) leaseAddresses() { e.leasing = true }

// announcer opens the network for a provider; nil when none are leased.
func (e *Env) announcer(crash *Crasher, cfg *provider.Config) (ipdriver.Announcer, error) {
	if !e.leasing {
		return nil, nil //nolint:nilnil // none is no fault
	}
	a, err := e.addresses.Open()
	if err != nil {
		return nil, err
	}
	cfg.Addresses = &provider.Addresses{Pools: e.addresses.Pools, Announcer: crash.Announcer(a), Cooling: rest}
	return a, nil
}

// endpoint is the name of the leased address in plans.
const endpoint = "front"

// ipPlan is a plan with a port of a leased address beside the web page.
func (e *Env) ipPlan(version string, port uint16) tenant.Plan {
	return e.namedPlan(version, endpoint, port)
}

// namedPlan is [Env.ipPlan] with an address of another name.
func (e *Env) namedPlan(version, name string, port uint16) tenant.Plan {
	p := e.plan(version, 0, 0)
	s := &p.Manifest[0].Services[0]
	s.Resources.Endpoints = append(s.Resources.Endpoints,
		market.Endpoint{Kind: market.EndpointRandomPort}, market.Endpoint{Kind: market.EndpointLeasedIP, SequenceNumber: 1})
	x := s.Expose[0]
	x.Port, x.ExternalPort, x.IP, x.EndpointSequenceNumber = 8080, uint32(port), name, 1
	s.Expose = append(s.Expose, x)
	p.Groups[0].Units[0].Resources = s.Resources
	var err error
	if p.Hash, err = p.Manifest.Version(); err != nil {
		panic(err) // a manifest made here is sound
	}
	return p
}

// leased is what a lease has of its leased address.
func (e *Env) leased(ctx context.Context, id market.LeaseID) (api.LeasedIP, error) {
	st, err := e.LeaseStatus(ctx, id)
	if err != nil {
		return api.LeasedIP{}, err
	}
	if len(st.IPs) != 1 {
		return api.LeasedIP{}, fmt.Errorf("%d leased addresses, asked for was one", len(st.IPs))
	}
	return st.IPs[0], nil
}

// awaitPort waits until a port of a lease's address is announced, and returns the
// address.
func (e *Env) awaitPort(ctx context.Context, id market.LeaseID, port uint16) (at netip.Addr, err error) {
	err = e.Await(ctx, fmt.Sprintf("port %d of a leased address leads to %s", port, id), func() (bool, error) {
		ip, err := e.leased(ctx, id)
		if err != nil || ip.State != api.IPBound || len(ip.Ports) != 1 {
			return false, err
		}
		at = ip.Ports[0].Address
		return ip.Ports[0].ExternalPort == port && ip.Ports[0].State == ipdriver.Announced.String(), nil
	})
	return at, err
}

// awaitWithheld waits until a lease is told that another deployment has its
// address.
func (e *Env) awaitWithheld(ctx context.Context, id market.LeaseID, holder market.DeploymentID) error {
	return e.Await(ctx, fmt.Sprintf("the address is withheld from %s", id), func() (bool, error) {
		ip, err := e.leased(ctx, id)
		return err == nil && ip.State == api.IPWithheld && ip.Holder != nil && *ip.Holder == holder, err
	})
}

// move has the address moved to a lease, whatever it takes.
func (e *Env) move(ctx context.Context, to market.LeaseID) error {
	return e.Await(ctx, "the address is moved", func() (bool, error) {
		p, err := e.Provider()
		if err != nil {
			return false, err
		}
		results, err := p.MigrateEndpoints(ctx, to, []string{endpoint})
		if err != nil {
			return false, err
		}
		if results[0].Rule != "" {
			return false, fmt.Errorf("%s: %s", results[0].Rule, results[0].Detail)
		}
		return true, nil
	})
}

// liveWithAddress takes an address through two deployments: bound, its port
// replaced, moved, and given back.
func (e *Env) liveWithAddress(ctx context.Context) error {
	first, err := e.Tenant.Deploy(ctx, e.ipPlan("1", 9000))
	if err != nil {
		return err
	}
	at, err := e.awaitPort(ctx, first.Leases[0], 9000)
	if err != nil {
		return err
	}
	if _, err := e.Tenant.Update(ctx, first.Deployment, e.ipPlan("2", 9001)); err != nil {
		return err
	}
	second, err := e.Tenant.Deploy(ctx, e.ipPlan("3", 9002))
	if err != nil {
		return err
	}
	same := func(id market.LeaseID, port uint16) error {
		now, err := e.awaitPort(ctx, id, port)
		if err == nil && now != at {
			err = fmt.Errorf("the address was %s and is %s", at, now)
		}
		return err
	}
	return inOrder(
		func() error { return same(first.Leases[0], 9001) },
		func() error { return e.awaitWithheld(ctx, second.Leases[0], first.Deployment) },
		func() error { return e.move(ctx, second.Leases[0]) },
		func() error { return same(second.Leases[0], 9002) },
		func() error { return e.awaitWithheld(ctx, first.Leases[0], second.Deployment) },
		func() error { return e.Tenant.Close(ctx, first.Deployment) },
		func() error { return same(second.Leases[0], 9002) },
		func() error { return e.gone(ctx, second.Deployment) },
		func() error { return e.silent(ctx) },
	)
}

func inOrder(steps ...func() error) error {
	for _, f := range steps {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// silent waits until nothing is announced and every address is free.
func (e *Env) silent(ctx context.Context) error {
	return e.Await(ctx, "every address is free", func() (bool, error) {
		a, err := e.addresses.Open()
		if err != nil {
			return false, err
		}
		ids, err := a.List(ctx)
		if err = errors.Join(err, a.Close()); err != nil || len(ids) > 0 {
			return false, err
		}
		return e.inUse(ctx, 0)
	})
}

// awaitFree waits until n addresses are in use.
func (e *Env) awaitFree(ctx context.Context, what string, n uint64) error {
	return e.Await(ctx, what, func() (bool, error) { return e.inUse(ctx, n) })
}

// inUse reports whether n addresses are in use, no more and no less.
func (e *Env) inUse(ctx context.Context, n uint64) (bool, error) {
	p, err := e.Provider()
	if err != nil {
		return false, err
	}
	o, err := p.Overview(ctx)
	var used uint64
	for _, c := range o.Addresses {
		used += c.Size - c.Free
	}
	return err == nil && used == n, err
}

func addressCases() []Case {
	return []Case{
		{
			Name: "claims in the store", Clause: "A store keeps claims, replaces those with the same key and forgets those that are free, also across processes.",
			Check: checkClaims,
		},
		{
			Name:   "an address moves",
			Clause: "A leased address stays through an update, is withheld from a second deployment, moves to it, and is free in the end.",
			Check: func(ctx context.Context, e *Env) error {
				e.leaseAddresses()
				if _, err := e.Start(ctx, 0, false, nil); err != nil {
					return err
				}
				return e.liveWithAddress(ctx)
			},
		},
		{
			Name:   "restarted with an address",
			Clause: "A leased address is the same after a restart, also where another one would be given now.",
			Check:  checkKeptAddress,
		},
		{
			Name:   "crash at any step with an address",
			Clause: "Wherever the provider dies, before a step or after it, a leased address comes to where it belongs and nothing is left announced.",
			Check: func(ctx context.Context, e *Env) error {
				e.leaseAddresses()
				return e.everyStep(ctx, e.liveWithAddress)
			},
		},
	}
}

// checkKeptAddress has the first of two addresses given back, so that it would be
// the next one to be given, before the provider is started again.
func checkKeptAddress(ctx context.Context, e *Env) error {
	e.leaseAddresses()
	if _, err := e.Start(ctx, 0, false, nil); err != nil {
		return err
	}
	first, err := e.Tenant.Deploy(ctx, e.namedPlan("1", "first", 9000))
	if err != nil {
		return err
	}
	second, err := e.Tenant.Deploy(ctx, e.namedPlan("2", "second", 9001))
	if err != nil {
		return err
	}
	var before, after netip.Addr
	return inOrder(
		func() (err error) { before, err = e.awaitPort(ctx, second.Leases[0], 9001); return err },
		func() error { return e.Tenant.Close(ctx, first.Deployment) },
		func() error { return e.awaitFree(ctx, "only one address is in use", 1) },
		func() error { return e.Restart(ctx) },
		func() (err error) { after, err = e.awaitPort(ctx, second.Leases[0], 9001); return err },
		func() error {
			if before != after {
				return fmt.Errorf("the address was %s and is %s", before, after)
			}
			return nil
		},
		func() error { return e.gone(ctx, second.Deployment) },
		func() error { return e.silent(ctx) },
	)
}

// checkClaims writes claims and reads them as another process.
func checkClaims(_ context.Context, e *Env) error {
	one := iplease.Record{
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, 8})}, State: iplease.Cooling, Owner: "tenant", Name: "one",
		Until: time.Unix(1_800_000_000, 0).UTC(), Revision: 1,
	}
	two := one
	two.Name, two.Addresses = "two", []netip.Addr{one.Key().Next()}
	newer := one
	newer.Revision = 2
	over := two
	over.State = iplease.Free
	for _, batch := range [][]iplease.Record{{one, two}, {newer, over}} {
		if err := e.claims(func(s provider.AddressStore) error { return s.SaveClaims(batch...) }); err != nil {
			return err
		}
	}
	return e.claims(func(s provider.AddressStore) error {
		have, err := s.LoadClaims()
		if err == nil && (len(have) != 1 || have[0].Key() != one.Key() || have[0].Revision != 2 || !have[0].Until.Equal(one.Until)) {
			err = fmt.Errorf("kept are %+v, want %+v", have, newer)
		}
		return err
	})
}

// claims opens the store for one use of it.
func (e *Env) claims(f func(provider.AddressStore) error) error {
	s, err := e.store()
	if err != nil {
		return err
	}
	a, ok := s.(provider.AddressStore)
	if !ok {
		return errors.Join(errors.New("the store keeps no claims"), s.Close())
	}
	return errors.Join(f(a), s.Close())
}
