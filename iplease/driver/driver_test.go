package driver_test

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
)

// full is an announcement in which everything is there.
func full() driver.Announcement {
	lease, _ := market.ParseLeaseID("tenant/1/1/1/provider")
	return driver.Announcement{
		Claim: iplease.ClaimID{Owner: "tenant", Name: "web"}, Revision: 1,
		Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")},
		Ports: []iplease.Port{
			{Protocol: iplease.TCP, External: 80, Lease: lease, Service: "web", Port: 8080, Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
			{Protocol: iplease.UDP, External: 80, Lease: lease, Service: "web", Port: 8080},
		},
		Backends: []driver.Backend{
			{Lease: lease, Service: "web", Node: "a", Address: netip.MustParseAddr("10.0.0.2")},
			{Lease: lease, Service: "web", Node: "b", Replica: 1, Address: netip.MustParseAddr("fd00::2")},
			{Lease: lease, Service: "db", Node: "a", Address: netip.MustParseAddr("10.0.0.3")},
		},
	}
}

func TestACloneSharesNothing(t *testing.T) {
	a := full()
	c := a.Clone()
	require.Equal(t, a, c)
	c.Addresses[0], c.Ports[0].External, c.Ports[0].Sources[0], c.Backends[0].Node = netip.Addr{}, 1, netip.Prefix{}, "x"
	assert.Equal(t, full(), a)
}

func TestAPortIsServedByItsServiceInTheFamilyOfTheAddress(t *testing.T) {
	a := full()
	assert.Equal(t, a.Backends[:1], a.Serving(a.Ports[0], a.Addresses[0]))
	assert.Equal(t, a.Backends[1:2], a.Serving(a.Ports[0], a.Addresses[1]))
	other := a.Ports[0]
	other.Lease.DSeq = 9
	assert.Empty(t, a.Serving(other, a.Addresses[0]))
}

func TestAnAnnouncementIsRestrictedWhenAPortIs(t *testing.T) {
	a := full()
	assert.True(t, a.Restricted())
	a.Ports[0].Sources = nil
	assert.False(t, a.Restricted())
}

func TestFaultsWrapErrInvalid(t *testing.T) {
	require.NoError(t, full().Validate())
	addr := netip.MustParseAddr
	rows := map[string]func(*driver.Announcement){
		"no claim":             func(a *driver.Announcement) { a.Claim = iplease.ClaimID{} },
		"no revision":          func(a *driver.Announcement) { a.Revision = 0 },
		"no address":           func(a *driver.Announcement) { a.Addresses = nil },
		"an invalid address":   func(a *driver.Announcement) { a.Addresses[0] = netip.Addr{} },
		"two of one family":    func(a *driver.Announcement) { a.Addresses[1] = addr("203.0.113.8") },
		"three addresses":      func(a *driver.Announcement) { a.Addresses = append(a.Addresses, addr("203.0.113.8")) },
		"multicast":            func(a *driver.Announcement) { a.Addresses[0] = addr("224.0.0.1") },
		"loopback":             func(a *driver.Announcement) { a.Addresses[0] = addr("127.0.0.1") },
		"link-local":           func(a *driver.Announcement) { a.Addresses[1] = addr("fe80::1") },
		"mapped":               func(a *driver.Announcement) { a.Addresses[1] = addr("::ffff:1.2.3.4") },
		"broadcast":            func(a *driver.Announcement) { a.Addresses[0] = addr("255.255.255.255") },
		"a port twice":         func(a *driver.Announcement) { a.Ports[1].Protocol = iplease.TCP },
		"port 0":               func(a *driver.Announcement) { a.Ports[0].External = 0 },
		"container port 0":     func(a *driver.Announcement) { a.Ports[0].Port = 0 },
		"no protocol":          func(a *driver.Announcement) { a.Ports[0].Protocol = 0 },
		"many sources":         func(a *driver.Announcement) { a.Ports[0].Sources = make([]netip.Prefix, driver.MaxSources+1) },
		"an invalid source":    func(a *driver.Announcement) { a.Ports[0].Sources[0] = netip.Prefix{} },
		"no service":           func(a *driver.Announcement) { a.Ports[0].Service = "" },
		"no lease":             func(a *driver.Announcement) { a.Ports[0].Lease = market.LeaseID{} },
		"many ports":           func(a *driver.Announcement) { a.Ports = make([]iplease.Port, driver.MaxPorts+1) },
		"many backends":        func(a *driver.Announcement) { a.Backends = make([]driver.Backend, driver.MaxBackends+1) },
		"a backend on no host": func(a *driver.Announcement) { a.Backends[0].Address = netip.Addr{} },
		"a long node":          func(a *driver.Announcement) { a.Backends[0].Node = strings.Repeat("n", 254) },
	}
	for name, spoil := range rows {
		t.Run(name, func(t *testing.T) {
			a := full()
			spoil(&a)
			require.ErrorIs(t, a.Validate(), driver.ErrInvalid)
		})
	}
}

func TestATransientErrorIsFoundAndUnwraps(t *testing.T) {
	err := fmt.Errorf("list: %w", &driver.TransientError{Err: io.ErrUnexpectedEOF})
	var transient *driver.TransientError
	require.ErrorAs(t, err, &transient)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, io.ErrUnexpectedEOF.Error(), transient.Error())
	assert.False(t, errors.As(driver.ErrNotFound, &transient))
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[driver.State]string{0: "absent", driver.Pending: "pending", driver.Announced: "announced", driver.Failing: "failing"} {
		assert.Equal(t, want, s.String())
	}
}

func ExampleAnnouncement_Validate() {
	a := full()
	a.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	fmt.Println(a.Validate())
	// Output:
	// iplease: invalid announcement: claim tenant/web: 127.0.0.1 is not the address of a host
}

func TestAStatusSaysWhatIsWrongOfEachPortAtEachAddress(t *testing.T) {
	a := full()
	s := driver.Observe(a, driver.Observation{Node: "a"})
	require.Len(t, s.Ports, 4)
	assert.Equal(t, driver.Announced, s.State)
	assert.Equal(t, a.Addresses[1], s.Ports[2].Address)

	onA := func(b driver.Backend) bool { return b.Node == "a" }
	s = driver.Observe(a, driver.Observation{Node: "a", Reachable: onA})
	assert.Equal(t, driver.Pending, s.State)
	assert.Equal(t, driver.Announced, s.Addresses[1].State, "the address answers all the same")
	assert.Equal(t, driver.Announced, s.Ports[0].State)
	assert.Equal(t, driver.Pending, s.Ports[2].State, "its only replica is on b")
	assert.NotEmpty(t, s.Ports[2].Reason)

	s = driver.Observe(a, driver.Observation{Reason: "no host"})
	assert.Equal(t, driver.Pending, s.State)
	assert.Equal(t, "no host", s.Ports[3].Reason)
	s = driver.Observe(a, driver.Observation{Node: "a", Broken: true, Reason: "two answer"})
	assert.Equal(t, driver.Failing, s.State)
	assert.Equal(t, "two answer", s.Addresses[0].Reason)
}

func TestEgressIsReportedWhenItWasAskedFor(t *testing.T) {
	a := full()
	yes := driver.Observation{Node: "a", Egress: true}
	assert.False(t, driver.Observe(a, yes).Addresses[0].Egress)
	a.Egress = true
	assert.True(t, driver.Observe(a, yes).Addresses[0].Egress)
	s := driver.Observe(a, driver.Observation{Node: "a", EgressReason: "no way out"})
	assert.False(t, s.Addresses[0].Egress)
	assert.Equal(t, "no way out", s.Addresses[0].EgressReason)
}
