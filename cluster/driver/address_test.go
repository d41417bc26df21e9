package driver_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// leased is a workload with a leased port of each family.
func leased() driver.Workload {
	w := full()
	w.Addresses = []driver.LeasedAddress{
		{Endpoint: "my-ip", Address: netip.MustParseAddr("2001:db8::7"), Protocol: manifest.TCP, External: 443, Service: "web", Port: 80},
		{Endpoint: "my-ip", Address: netip.MustParseAddr("203.0.113.7"), Protocol: manifest.TCP, External: 443, Service: "web", Port: 80},
		{
			Endpoint: "my-ip", Address: netip.MustParseAddr("203.0.113.7"), Protocol: manifest.UDP, External: 443, Service: "web", Port: 80,
			Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		},
		{Endpoint: "my-ip", Address: netip.MustParseAddr("203.0.113.7"), Protocol: manifest.TCP, External: 8443, Service: "web", Port: 80, Withheld: true},
	}
	return w
}

func TestContainersAreToldTheirAddresses(t *testing.T) {
	w := leased()
	require.NoError(t, w.Validate())
	assert.Equal(t, []string{
		"MOORAGE_IPV4_MY_IP=203.0.113.7", "MOORAGE_IPV6_MY_IP=2001:db8::7", "MOORAGE_IP_MY_IP=203.0.113.7",
		"MOORAGE_IP_MY_IP_TCP_80=443", "MOORAGE_IP_MY_IP_UDP_80=443",
	}, w.AddressEnv("web"))
	assert.Empty(t, w.AddressEnv("db"))
	w.Addresses = w.Addresses[:1]
	assert.Contains(t, w.AddressEnv("web"), "MOORAGE_IP_MY_IP=2001:db8::7", "an address of one family is the address")
}

func TestAWithheldAddressIsToldAndLeadsNowhere(t *testing.T) {
	w := leased()
	for i := range w.Addresses {
		w.Addresses[i].Withheld = true
	}
	assert.Equal(t, leased().AddressEnv("web"), w.AddressEnv("web"))
	assert.Empty(t, w.Leased("web"))
	assert.Len(t, leased().Leased("web"), 3)
}

func TestACloneSharesNoAddresses(t *testing.T) {
	w := leased()
	c := w.Clone()
	require.Equal(t, w.Addresses, c.Addresses)
	c.Addresses[2].Sources[0] = netip.MustParsePrefix("10.0.0.0/8")
	c.Addresses[0].Service = "x"
	assert.Equal(t, leased().Addresses, w.Addresses)
}

func TestWrongAddressesAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(w *driver.Workload, a *driver.LeasedAddress){
		"no endpoint":   func(_ *driver.Workload, a *driver.LeasedAddress) { a.Endpoint = "" },
		"no address":    func(_ *driver.Workload, a *driver.LeasedAddress) { a.Address = netip.Addr{} },
		"a zone":        func(_ *driver.Workload, a *driver.LeasedAddress) { a.Address = netip.MustParseAddr("fe80::1%eth0") },
		"mapped":        func(_ *driver.Workload, a *driver.LeasedAddress) { a.Address = netip.MustParseAddr("::ffff:1.2.3.4") },
		"no protocol":   func(_ *driver.Workload, a *driver.LeasedAddress) { a.Protocol = "ICMP" },
		"port 0":        func(_ *driver.Workload, a *driver.LeasedAddress) { a.External = 0 },
		"container's 0": func(_ *driver.Workload, a *driver.LeasedAddress) { a.Port = 0 },
		"no service":    func(_ *driver.Workload, a *driver.LeasedAddress) { a.Service = "db" },
		"bad source":    func(_ *driver.Workload, a *driver.LeasedAddress) { a.Sources = []netip.Prefix{{}} },
		"twice":         func(w *driver.Workload, a *driver.LeasedAddress) { w.Addresses = append(w.Addresses, *a) },
		"too many": func(w *driver.Workload, a *driver.LeasedAddress) {
			w.Addresses = make([]driver.LeasedAddress, driver.MaxAddresses+1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := leased()
			spoil(&w, &w.Addresses[0])
			err := w.Validate()
			require.ErrorIs(t, err, driver.ErrInvalid)
			assert.Less(t, len(err.Error()), 400)
		})
	}
}

func ExampleWorkload_AddressEnv() {
	fmt.Println(strings.Join(leased().AddressEnv("web")[3:], "\n"))
	// Output:
	// MOORAGE_IP_MY_IP_TCP_80=443
	// MOORAGE_IP_MY_IP_UDP_80=443
}
