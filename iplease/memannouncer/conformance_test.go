package memannouncer_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/ipleasetest"
	"github.com/moorage-dev/moorage/iplease/memannouncer"
)

func all() []ipleasetest.Ability {
	return []ipleasetest.Ability{
		ipleasetest.Watch, ipleasetest.Egress, ipleasetest.Sources, ipleasetest.IPv6, ipleasetest.Reopen, ipleasetest.Traffic,
		ipleasetest.ClientAddress, ipleasetest.Neighbours, ipleasetest.Failover,
	}
}

// addresses are n of them from first.
func addresses(first string, n int) (out []netip.Addr) {
	for a := netip.MustParseAddr(first); len(out) < n; a = a.Next() {
		out = append(out, a)
	}
	return out
}

// rig is a network in memory as the suite wants it.
func rig(wrap func(*memannouncer.Announcer) driver.Announcer) *ipleasetest.Network {
	n := memannouncer.NewNetwork(memannouncer.Config{Hosts: []string{"a", "b"}})
	names := map[netip.Addr]string{}
	open := wrap(n.Announcer())
	r := &ipleasetest.Network{Announcer: open, V4: addresses("203.0.113.10", 4), V6: addresses("2001:db8::10", 4)}
	copy(r.Clients4[:], addresses("198.51.100.1", 2))
	copy(r.Clients6[:], addresses("2001:db8:1::1", 2))
	own4, own6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	r.Serve = func(_ context.Context, name string) ([]driver.Backend, error) {
		own4, own6 = own4.Next(), own6.Next()
		names[own4], names[own6] = name, name
		return []driver.Backend{{Node: "a", Address: own4}, {Node: "a", Address: own6}}, nil
	}
	r.Ask = func(_ context.Context, from ipleasetest.Client, proto iplease.Protocol, to netip.AddrPort) (ipleasetest.Answer, error) {
		client := r.Clients4[from.Index]
		if to.Addr().Is6() {
			client = r.Clients6[from.Index]
		}
		b, port, err := n.Reach(client, proto, to)
		return ipleasetest.Answer{Replica: names[b.Address], Port: port, Client: client}, err
	}
	r.Leaves = func(_ context.Context, b driver.Backend) (netip.Addr, error) {
		if a, ok := n.Source(b.Address); ok {
			return a, nil
		}
		return netip.MustParseAddr("192.0.2.1"), nil
	}
	r.Answers = func(_ context.Context, a netip.Addr) (string, error) {
		if n.Answers(a) {
			return n.Host(), nil
		}
		return "", nil
	}
	r.Reopen = func(context.Context) (driver.Announcer, error) {
		err := open.Close()
		open = wrap(n.Announcer())
		return open, err
	}
	r.Kill = func(context.Context) (driver.Announcer, error) {
		n.Kill("a")
		return open, nil
	}
	return r
}

func harness(wrap func(*memannouncer.Announcer) driver.Announcer) ipleasetest.Harness {
	return ipleasetest.Harness{
		Run: synctest.Test, Abilities: all(), Patience: time.Second,
		New: func(*testing.T) *ipleasetest.Network { return rig(wrap) },
	}
}

func asItIs(a *memannouncer.Announcer) driver.Announcer { return a }

func TestConformance(t *testing.T) { ipleasetest.Run(t, harness(asItIs)) }

func Example() {
	ctx := context.Background()
	a := memannouncer.New(memannouncer.Config{})
	n := driver.Announcement{
		Claim: iplease.ClaimID{Owner: "tenant", Name: "web"}, Revision: 1,
		Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")},
	}
	n.Ports = []iplease.Port{{Protocol: iplease.TCP, External: 80, Service: "web", Port: 8080}}
	n.Ports[0].Lease.Owner, n.Ports[0].Lease.DSeq, n.Ports[0].Lease.GSeq, n.Ports[0].Lease.OSeq, n.Ports[0].Lease.Provider = "tenant", 1, 1, 1, "provider"
	n.Backends = []driver.Backend{{Lease: n.Ports[0].Lease, Service: "web", Address: netip.MustParseAddr("10.0.0.2")}}
	fmt.Println(a.Apply(ctx, n))

	b, port, err := a.Network().Reach(netip.MustParseAddr("198.51.100.1"), iplease.TCP, netip.MustParseAddrPort("203.0.113.7:80"))
	fmt.Println(b.Address, port, err)
	_, _, err = a.Network().Reach(netip.MustParseAddr("198.51.100.1"), iplease.UDP, netip.MustParseAddrPort("203.0.113.7:80"))
	fmt.Println(err)
	// Output:
	// <nil>
	// 10.0.0.2 8080 <nil>
	// memannouncer: refused
}
