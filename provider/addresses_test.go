package provider_test

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/memannouncer"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// lan is a network that leased addresses are announced on, and what a provider is
// told of it.
type lan struct {
	network *memannouncer.Network
	pools   []iplease.Pool
}

func newLAN(ranges ...string) *lan {
	l := &lan{network: memannouncer.NewNetwork(memannouncer.Config{Hosts: []string{"host-1"}})}
	pool := iplease.Pool{Name: "public"}
	for _, text := range ranges {
		r, err := iplease.ParseRange(text)
		if err != nil {
			panic(err)
		}
		pool.Ranges = append(pool.Ranges, r)
	}
	l.pools = []iplease.Pool{pool}
	return l
}

// lease has a provider lease the network's addresses.
func (l *lan) lease(cfg *provider.Config) {
	cfg.Addresses = &provider.Addresses{
		Pools: l.pools, Announcer: l.network.Announcer(), Cooling: time.Minute,
		ParkPrices: []market.Price{{Denom: "uact", AmountPerBlock: market.NewDecimal(2)}},
	}
}

// leads tells the lease that a port leads to, the zero one for nobody's.
func (l *lan) leads(at string, proto iplease.Protocol, port uint16) market.LeaseID {
	b, _, err := l.network.Reach(netip.MustParseAddr("192.0.2.200"), proto, netip.AddrPortFrom(netip.MustParseAddr(at), port))
	if err != nil {
		return market.LeaseID{}
	}
	return b.Lease
}

// ipPlan is a plan with endpoints, each with a TCP and a UDP port 80.
func ipPlan(t *testing.T, env string, endpoints ...string) tenant.Plan {
	t.Helper()
	p := plan(t, env, func(r *market.Resources) {
		for i := range endpoints {
			n := uint32(i + 1)
			leased := market.Endpoint{Kind: market.EndpointLeasedIP, SequenceNumber: n}
			r.Endpoints = append(r.Endpoints, market.Endpoint{Kind: market.EndpointSharedHTTP}, leased, market.Endpoint{Kind: market.EndpointRandomPort}, leased)
		}
	})
	s := &p.Manifest[0].Services[0]
	for _, proto := range []manifest.Protocol{manifest.TCP, manifest.UDP} {
		for i, name := range endpoints {
			e := s.Expose[0]
			e.IP, e.EndpointSequenceNumber, e.Proto = name, uint32(i+1), proto
			s.Expose = append(s.Expose, e)
		}
	}
	var err error
	p.Hash, err = p.Manifest.Version()
	require.NoError(t, err)
	return p
}

func (w *world) status(id market.LeaseID) api.LeaseStatus {
	w.t.Helper()
	st, err := w.provider().LeaseStatus(w.t.Context(), id)
	require.NoError(w.t, err)
	return st
}

func (w *world) deployIP(p tenant.Plan) (market.DeploymentID, market.LeaseID) {
	w.t.Helper()
	r, err := w.tenant.Deploy(w.t.Context(), p)
	require.NoError(w.t, err)
	return r.Deployment, r.Leases[0]
}

const myIP = "203.0.113.7"

func TestALeasedAddressLivesFromBidToCooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP)
		w.start(l.lease)
		id, lease := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		eventually(t, "the address leads to the lease", func() bool {
			return l.leads(myIP, iplease.TCP, 80) == lease && l.leads(myIP, iplease.UDP, 80) == lease
		})
		st := w.status(lease)
		require.Len(t, st.IPs, 1)
		assert.Equal(t, api.IPBound, st.IPs[0].State)
		require.Len(t, st.IPs[0].Ports, 2)
		assert.Equal(t, api.LeasedPort{
			Address: netip.MustParseAddr(myIP), Service: "web", ExternalPort: 80, Port: 80, Proto: "TCP", State: "announced", Node: "host-1",
		}, st.IPs[0].Ports[0])

		_, orders, err := w.tenant.Create(t.Context(), ipPlan(t, "V=2", "other"))
		require.NoError(t, err)
		eventually(t, "there is no address for another order", func() bool {
			return slices.ContainsFunc(w.provider().Declined(orders[0].ID), func(r bidengine.Reason) bool { return r.Code == bidengine.AddressesExhausted })
		})
		require.NoError(t, w.tenant.Close(t.Context(), id))
		eventually(t, "nobody answers", func() bool { return !l.network.Answers(netip.MustParseAddr(myIP)) })
		held, err := w.provider().HeldIPs(t.Context(), theTenant)
		require.NoError(t, err)
		require.Len(t, held.IPs, 1)
		assert.Equal(t, "cooling", held.IPs[0].State)
		assert.NotEmpty(t, w.provider().Declined(orders[0].ID), "it cools first")
		eventually(t, "the order is bid on after all", func() bool { return len(w.provider().Declined(orders[0].ID)) == 0 })
	})
}

func TestAnAddressIsWithheldMovedAndKeptThroughTheWholeWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29", "2001:db8::/126")
		w.start(l.lease)
		firstID, first := w.deployIP(ipPlan(t, "V=1", "my-ip", "other"))
		eventually(t, "announced", func() bool { return l.leads("203.0.113.0", iplease.TCP, 80) == first })
		secondID, second := w.deployIP(ipPlan(t, "V=2", "my-ip", "other"))
		st := w.status(second)
		require.Equal(t, api.IPWithheld, st.IPs[0].State)
		assert.Equal(t, firstID, *st.IPs[0].Holder)
		assert.Equal(t, api.RuleEndpointWithheld, st.IPs[0].Rule)
		assert.Contains(t, st.IPs[0].Reason, "migrate the endpoint")
		load, err := w.cluster.Driver().Status(t.Context(), second)
		require.NoError(t, err)

		results, err := w.provider().MigrateEndpoints(t.Context(), second, []string{"my-ip", "nothing"})
		require.NoError(t, err)
		assert.True(t, results[0].Moved)
		assert.Equal(t, firstID, *results[0].From)
		assert.Equal(t, []netip.Addr{netip.MustParseAddr("203.0.113.0")}, results[0].Addresses)
		assert.Equal(t, api.RuleEndpointNotAsked, results[1].Rule)
		assert.Equal(t, second, l.leads("203.0.113.0", iplease.TCP, 80))
		assert.Equal(t, first, l.leads("203.0.113.1", iplease.TCP, 80), "only the endpoint that was named")
		results, err = w.provider().MigrateEndpoints(t.Context(), second, []string{"my-ip"})
		require.NoError(t, err)
		assert.False(t, results[0].Moved, "it is there already")
		assert.Empty(t, results[0].Rule)
		assert.Contains(t, w.status(first).IPs[0].Reason, "moved to deployment")
		after, err := w.cluster.Driver().Status(t.Context(), second)
		require.NoError(t, err)
		assert.Equal(t, load.Services[0].Replicas[0].StartedAt, after.Services[0].Replicas[0].StartedAt, "nothing is restarted by a move")

		require.NoError(t, w.tenant.Close(t.Context(), firstID))
		eventually(t, "the other endpoint comes by itself, with its address", func() bool { return l.leads("203.0.113.1", iplease.TCP, 80) == second })
		assert.Equal(t, second, l.leads("203.0.113.0", iplease.TCP, 80))
		require.NoError(t, w.tenant.Close(t.Context(), secondID))
		eventually(t, "everything is gone", w.empty)
	})
}

func TestAnAddressThatCannotBeAnnouncedElsewhereStaysWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP, "203.0.113.8")
		w.start(l.lease)
		_, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		_, second := w.deployIP(ipPlan(t, "V=2", "my-ip"))
		eventually(t, "announced", func() bool { return l.leads(myIP, iplease.TCP, 80) == first })
		calls := 0
		l.network.SetFault(func(op memannouncer.Op, _ iplease.ClaimID) error {
			if op == memannouncer.OpApply {
				if calls++; calls == 1 {
					return assert.AnError
				}
			}
			return nil
		})
		results, err := w.provider().MigrateEndpoints(t.Context(), second, []string{"my-ip"})
		require.NoError(t, err)
		assert.False(t, results[0].Moved)
		assert.Equal(t, api.RuleEndpointAnnounce, results[0].Rule)
		assert.Equal(t, first, l.leads(myIP, iplease.TCP, 80))
		assert.Equal(t, api.IPBound, w.status(first).IPs[0].State)
		assert.Equal(t, api.IPWithheld, w.status(second).IPs[0].State)
	})
}

func TestAParkedAddressWaitsForALaterLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		w.start(l.lease)
		firstID, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		_, err := w.provider().ParkIP(t.Context(), theTenant, "my-ip")
		var refused *market.RuleError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, api.RuleParkNotPaid, refused.Rule)
		c := w.market.Client(theTenant)
		retainer := market.RetainerID{Owner: theTenant, Provider: theProvider, Kind: api.RetainerKind, Name: "my-ip"}
		open := func(price uint64) error {
			_, err := c.Submit(t.Context(), market.OpenRetainer{
				ID: retainer, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(price)}, Deposit: market.NewCoin("uact", 5_000_000),
			})
			return err
		}
		require.NoError(t, open(1))
		eventually(t, "a retainer that pays too little is ended", func() bool {
			r, err := c.Retainer(t.Context(), retainer)
			return err == nil && r.State == market.RetainerClosed
		})
		require.NoError(t, open(2))
		eventually(t, "it will be kept", func() bool { return w.status(first).IPs[0].Retained })
		require.NoError(t, w.tenant.Close(t.Context(), firstID))
		parked := func() string {
			held, err := w.provider().HeldIPs(t.Context(), theTenant)
			require.NoError(t, err)
			if len(held.IPs) == 0 {
				return ""
			}
			return held.IPs[0].State
		}
		eventually(t, "parked", func() bool { return parked() == "parked" })
		eventually(t, "silent", func() bool { return !l.network.Answers(netip.MustParseAddr("203.0.113.0")) })
		time.Sleep(time.Hour) // virtual: far beyond the cooling time
		assert.Equal(t, "parked", parked())
		assert.False(t, l.network.Answers(netip.MustParseAddr("203.0.113.0")))
		_, second := w.deployIP(ipPlan(t, "V=2", "my-ip"))
		eventually(t, "the same address", func() bool { return l.leads("203.0.113.0", iplease.TCP, 80) == second })
		ip, err := w.provider().ReleaseIP(t.Context(), theTenant, "my-ip")
		require.NoError(t, err)
		assert.False(t, ip.Retained)
		r, err := c.Retainer(t.Context(), retainer)
		require.NoError(t, err)
		assert.Equal(t, market.RetainerClosed, r.State)
		assert.False(t, r.Withdrawn.IsZero(), "the provider was paid")
		require.NoError(t, w.market.Check())
	})
}

func TestAFullProviderTakesBackATenantWhoseAddressItKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP)
		w.start(l.lease)
		firstID, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		_, err := w.market.Client(theTenant).Submit(t.Context(), market.OpenRetainer{
			ID:    market.RetainerID{Owner: theTenant, Provider: theProvider, Kind: api.RetainerKind, Name: "my-ip"},
			Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(2)}, Deposit: market.NewCoin("uact", 5_000_000),
		})
		require.NoError(t, err)
		eventually(t, "it will be kept", func() bool { return w.status(first).IPs[0].Retained })
		require.NoError(t, w.tenant.Close(t.Context(), firstID))
		eventually(t, "closed", func() bool { return len(w.saw(provider.EventLeaseClosed)) == 1 })
		_, second := w.deployIP(ipPlan(t, "V=2", "my-ip"))
		eventually(t, "the same address", func() bool { return l.leads(myIP, iplease.TCP, 80) == second })
	})
}

func TestFollowersHearOfTheirAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP, "203.0.113.8")
		w.start(l.lease)
		_, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		_, second := w.deployIP(ipPlan(t, "V=2", "my-ip"))
		ctx, cancel := context.WithCancel(t.Context())
		var heard []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e, err := range w.provider().Events(ctx, first) {
				if err == nil && e.Kind == api.EventAddressChanged {
					heard = append(heard, e.State)
				}
			}
		}()
		time.Sleep(time.Minute) // virtual
		_, err := w.provider().MigrateEndpoints(t.Context(), second, []string{"my-ip"})
		require.NoError(t, err)
		time.Sleep(time.Minute) // virtual
		cancel()
		<-done
		assert.Equal(t, []string{"bound", "withheld"}, heard)
	})
}

func TestAnUpdateKeepsTheAddressAndRetargetsItsPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		w.start(l.lease)
		id, lease := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		eventually(t, "announced", func() bool { return l.leads("203.0.113.0", iplease.TCP, 80) == lease })
		next := ipPlan(t, "V=2", "my-ip")
		e := &next.Manifest[0].Services[0].Expose
		(*e)[1].Port, (*e)[2].Port, (*e)[2].ExternalPort = 81, 5353, 53 // TCP inside elsewhere, UDP inside and outside
		var err error
		next.Hash, err = next.Manifest.Version()
		require.NoError(t, err)
		_, err = w.tenant.Update(t.Context(), id, next)
		require.NoError(t, err)
		eventually(t, "the ports are as in the new manifest", func() bool {
			to := func(proto iplease.Protocol, at string) (port uint16) {
				_, port, _ = l.network.Reach(netip.MustParseAddr("192.0.2.9"), proto, netip.MustParseAddrPort(at))
				return port
			}
			return to(iplease.TCP, "203.0.113.0:80") == 81 && to(iplease.UDP, "203.0.113.0:53") == 5353 &&
				l.leads("203.0.113.0", iplease.UDP, 80) == market.LeaseID{}
		})
		_, err = w.tenant.Update(t.Context(), id, ipPlan(t, "V=3", "my-ip"))
		require.NoError(t, err)
		eventually(t, "and back", func() bool { return l.leads("203.0.113.0", iplease.UDP, 80) == lease })
		held, err := w.provider().HeldIPs(t.Context(), theTenant)
		require.NoError(t, err)
		require.Len(t, held.IPs, 1)
		assert.Equal(t, "203.0.113.0", held.IPs[0].Addresses[0].String())
	})
}

func TestSourcesHoldAlsoAfterAnUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP)
		w.start(l.lease)
		id, lease := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		limit := api.SourceLimit{Proto: "tcp", ExternalPort: 80, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		require.NoError(t, w.provider().LimitSources(t.Context(), theTenant, "my-ip", limit))
		assert.Equal(t, market.LeaseID{}, l.leads(myIP, iplease.TCP, 80))
		eventually(t, "UDP is not limited", func() bool { return l.leads(myIP, iplease.UDP, 80) == lease })
		_, err := w.tenant.Update(t.Context(), id, ipPlan(t, "V=2", "my-ip"))
		require.NoError(t, err)
		assert.Equal(t, limit.Sources, w.status(lease).IPs[0].Ports[0].Sources)
		assert.Equal(t, market.LeaseID{}, l.leads(myIP, iplease.TCP, 80))
		require.NoError(t, w.provider().LimitSources(t.Context(), theTenant, "my-ip", api.SourceLimit{Proto: "TCP", ExternalPort: 80}))
		eventually(t, "open again", func() bool { return l.leads(myIP, iplease.TCP, 80) == lease })
		require.ErrorIs(t, w.provider().LimitSources(t.Context(), theTenant, "none", limit), market.ErrNotFound)
	})
}

func TestAnOrderSaysWhichAddressesItWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP, "2001:db8::7")
		w.start(l.lease)
		require.Eventually(t, func() bool { return len(w.saw(provider.EventRegistered)) > 0 }, time.Minute, time.Second)
		p := ipPlan(t, "V=1", "my-ip")
		p.Groups[0].Requirements.Attributes = market.Attributes{
			{Key: "capabilities/ip-lease/family/dual", Value: "true"}, {Key: "ip-lease", Value: "true"},
		}
		_, lease := w.deployIP(p)
		assert.Equal(t, []netip.Addr{netip.MustParseAddr(myIP), netip.MustParseAddr("2001:db8::7")}, w.status(lease).IPs[0].Addresses)
		assert.Len(t, w.status(lease).IPs[0].Ports, 4)
		offers, err := w.provider().Screen(t.Context(), theTenant, p.Groups)
		require.NoError(t, err)
		assert.Equal(t, string(bidengine.AddressesExhausted), offers[0].Reasons[0].Rule)
		p.Groups[0].Requirements.Attributes = market.Attributes{{Key: "capabilities/ip-lease/pool/public", Value: "true"}, {Key: "capabilities/ip-lease/lonely", Value: "true"}}
		offers, err = w.provider().Screen(t.Context(), theTenant, p.Groups)
		require.NoError(t, err)
		assert.False(t, offers[0].Bid)
	})
}

func TestAProviderWithoutAddressesDoesNotBidAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memcluster.Config{})
		w.start(nil)
		_, orders, err := w.tenant.Create(t.Context(), ipPlan(t, "V=1", "my-ip"))
		require.NoError(t, err)
		eventually(t, "a reason", func() bool {
			return slices.ContainsFunc(w.provider().Declined(orders[0].ID), func(r bidengine.Reason) bool { return r.Code == bidengine.AddressesExhausted })
		})
		held, err := w.provider().HeldIPs(t.Context(), theTenant)
		require.NoError(t, err)
		assert.Empty(t, held.IPs)
	})
}

// crashing is a store that fails once it has written so many times: what happens
// afterwards is as after a kill.
type crashing struct {
	provider.Store
	left func() bool
}

func (c crashing) SaveClaims(rs ...iplease.Record) error {
	if !c.left() {
		return assert.AnError
	}
	return c.Store.(provider.AddressStore).SaveClaims(rs...)
}

func (c crashing) LoadClaims() ([]iplease.Record, error) {
	return c.Store.(provider.AddressStore).LoadClaims()
}

func TestAMoveSurvivesACrashBetweenAnyTwoSteps(t *testing.T) {
	// Prepare, switch and confirm each write once; a crash can come before each and
	// after the last, and between the switch and the announcer's having heard of it.
	for writes := range 4 {
		for _, deaf := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w, l := newWorld(t, memcluster.Config{}), newLAN(myIP, "203.0.113.8")
				_, stop := w.start(l.lease)
				_, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
				_, second := w.deployIP(ipPlan(t, "V=2", "my-ip"))
				eventually(t, "announced", func() bool { return l.leads(myIP, iplease.TCP, 80) == first })
				stop()

				disk := w.store
				var left atomic.Int64 // how many more are stored
				left.Store(1 << 32)
				w.store = crashing{disk, func() bool { return left.Add(-1) >= 0 }}
				p, stop := w.start(l.lease)
				eventually(t, "known again", func() bool { return w.status(second).Phase == api.PhaseActive })
				time.Sleep(time.Minute) // virtual: until all is quiet
				synctest.Wait()
				left.Store(int64(writes))
				if deaf {
					l.network.SetFault(func(op memannouncer.Op, _ iplease.ClaimID) error {
						if op == memannouncer.OpApply {
							return assert.AnError
						}
						return nil
					})
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, _ = p.MigrateEndpoints(ctx, second, []string{"my-ip"})
				cancel()
				stop() // killed
				w.store = disk
				l.network.SetFault(nil)
				w.start(l.lease)
				eventually(t, "one of the two has it, and says so", func() bool {
					a, b := w.status(first).IPs[0], w.status(second).IPs[0]
					switch l.leads(myIP, iplease.TCP, 80) {
					case first:
						return a.State == api.IPBound && b.State == api.IPWithheld
					case second:
						return b.State == api.IPBound && a.State == api.IPWithheld
					}
					return false
				})
				results, err := w.provider().MigrateEndpoints(t.Context(), second, []string{"my-ip"})
				require.NoError(t, err)
				assert.Empty(t, results[0].Rule, "%+v", results[0])
				assert.Equal(t, second, l.leads(myIP, iplease.TCP, 80))
			})
		}
	}
}

func TestClaimsAreFoundAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		_, stop := w.start(l.lease)
		p := ipPlan(t, "V=1", "my-ip")
		id, orders, err := w.tenant.Create(t.Context(), p)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err)
		stop() // with a bid
		_, stop = w.start(l.lease)
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		eventually(t, "won", func() bool { return len(w.saw(provider.EventLeaseWon)) > 0 })
		stop() // with a lease without a manifest
		_, stop = w.start(l.lease)
		require.NoError(t, w.tenant.SendManifest(t.Context(), leases, p.Manifest))
		_, err = w.tenant.AwaitReady(t.Context(), leases, p.Hash)
		require.NoError(t, err)
		eventually(t, "announced", func() bool { return l.leads("203.0.113.0", iplease.TCP, 80) == leases[0] })
		stop()
		require.NoError(t, w.tenant.Close(t.Context(), id)) // closed while down
		require.NoError(t, l.network.Announcer().Withdraw(t.Context(), iplease.ClaimID{Owner: theTenant, Name: "my-ip"}))
		w.start(l.lease)
		eventually(t, "everything is gone", w.empty)
		eventually(t, "the address is free", func() bool {
			held, err := w.provider().HeldIPs(t.Context(), theTenant)
			return err == nil && len(held.IPs) == 0
		})
	})
}
