package provider_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/memannouncer"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// hash makes a changed plan one that a provider accepts.
func rehash(t *testing.T, p tenant.Plan) tenant.Plan {
	t.Helper()
	var err error
	p.Hash, err = p.Manifest.Version()
	require.NoError(t, err)
	return p
}

// held lists the tenant's addresses as "endpoint state address".
func (w *world) held() (out []string) {
	w.t.Helper()
	held, err := w.provider().HeldIPs(w.t.Context(), theTenant)
	require.NoError(w.t, err)
	for _, ip := range held.IPs {
		out = append(out, fmt.Sprint(ip.Endpoint, " ", ip.State, " ", ip.Addresses[0]))
	}
	return out
}

// park opens a retainer for an endpoint and closes the deployment that has it.
func (w *world) park(id market.DeploymentID, lease market.LeaseID, endpoint string) market.RetainerID {
	w.t.Helper()
	retainer := market.RetainerID{Owner: theTenant, Provider: theProvider, Kind: api.RetainerKind, Name: endpoint}
	_, err := w.market.Client(theTenant).Submit(w.t.Context(), market.OpenRetainer{
		ID: retainer, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(2)}, Deposit: market.NewCoin("uact", 5_000_000),
	})
	require.NoError(w.t, err)
	eventually(w.t, "it will be kept", func() bool { return w.status(lease).IPs[0].Retained })
	require.NoError(w.t, w.tenant.Close(w.t.Context(), id))
	eventually(w.t, "parked", func() bool { return len(w.held()) == 1 && w.held()[0][len(endpoint)+1:][:6] == "parked" })
	return retainer
}

// tells lists why an order is not bid on.
func (w *world) tells(o market.Order) (out []bidengine.Code) {
	for _, r := range w.provider().Declined(o.ID) {
		out = append(out, r.Code)
	}
	return out
}

func TestAManifestThatNamesOneAddressTwiceIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		w.start(l.lease)
		_, err := w.tenant.Deploy(t.Context(), ipPlan(t, "V=0", "my-ip", "my_ip"))
		require.ErrorContains(t, err, "the same environment variables")
		p := ipPlan(t, "V=1", "my-ip")
		p.Manifest[0].Services[0].Expose[2].IP = "free-ip" // UDP 80, the same number
		_, err = w.tenant.Deploy(t.Context(), rehash(t, p))
		require.ErrorIs(t, err, market.ErrMismatch)
		assert.Empty(t, w.held())
	})
}

func TestRenamingAnEndpointAgainAndAgainTakesNoOtherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		w.start(l.lease)
		id, lease := w.deployIP(ipPlan(t, "V=0", "ep-0"))
		for i := 1; i < 10; i++ {
			name := fmt.Sprint("ep-", i)
			_, err := w.tenant.Update(t.Context(), id, ipPlan(t, fmt.Sprint("V=", i), name))
			require.NoError(t, err)
			assert.Equal(t, []string{name + " bound 203.0.113.0"}, w.held())
			eventually(t, "it leads here under the new name", func() bool {
				return l.leads("203.0.113.0", iplease.TCP, 80) == lease && w.status(lease).IPs[0].Ports[0].State == "announced"
			})
		}
		listed, err := l.network.Announcer().List(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []iplease.ClaimID{{Owner: theTenant, Name: "ep-9"}}, listed)
	})
}

func TestADeploymentThatWaitsGetsWhatAnotherRenamesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		w.start(func(c *provider.Config) { l.lease(c); c.ResyncEvery = 24 * time.Hour })
		id, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		_, second := w.deployIP(ipPlan(t, "V=2", "my-ip"))
		require.Equal(t, api.IPWithheld, w.status(second).IPs[0].State)
		_, err := w.tenant.Update(t.Context(), id, ipPlan(t, "V=3", "renamed"))
		require.NoError(t, err)
		time.Sleep(10 * time.Second) // virtual, far less than until the next resync
		assert.Equal(t, first, l.leads("203.0.113.0", iplease.TCP, 80))
		assert.Equal(t, second, l.leads("203.0.113.1", iplease.TCP, 80))
		assert.Equal(t, api.IPBound, w.status(second).IPs[0].State)
	})
}

func TestAParkedAddressCountsForOneBidAndUnderItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/31")
		w.start(l.lease)
		firstID, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		w.park(firstID, first, "my-ip")

		p := ipPlan(t, "V=2", "one", "two")
		_, orders, err := w.tenant.Create(t.Context(), p)
		require.NoError(t, err)
		bids, err := w.tenant.AwaitBids(t.Context(), orders)
		require.NoError(t, err, "one is free and one is parked")
		_, others, err := w.tenant.Create(t.Context(), ipPlan(t, "V=3", "my-ip"))
		require.NoError(t, err)
		eventually(t, "the parked one counts once", func() bool {
			return len(w.tells(others[0])) > 0 && w.tells(others[0])[0] == bidengine.AddressesExhausted
		})
		leases, err := w.tenant.Accept(t.Context(), bids)
		require.NoError(t, err)
		err = w.tenant.SendManifest(t.Context(), leases, p.Manifest)
		require.ErrorContains(t, err, "use the name my-ip")
		require.ErrorIs(t, err, market.ErrMismatch)
		assert.Equal(t, []string{"my-ip parked 203.0.113.0"}, w.held())
	})
}

func TestADearerParkPriceDoesNotEndWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/31")
		_, stop := w.start(l.lease)
		id, lease := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		retainer := w.park(id, lease, "my-ip")
		stop()
		w.start(func(c *provider.Config) { l.lease(c); c.Addresses.ParkPrices[0].AmountPerBlock = market.NewDecimal(3) })
		time.Sleep(time.Hour) // virtual
		r, err := w.market.Client(theTenant).Retainer(t.Context(), retainer)
		require.NoError(t, err)
		assert.Equal(t, market.RetainerOpen, r.State)
		assert.Equal(t, []string{"my-ip parked 203.0.113.0"}, w.held())
		_, err = w.provider().ParkIP(t.Context(), theTenant, "my-ip")
		require.NoError(t, err)
	})
}

func TestAnAddressThatStillAnswersKeepsNoOtherFromItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/30")
		w.start(l.lease)
		bad, _ := w.deployIP(ipPlan(t, "V=1", "bad"))
		good, _ := w.deployIP(ipPlan(t, "V=2", "good"))
		time.Sleep(10 * time.Second) // virtual
		l.network.SetFault(func(_ memannouncer.Op, id iplease.ClaimID) error {
			if id.Name == "bad" {
				return assert.AnError
			}
			return nil
		})
		require.NoError(t, w.tenant.Close(t.Context(), bad))
		require.NoError(t, w.tenant.Close(t.Context(), good))
		time.Sleep(time.Hour) // virtual
		assert.Equal(t, []string{"bad cooling 203.0.113.0"}, w.held())
		l.network.SetFault(nil)
		eventually(t, "it ends when nobody answers", func() bool { return len(w.held()) == 0 })
	})
}

func TestAnAddressWhoseNameWasTakenIsNotGivenAwayWhileItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/32", "2001:db8::1/128")
		w.start(l.lease)
		at := netip.MustParseAddr("203.0.113.0")
		id, _ := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		time.Sleep(10 * time.Second) // virtual
		l.network.SetFault(func(op memannouncer.Op, id iplease.ClaimID) error {
			if id.Name == "my-ip" && op != memannouncer.OpStatus {
				return assert.AnError
			}
			return nil
		})
		require.NoError(t, w.tenant.Close(t.Context(), id))
		time.Sleep(5 * time.Second) // virtual
		p := ipPlan(t, "V=2", "my-ip")
		p.Groups[0].Requirements.Attributes = market.Attributes{{Key: "capabilities/ip-lease/family/ipv6", Value: "true"}}
		_, err := w.tenant.Deploy(t.Context(), p)
		require.NoError(t, err)
		time.Sleep(10 * time.Minute) // virtual: it has rested long since
		require.True(t, l.network.Answers(at))
		_, orders, err := w.tenant.Create(t.Context(), ipPlan(t, "V=3", "third"))
		require.NoError(t, err)
		eventually(t, "there is none for another", func() bool { return len(w.tells(orders[0])) > 0 })
		l.network.SetFault(nil)
		eventually(t, "it is given away when nobody answers", func() bool { return len(w.tells(orders[0])) == 0 && !l.network.Answers(at) })
	})
}

func TestAMoveThatCannotBeStoredIsAResultAndTheOthersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		var left atomic.Int64 // how many more are stored
		left.Store(1 << 32)
		w.store = crashing{w.store, func() bool { return left.Add(-1) >= 0 }}
		p, _ := w.start(l.lease)
		_, first := w.deployIP(ipPlan(t, "V=1", "aa", "bb"))
		_, second := w.deployIP(ipPlan(t, "V=2", "aa", "bb"))
		eventually(t, "announced", func() bool { return l.leads("203.0.113.0", iplease.TCP, 80) == first })
		time.Sleep(time.Minute) // virtual: until all is quiet
		left.Store(3)           // prepare, switch and confirm of one
		results, err := p.MigrateEndpoints(t.Context(), second, []string{"aa", "bb"})
		require.NoError(t, err)
		require.Len(t, results, 2)
		assert.True(t, results[0].Moved)
		assert.Empty(t, results[0].Rule)
		assert.False(t, results[1].Moved)
		assert.Equal(t, api.RuleEndpointUnfinished, results[1].Rule)
		assert.Equal(t, second, l.leads("203.0.113.0", iplease.TCP, 80))
		left.Store(1 << 32)
		results, err = p.MigrateEndpoints(t.Context(), second, []string{"bb"})
		require.NoError(t, err)
		assert.True(t, results[0].Moved)
	})
}

func TestAMoveIsRefusedWithItsRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29", "2001:db8::/120")
		w.start(l.lease)
		_, first := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		eventually(t, "announced", func() bool { return l.leads("203.0.113.0", iplease.TCP, 80) == first })
		rule := func(to market.LeaseID, name string) string {
			results, err := w.provider().MigrateEndpoints(t.Context(), to, []string{name})
			require.NoError(t, err)
			assert.False(t, results[0].Moved)
			return results[0].Rule
		}
		six := ipPlan(t, "V=2", "my-ip")
		six.Groups[0].Requirements.Attributes = market.Attributes{{Key: "capabilities/ip-lease/family/ipv6", Value: "true"}}
		_, second := w.deployIP(six)
		assert.Equal(t, api.RuleEndpointMismatch, rule(second, "my-ip"))

		twice := ipPlan(t, "V=3", "my-ip")
		e := &twice.Manifest[0].Services[0].Expose
		(*e)[2].Proto, (*e)[2].Port, (*e)[2].ExternalPort = manifest.TCP, 81, 80 // TCP 80 outside once more
		endpoints := twice.Groups[0].Units[0].Endpoints
		endpoints[len(endpoints)-2].Kind = market.EndpointSharedHTTP
		_, third := w.deployIP(rehash(t, twice))
		assert.Equal(t, api.RuleEndpointConflict, rule(third, "my-ip"))

		_, fourth := w.deployIP(ipPlan(t, "V=4", "my-ip"))
		require.True(t, w.cluster.Break(fourth, "web", "it stumbles"))
		assert.Equal(t, api.RuleEndpointNotReady, rule(fourth, "my-ip"))
		assert.Equal(t, first, l.leads("203.0.113.0", iplease.TCP, 80))
	})
}

func TestARefusalOfTheAnnouncerIsInTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP)
		w.start(l.lease)
		l.network.SetFault(func(op memannouncer.Op, _ iplease.ClaimID) error {
			if op == memannouncer.OpApply {
				return ipdriver.ErrConflict
			}
			return nil
		})
		_, lease := w.deployIP(ipPlan(t, "V=1", "my-ip"))
		eventually(t, "it says why", func() bool {
			return w.status(lease).IPs[0].Ports[0].Reason == "the announcer refuses the address: another has it"
		})
		l.network.SetFault(nil)
		eventually(t, "no more", func() bool { return w.status(lease).IPs[0].Ports[0].State == "announced" })
	})
}

func TestConnectionsLeaveFromTheFirstAddressOfAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN("203.0.113.0/29")
		w.start(func(c *provider.Config) { l.lease(c); c.Addresses.Egress = true })
		_, lease := w.deployIP(ipPlan(t, "V=1", "aa", "bb"))
		eventually(t, "announced", func() bool { return l.leads("203.0.113.1", iplease.TCP, 80) == lease })
		asked := map[string]bool{}
		for _, a := range l.network.Announced() {
			asked[a.Claim.Name] = a.Egress
		}
		assert.Equal(t, map[string]bool{"aa": true, "bb": false}, asked)
	})
}

func TestEveryPortOfAnAddressLeadsToTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t, memcluster.Config{}), newLAN(myIP)
		w.start(l.lease)
		for i, ports := range [][2]uint32{{1, 65535}, {22, 1}} {
			p := ipPlan(t, fmt.Sprint("V=", i), "my-ip")
			e := &p.Manifest[0].Services[0].Expose
			(*e)[1].ExternalPort, (*e)[2].ExternalPort = ports[0], ports[1]
			endpoints := p.Groups[0].Units[0].Endpoints
			endpoints[len(endpoints)-4].Kind = market.EndpointRandomPort
			id, lease := w.deployIP(rehash(t, p))
			eventually(t, "both ports lead to it", func() bool {
				return l.leads(myIP, iplease.TCP, uint16(ports[0])) == lease && l.leads(myIP, iplease.UDP, uint16(ports[1])) == lease
			})
			require.NoError(t, w.tenant.Close(t.Context(), id))
			eventually(t, "the address is free", func() bool { return len(w.held()) == 0 })
		}
	})
}

func TestClaimsOnDiskAreReadBackAsTheyWere(t *testing.T) {
	path := t.TempDir()
	store, err := provider.OpenStore(path)
	require.NoError(t, err)
	cfg := iplease.Config{Pools: newLAN("203.0.113.0/29", "2001:db8::/126").pools, Cooling: time.Minute}
	table, err := iplease.New(cfg)
	require.NoError(t, err)
	lease, err := market.ParseLeaseID(string(theTenant) + "/1/1/1/" + string(theProvider))
	require.NoError(t, err)
	want := func(name string, number uint32) iplease.Want {
		return iplease.Want{Name: name, Number: number, Selection: iplease.Selection{Family: iplease.Dual}, Ports: []iplease.Port{
			{Protocol: iplease.TCP, External: 65535, Lease: lease, Service: "web", Port: 1},
		}}
	}
	table.Update(lease, []iplease.Want{want("one", 1), want("two", 2)}, time.Unix(1, 0).UTC())
	require.NoError(t, table.Retain(iplease.ClaimID{Owner: theTenant, Name: "one"}, 7, market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(2)}))
	save := func() {
		require.NoError(t, store.(provider.AddressStore).SaveClaims(table.Unsaved()...))
	}
	save()
	table.Update(lease, []iplease.Want{want("three", 1)}, time.Unix(2, 0).UTC())
	save()
	for range 2 { // also after another restart
		require.NoError(t, store.Close())
		store, err = provider.OpenStore(path)
		require.NoError(t, err)
		records, err := store.(provider.AddressStore).LoadClaims()
		require.NoError(t, err)
		again, strays, err := iplease.Restore(cfg, records)
		require.NoError(t, err)
		assert.Empty(t, strays)
		require.NoError(t, again.Check())
		assert.Equal(t, table.Records(), again.Records())
		table = again
		table.Expire(time.Unix(1000, 0), 0)
		save()
	}
	require.NoError(t, store.Close())
}
