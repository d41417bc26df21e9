package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// buyer is a tenant with a source of its own.
type buyer struct {
	*tenant.Tenant
	w      *world
	rng    *rand.Rand
	market market.Client
}

func (w *world) newBuyer(i int) *buyer {
	owner := tenantName(i)
	c := w.market.FaultyClient(owner, w.faults(owner))
	t, err := tenant.New(tenant.Config{
		Market: c, Dial: w.dial(owner), BidTimeout: 20 * time.Second, ReadyTimeout: 2 * time.Minute,
	})
	if err != nil {
		panic(err) // the configuration above is complete
	}
	return &buyer{t, w, w.source("tenant", i), c}
}

// run deploys, updates, scales, moves, parks and closes until the faults end; what it has then
// stays.
func (b *buyer) run(ctx context.Context) {
	for ctx.Err() == nil && !b.w.isCalm() {
		b.live(ctx)
		wait(ctx, time.Duration(1+b.rng.IntN(30))*time.Second)
	}
}

// live is the life of one deployment. Tenants here do not clean up after
// failures of their own: that money is found again is the market's affair.
func (b *buyer) live(ctx context.Context) {
	plan := b.plan(1)
	r, err := b.Deploy(ctx, plan)
	if err != nil {
		b.w.count(func(s *Stats) { s.Failed++ })
		return
	}
	b.w.count(func(s *Stats) { s.Deployed++; s.Leases += len(r.Leases) })
	for version := range 2 + b.rng.IntN(3) {
		wait(ctx, time.Duration(b.rng.IntN(60))*time.Second)
		switch b.rng.IntN(3) {
		case 0:
			b.scale(ctx, r, plan)
			continue
		case 1:
			b.address(ctx, r, plan)
			continue
		}
		next := plan
		next.Manifest = edition(plan, 2+version)
		if next.Hash, err = next.Manifest.Version(); err != nil {
			panic(err) // a manifest made here is sound
		}
		if _, err := b.Update(ctx, r.Deployment, next); err == nil {
			b.w.count(func(s *Stats) { s.Updated++ })
		}
	}
	wait(ctx, time.Duration(b.rng.IntN(60))*time.Second)
	if b.rng.IntN(8) == 0 {
		return // forgets it: it runs until its money is spent
	}
	if err := b.Close(ctx, r.Deployment); err == nil {
		b.w.count(func(s *Stats) { s.Closed++ })
	}
}

// scale asks for other numbers of replicas and does not wait for the answer.
func (b *buyer) scale(ctx context.Context, r tenant.Running, plan tenant.Plan) {
	for _, id := range r.Leases {
		ask := market.ScaleLease{ID: id}
		for _, u := range plan.Groups[0].Units {
			if low, high := u.Bounds(); low != high {
				ask.Counts = append(ask.Counts, market.UnitCount{Unit: u.ID, Count: low + uint32(b.rng.IntN(int(high-low)+1))})
			}
		}
		if len(ask.Counts) == 0 {
			continue
		}
		if _, err := b.market.Submit(ctx, ask); err == nil {
			b.w.count(func(s *Stats) { s.Scaled++ })
		}
	}
}

// plan asks for one or two small services.
func (b *buyer) plan(version int) tenant.Plan {
	spec := market.GroupSpec{Name: "g", ReclaimBlocks: int64(30 * b.rng.IntN(2))}
	group := manifest.Group{Name: "g"}
	for i := range 1 + b.rng.IntN(2) {
		r := market.Resources{
			ID: uint32(i + 1), CPU: market.CPU{MilliCores: 100 * uint64(1+b.rng.IntN(8))},
			Memory:    market.Memory{Bytes: uint64(1+b.rng.IntN(8)) * 128 << 20},
			Storage:   []market.Volume{{Name: "default", Bytes: 1 << 30}},
			Endpoints: []market.Endpoint{{Kind: market.EndpointRandomPort}},
		}
		count := uint32(1 + b.rng.IntN(3))
		low, high := uint32(0), uint32(0)
		if b.rng.IntN(2) == 0 {
			low, high = 1, count+uint32(b.rng.IntN(3))
		}
		spec.Units = append(spec.Units, market.ResourceUnit{
			Resources: r, Count: count, MinCount: low, MaxCount: high, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(100)},
		})
		group.Services = append(group.Services, manifest.Service{
			Name: fmt.Sprintf("s%d", i), Image: "image:1", Resources: r, Count: count,
			Env: []string{fmt.Sprintf("VERSION=%d", version)},
			Expose: []manifest.Expose{{
				Port: 8080, Proto: manifest.TCP, Global: true,
				HTTPOptions: manifest.HTTPOptions{
					MaxBodySize: 1 << 20, ReadTimeout: 60000, SendTimeout: 60000, NextTries: 3,
					NextCases: []string{"error", "timeout"},
				},
			}},
		})
	}
	b.leaseAddresses(&spec, &group)
	p := tenant.Plan{Groups: []market.GroupSpec{spec}, Manifest: manifest.Manifest{group}}
	var err error
	if p.Hash, err = p.Manifest.Version(); err != nil {
		panic(err) // a manifest made here is sound
	}
	return p
}

// edition is a plan's manifest in another version: also with other ports at its
// leased addresses.
func edition(p tenant.Plan, version int) manifest.Manifest {
	g := p.Manifest[0]
	services := append([]manifest.Service(nil), g.Services...)
	for i := range services {
		services[i].Env = []string{fmt.Sprintf("VERSION=%d", version)}
		services[i].Expose = slices.Clone(services[i].Expose)
		for j := range services[i].Expose {
			if e := &services[i].Expose[j]; e.IP != "" {
				e.ExternalPort = leasedPort(i) + uint32(version)
			}
		}
	}
	return manifest.Manifest{{Name: g.Name, Services: services}}
}

// leasedPort is the first port of a service at a leased address.
func leasedPort(service int) uint32 { return uint32(9000 + 100*service) }

// leaseAddresses has services ask for one or two leased addresses, or for none.
// Names come again, so that deployments meet in them.
func (b *buyer) leaseAddresses(spec *market.GroupSpec, group *manifest.Group) {
	n := b.rng.IntN(3)
	if n > 0 && b.rng.IntN(2) == 0 {
		spec.Requirements.Attributes = market.Attributes{{Key: "capabilities/ip-lease/family/dual", Value: "true"}}
	}
	for i := range group.Services {
		s := &group.Services[i]
		for _, proto := range []manifest.Protocol{manifest.TCP, manifest.UDP} { // the order in which a manifest has them
			for number, name := range []string{"one", "two"}[:n] {
				e := s.Expose[0]
				e.IP, e.EndpointSequenceNumber, e.Proto, e.ExternalPort = name, uint32(number+1), proto, leasedPort(i)
				s.Expose = append(s.Expose, e)
				s.Resources.Endpoints = append(s.Resources.Endpoints,
					market.Endpoint{Kind: market.EndpointRandomPort}, market.Endpoint{Kind: market.EndpointLeasedIP, SequenceNumber: uint32(number + 1)})
			}
		}
		spec.Units[i].Resources = s.Resources
	}
}

// address moves an endpoint to a deployment, has it parked, or lets it go.
func (b *buyer) address(ctx context.Context, r tenant.Running, plan tenant.Plan) {
	lease := r.Leases[0]
	var names []string
	for _, e := range plan.Manifest[0].Services[0].Expose {
		if e.IP != "" && !slices.Contains(names, e.IP) {
			names = append(names, e.IP)
		}
	}
	gate, err := b.w.dial(b.market.Address())(market.Provider{Owner: lease.Provider})
	if err != nil || len(names) == 0 {
		return
	}
	name := names[b.rng.IntN(len(names))]
	switch b.rng.IntN(4) {
	case 0:
		_, _ = b.market.Submit(ctx, market.OpenRetainer{
			ID:    market.RetainerID{Owner: b.market.Address(), Provider: lease.Provider, Kind: api.RetainerKind, Name: name},
			Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(parkPrice)}, Deposit: market.NewCoin("uact", 5_000_000),
		})
	case 1:
		gate.(door).release(ctx, name)
	default:
		b.replace(ctx, r, plan, names)
	}
}

// replace deploys the same again, has the endpoints moved there if both are at one
// provider, and closes the old deployment or the new one.
func (b *buyer) replace(ctx context.Context, r tenant.Running, plan tenant.Plan, names []string) {
	next, err := b.Deploy(ctx, plan)
	if err != nil {
		return
	}
	b.w.count(func(s *Stats) { s.Deployed++; s.Leases += len(next.Leases) })
	at, err := b.w.dial(b.market.Address())(market.Provider{Owner: next.Leases[0].Provider})
	if err == nil && next.Leases[0].Provider == r.Leases[0].Provider {
		wait(ctx, time.Duration(b.rng.IntN(20))*time.Second)
		at.(door).move(ctx, next.Leases[0], names)
		wait(ctx, time.Duration(b.rng.IntN(20))*time.Second)
	}
	over := r.Deployment
	if b.rng.IntN(3) == 0 {
		over = next.Deployment
	}
	if err := b.Close(ctx, over); err == nil {
		b.w.count(func(s *Stats) { s.Closed++ })
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
