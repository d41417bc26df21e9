package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// tenant deploys, updates and closes until the faults end; what it has then
// stays.
func (w *world) tenant(ctx context.Context, owner market.Address) {
	t, err := tenant.New(tenant.Config{
		Market: w.market.FaultyClient(owner, w.faults()), Dial: w.dial(owner),
		BidTimeout: 20 * time.Second, ReadyTimeout: 2 * time.Minute,
	})
	if err != nil {
		panic(err) // the configuration above is complete
	}
	for ctx.Err() == nil && !w.isCalm() {
		w.live(ctx, t)
		wait(ctx, time.Duration(1+w.pick(30))*time.Second)
	}
}

// live is the life of one deployment. Tenants here do not clean up after
// failures of their own: that money is found again is the market's affair.
func (w *world) live(ctx context.Context, t *tenant.Tenant) {
	plan := w.plan(1)
	r, err := t.Deploy(ctx, plan)
	if err != nil {
		w.count(func(s *Stats) { s.Failed++ })
		return
	}
	w.count(func(s *Stats) { s.Deployed++; s.Leases += len(r.Leases) })
	for version := 2; version < 2+w.pick(3); version++ {
		wait(ctx, time.Duration(w.pick(60))*time.Second)
		next := plan
		next.Manifest = w.manifest(plan, version)
		if next.Hash, err = next.Manifest.Version(); err != nil {
			panic(err) // a manifest made here is sound
		}
		if _, err := t.Update(ctx, r.Deployment, next); err == nil {
			w.count(func(s *Stats) { s.Updated++ })
		}
	}
	wait(ctx, time.Duration(w.pick(60))*time.Second)
	if w.pick(4) == 0 {
		return // forgets it: it runs until its money is spent
	}
	if err := t.Close(ctx, r.Deployment); err == nil {
		w.count(func(s *Stats) { s.Closed++ })
	}
}

// plan asks for one or two small services.
func (w *world) plan(version int) tenant.Plan {
	spec := market.GroupSpec{Name: "g"}
	group := manifest.Group{Name: "g"}
	for i := range 1 + w.pick(2) {
		r := market.Resources{
			ID: uint32(i + 1), CPU: market.CPU{MilliCores: 100 * uint64(1+w.pick(15))},
			Memory:    market.Memory{Bytes: uint64(1+w.pick(8)) * 128 << 20},
			Storage:   []market.Volume{{Name: "default", Bytes: 1 << 30}},
			Endpoints: []market.Endpoint{{Kind: market.EndpointRandomPort}},
		}
		count := uint32(1 + w.pick(3))
		spec.Units = append(spec.Units, market.ResourceUnit{
			Resources: r, Count: count, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(100)},
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
	p := tenant.Plan{Groups: []market.GroupSpec{spec}, Manifest: manifest.Manifest{group}}
	var err error
	if p.Hash, err = p.Manifest.Version(); err != nil {
		panic(err) // a manifest made here is sound
	}
	return p
}

// manifest is a plan's manifest in another version.
func (w *world) manifest(p tenant.Plan, version int) manifest.Manifest {
	g := p.Manifest[0]
	services := append([]manifest.Service(nil), g.Services...)
	for i := range services {
		services[i].Env = []string{fmt.Sprintf("VERSION=%d", version)}
	}
	return manifest.Manifest{{Name: g.Name, Services: services}}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
