package metallb_test

import (
	"flag"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/metallb"
	"github.com/moorage-dev/moorage/market"
)

var update = flag.Bool("update", false, "write golden files")

func place(lease market.LeaseID, service string) metallb.Place {
	return metallb.Place{
		Namespace: "lease-" + lease.OrderID.String()[:len("tenant")], Selector: map[string]string{"service": service},
		Labels: map[string]string{"owner": "somebody"},
	}
}

func lease(t require.TestingT, text string) market.LeaseID {
	id, err := market.ParseLeaseID(text)
	require.NoError(t, err)
	return id
}

// several is a claim of both families that three services of two leases share,
// with the same port of TCP and UDP, and sources of one family.
func several(t require.TestingT) driver.Announcement {
	one, two := lease(t, "tenant/1/1/1/provider"), lease(t, "tenant/1/2/1/provider")
	return driver.Announcement{
		Claim: iplease.ClaimID{Owner: "tenant", Name: "web"}, Revision: 3,
		Addresses: []netip.Addr{netip.MustParseAddr("2001:db8:1::5"), netip.MustParseAddr("203.0.113.5")},
		Ports: []iplease.Port{
			{Protocol: iplease.UDP, External: 53, Lease: one, Service: "dns", Port: 5353},
			{Protocol: iplease.TCP, External: 53, Lease: one, Service: "dns", Port: 5353},
			{Protocol: iplease.TCP, External: 80, Lease: one, Service: "web", Port: 8080},
			{Protocol: iplease.TCP, External: 22, Lease: one, Service: "web", Port: 2222, Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/24")}},
			{Protocol: iplease.TCP, External: 443, Lease: two, Service: "web", Port: 8443},
		},
	}
}

func TestServicesAreAsTheGoldenFile(t *testing.T) {
	services, err := metallb.Render(config(), several(t))
	require.NoError(t, err)
	var text []byte
	for _, s := range services {
		if s.Annotations["moorage.dev/announcement"] != "" { // packed bytes may differ between releases of Go
			s.Annotations["moorage.dev/announcement"] = "(packed)"
		}
		b, err := yaml.Marshal(s)
		require.NoError(t, err)
		text = append(append(text, "---\n"...), b...)
	}
	const golden = "testdata/services.yaml"
	if *update {
		require.NoError(t, os.WriteFile(golden, text, 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(text))
}

// config has clients that are never asked.
func config() metallb.Config {
	return metallb.Config{Client: &kubernetes.Clientset{}, Dynamic: &dynamic.DynamicClient{}, Place: place}
}

func TestARecordIsWhatWasWritten(t *testing.T) {
	a := several(t)
	text, err := metallb.Encode(a)
	require.NoError(t, err)
	back, err := metallb.Decode(text)
	require.NoError(t, err)
	require.Equal(t, a, back)
	for _, bad := range []string{"", "?", "AAAA", text[:len(text)/2]} {
		_, err := metallb.Decode(bad)
		require.Error(t, err)
	}
}

func TestTheMostPortsFitIntoARecord(t *testing.T) {
	a := several(t)
	port := a.Ports[0]
	a.Ports = nil
	for i := range driver.MaxPorts {
		port.External = uint16(i + 1)
		a.Ports = append(a.Ports, port)
	}
	require.NoError(t, a.Validate())
	_, err := metallb.Encode(a)
	require.NoError(t, err)

	for i := range a.Ports { // more sources than an object can carry
		for s := range driver.MaxSources {
			at := netip.AddrFrom4([4]byte{10, byte(i * 7919 >> 8), byte(i * 7919), byte(s * 31)})
			a.Ports[i].Sources = append(a.Ports[i].Sources, netip.PrefixFrom(at, 32))
		}
	}
	_, err = metallb.Encode(a)
	require.ErrorIs(t, err, driver.ErrInvalid)
}

// TestEveryPortIsInOneService holds for random announcements.
func TestEveryPortIsInOneService(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := several(t)
		a.Ports = nil
		seen := map[string]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "ports") {
			p := iplease.Port{
				Protocol: rapid.SampledFrom([]iplease.Protocol{iplease.TCP, iplease.UDP}).Draw(t, "protocol"),
				External: rapid.Uint16Range(1, 30).Draw(t, "external"), Port: rapid.Uint16Min(1).Draw(t, "port"),
				Lease:   lease(t, rapid.SampledFrom([]string{"tenant/1/1/1/provider", "tenant/2/1/1/provider"}).Draw(t, "lease")),
				Service: rapid.SampledFrom([]string{"web", "dns"}).Draw(t, "service"),
			}
			if rapid.Bool().Draw(t, "restricted") {
				p.Sources = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
			}
			key := p.Protocol.String() + string(rune(p.External))
			if !seen[key] {
				seen[key] = true
				a.Ports = append(a.Ports, p)
			}
		}
		services, err := metallb.Render(config(), a)
		require.NoError(t, err)
		names, ports := map[string]bool{}, 0
		for _, s := range services[1:] {
			require.False(t, names[*s.Name], "two Services of one name")
			names[*s.Name] = true
			ports += len(s.Spec.Ports)
			restricted := len(s.Spec.LoadBalancerSourceRanges) > 0
			if restricted {
				require.Contains(t, s.Spec.LoadBalancerSourceRanges, "100::/128", "IPv6 is shut")
			}
			for _, p := range s.Spec.Ports {
				found := false
				for _, want := range a.Ports {
					if string(*p.Protocol) == want.Protocol.String() && *p.Port == int32(want.External) {
						found = true
						require.Equal(t, int32(want.Port), p.TargetPort.IntVal)
						require.Equal(t, want.Service, s.Spec.Selector["service"])
						require.Equal(t, len(want.Sources) > 0, restricted)
					}
				}
				require.True(t, found)
			}
		}
		require.Equal(t, len(a.Ports), ports)
	})
}

func TestRangesOfPools(t *testing.T) {
	for text, want := range map[string][2]string{
		"192.0.2.0/30":            {"192.0.2.0", "192.0.2.3"},
		"192.0.2.9/32":            {"192.0.2.9", "192.0.2.9"},
		"192.0.2.5 - 192.0.2.9":   {"192.0.2.5", "192.0.2.9"},
		"2001:db8::/126":          {"2001:db8::", "2001:db8::3"},
		"2001:db8::-2001:db8::ff": {"2001:db8::", "2001:db8::ff"},
	} {
		got, err := metallb.ParseRange(text)
		require.NoError(t, err, text)
		require.Equal(t, driver.Range{First: netip.MustParseAddr(want[0]), Last: netip.MustParseAddr(want[1])}, got)
	}
	for _, bad := range []string{"", "x", "192.0.2.1", "192.0.2.1-", "-192.0.2.1", "192.0.2.0/33"} {
		_, err := metallb.ParseRange(bad)
		require.Error(t, err, bad)
	}
}

func TestAnAnnouncerNeedsItsClients(t *testing.T) {
	_, err := metallb.New(metallb.Config{})
	require.ErrorContains(t, err, "Client")
}
