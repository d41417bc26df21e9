package netpolicy_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func at(s string) netpolicy.Endpoint { return netpolicy.At(netip.MustParseAddr(s)) }

func tcp(n uint16) netpolicy.Port { return netpolicy.Port{Protocol: manifest.TCP, Number: n} }
func udp(n uint16) netpolicy.Port { return netpolicy.Port{Protocol: manifest.UDP, Number: n} }

// shop is a lease with one port of every kind.
func shop() manifest.Group {
	return manifest.Group{Name: "g", Services: []manifest.Service{
		{Name: "web", Expose: []manifest.Expose{
			{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true},
			{Port: 9000, Proto: manifest.TCP, Global: true},
			{Port: 9000, Proto: manifest.UDP, Global: true, IP: "front"},
		}},
		{Name: "api", Expose: []manifest.Expose{
			{Port: 7000, Proto: manifest.TCP, Service: "web"},
			{Port: 7001, Proto: manifest.TCP},
			{Port: 7002, Proto: manifest.TCP, Service: "nobody"},
		}, Params: &manifest.Params{Permissions: &manifest.Permissions{Read: []string{"logs"}}}},
		{Name: "db", Expose: []manifest.Expose{
			{Port: 5432, Proto: manifest.TCP, Service: "api"},
			{Port: 5432, Proto: manifest.TCP, Service: "web"},
		}},
	}}
}

func surroundings() netpolicy.Surroundings {
	return netpolicy.Surroundings{
		Own:          []netip.Prefix{prefix("10.200.0.0/14"), prefix("203.0.113.0/24"), prefix("2001:db8:1::/48"), prefix("192.168.7.128/25")},
		Open:         []netip.Prefix{prefix("192.168.7.0/24")},
		Resolvers:    []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00::53")},
		ControlPlane: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6443")},
	}
}

func compile(t *testing.T, leased ...netpolicy.LeasedPort) *netpolicy.Policy {
	t.Helper()
	p, err := netpolicy.Compile(shop(), leased, surroundings())
	require.NoError(t, err)
	return p
}

func TestFlowsAreDecidedWithTheirReason(t *testing.T) {
	p := compile(t, netpolicy.LeasedPort{Service: "web", Port: udp(9000), Sources: []netip.Prefix{prefix("198.51.100.0/24"), prefix("2001:db8:9::/48")}})
	of := netpolicy.Of
	role := func(r netpolicy.Role, a string) netpolicy.Endpoint {
		return netpolicy.Endpoint{Role: r, Address: netip.MustParseAddr(a)}
	}
	for _, row := range []struct {
		from, to netpolicy.Endpoint
		port     netpolicy.Port
		want     netpolicy.Reason
	}{
		{of("db"), of("db"), tcp(1), netpolicy.SameService},
		{of("web"), of("api"), tcp(7000), netpolicy.ToService},
		{of("db"), of("api"), tcp(7000), netpolicy.NotExposedTo},
		{of("web"), of("api"), udp(7000), netpolicy.NotExposed},
		{of("db"), of("api"), tcp(7001), netpolicy.ToLease},
		{of("db"), of("api"), tcp(7002), netpolicy.NotExposed},
		{of("api"), of("db"), tcp(5432), netpolicy.ToService},
		{of("web"), of("db"), tcp(5432), netpolicy.ToService},
		{of("db"), of("web"), tcp(8080), netpolicy.ToLease},
		{of("db"), of("web"), tcp(80), netpolicy.NotExposed},
		{of("db"), of("gone"), tcp(80), netpolicy.UnknownService},
		{of("db"), of("web"), udp(9000), netpolicy.ToLease},

		{role(netpolicy.Router, "10.200.0.9"), of("web"), tcp(8080), netpolicy.FromRouter},
		{role(netpolicy.Router, "10.200.0.9"), of("web"), tcp(9000), netpolicy.FromAnywhere},
		{role(netpolicy.Router, "10.200.0.9"), of("db"), tcp(5432), netpolicy.NotExposedTo},
		{role(netpolicy.Node, "10.0.0.5"), of("db"), tcp(1), netpolicy.FromNode},
		{at("8.8.8.8"), of("web"), tcp(8080), netpolicy.NotExposedTo},
		{at("8.8.8.8"), of("web"), tcp(9000), netpolicy.FromAnywhere},
		{at("10.200.3.4"), of("web"), tcp(9000), netpolicy.FromAnywhere},
		{at("2a00::1"), of("web"), tcp(9000), netpolicy.FromAnywhere},
		{at("8.8.8.8"), of("web"), udp(9000), netpolicy.NotASource},
		{at("198.51.100.7"), of("web"), udp(9000), netpolicy.FromSource},
		{at("::ffff:198.51.100.7"), of("web"), udp(9000), netpolicy.FromSource},
		{at("2001:db8:9::7"), of("web"), udp(9000), netpolicy.FromSource},
		{at("198.51.100.7"), of("api"), tcp(7001), netpolicy.NotExposedTo},

		{of("web"), at("8.8.8.8"), tcp(443), netpolicy.ToPublic},
		{of("web"), at("8.8.8.8"), netpolicy.Port{Protocol: "ICMP"}, netpolicy.ToPublic},
		{of("web"), at("2a00:1450::1"), tcp(443), netpolicy.ToPublic},
		{of("web"), at("169.254.169.254"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("::ffff:169.254.169.254"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("64:ff9b::a9fe:a9fe"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("64:ff9b::808:808"), tcp(80), netpolicy.ToPublic},
		{of("web"), at("100.100.100.200"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("168.63.129.16"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("fd00:ec2::254"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("fe80::1%eth0"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("192.168.1.1"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("192.168.7.1"), tcp(80), netpolicy.ToOpenRange},
		{of("web"), at("192.168.7.129"), tcp(80), netpolicy.ToOwnRange},
		{of("web"), at("10.200.3.4"), tcp(9000), netpolicy.ToOwnRange},
		{of("web"), at("203.0.113.9"), tcp(80), netpolicy.ToOwnRange},
		{of("web"), at("2001:db8:1::9"), tcp(80), netpolicy.ToOwnRange},
		{of("web"), role(netpolicy.Node, "10.0.0.5"), tcp(22), netpolicy.ToNode},
		{of("web"), role(netpolicy.Node, "9.9.9.9"), tcp(22), netpolicy.ToNode},
		{of("web"), netpolicy.Endpoint{}, tcp(22), netpolicy.NoAddress},

		{of("web"), at("10.96.0.10"), udp(53), netpolicy.ToResolver},
		{of("web"), at("fd00::53"), tcp(53), netpolicy.ToResolver},
		{of("web"), at("10.96.0.10"), tcp(80), netpolicy.ToDeniedRange},
		{of("web"), at("10.96.0.11"), udp(53), netpolicy.ToDeniedRange},
		{of("web"), role(netpolicy.Node, "10.96.0.10"), udp(53), netpolicy.ToResolver},
		{of("web"), role(netpolicy.Resolver, "10.200.0.2"), udp(53), netpolicy.ToResolver},
		{of("web"), role(netpolicy.Resolver, "10.200.0.2"), udp(9153), netpolicy.ToOwnRange},
		{of("api"), at("10.0.0.1"), tcp(6443), netpolicy.ToControlPlane},
		{of("api"), role(netpolicy.Node, "10.0.0.1"), tcp(6443), netpolicy.ToControlPlane},
		{of("web"), at("10.0.0.1"), tcp(6443), netpolicy.ToDeniedRange},
		{of("api"), at("10.0.0.1"), udp(6443), netpolicy.ToDeniedRange},

		{at("8.8.8.8"), at("10.0.0.1"), tcp(6443), netpolicy.Unconcerned},
	} {
		f := netpolicy.Flow{From: row.from, To: row.to, Port: row.port}
		got := p.Evaluate(f)
		assert.Equal(t, row.want.String(), got.Reason.String(), f.String())
		assert.Equal(t, row.want.Allows(), got.Allowed())
	}
}

func TestVerdictsReadAsSentences(t *testing.T) {
	p := compile(t)
	for flow, want := range map[netpolicy.Flow]string{
		{From: netpolicy.Of("web"), To: at("8.8.8.8"), Port: tcp(80)}:         "allowed: a public address",
		{From: netpolicy.Of("web"), To: at("169.254.169.254"), Port: tcp(80)}: "denied: the range is not public: 169.254.0.0/16 (link-local; metadata of most clouds, RFC 3927)",
		{From: netpolicy.Of("web"), To: at("203.0.113.9"), Port: tcp(80)}:     "denied: the range is the provider's own: 203.0.113.0/24",
		{From: netpolicy.Of("db"), To: netpolicy.Of("api"), Port: tcp(7000)}:  "denied: the port is exposed, but to others",
	} {
		assert.Equal(t, want, p.Evaluate(flow).String(), flow.String())
	}
	for r := range netpolicy.Reason(40) {
		known := r >= 1 && r <= 12 || r >= 20 && r <= 27
		assert.Equal(t, known, r.String() != "unknown", r)
	}
}

func TestALeasedPortWithoutSourcesIsOpenToAll(t *testing.T) {
	some := netpolicy.LeasedPort{Service: "web", Port: udp(9000), Sources: []netip.Prefix{prefix("198.51.100.0/24")}}
	all := netpolicy.LeasedPort{Service: "web", Port: udp(9000)}
	for name, leased := range map[string][]netpolicy.LeasedPort{"not leased": nil, "no sources": {all}, "of two one has none": {some, all}, "in the other order": {all, some}} {
		p := compile(t, leased...)
		assert.Equal(t, netpolicy.FromAnywhere, p.Evaluate(netpolicy.Flow{From: at("8.8.8.8"), To: netpolicy.Of("web"), Port: udp(9000)}).Reason, name)
	}
	http := netpolicy.LeasedPort{Service: "web", Port: tcp(8080), Sources: []netip.Prefix{prefix("198.51.100.0/24")}}
	p := compile(t, http)
	assert.Equal(t, netpolicy.FromSource, p.Evaluate(netpolicy.Flow{From: at("198.51.100.1"), To: netpolicy.Of("web"), Port: tcp(8080)}).Reason)
	assert.Equal(t, netpolicy.NotASource, p.Evaluate(netpolicy.Flow{From: at("8.8.8.8"), To: netpolicy.Of("web"), Port: tcp(8080)}).Reason)
}

func TestAPolicySurvivesJSON(t *testing.T) {
	p := compile(t)
	data, err := json.Marshal(p)
	require.NoError(t, err)
	var got netpolicy.Policy
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, *p, got)
}

func TestMalformedArgumentsAreRefused(t *testing.T) {
	one := func(s manifest.Service) manifest.Group { return manifest.Group{Services: []manifest.Service{s}} }
	for name, try := range map[string]func() error{
		"name": func() error {
			_, err := netpolicy.Compile(one(manifest.Service{Name: "A b"}), nil, netpolicy.Surroundings{})
			return err
		},
		"twice": func() error {
			_, err := netpolicy.Compile(manifest.Group{Services: []manifest.Service{{Name: "a"}, {Name: "a"}}}, nil, netpolicy.Surroundings{})
			return err
		},
		"port": func() error {
			_, err := netpolicy.Compile(one(manifest.Service{Name: "a", Expose: []manifest.Expose{{Port: 65536 + 80, Proto: manifest.TCP}}}), nil, netpolicy.Surroundings{})
			return err
		},
		"protocol": func() error {
			_, err := netpolicy.Compile(one(manifest.Service{Name: "a", Expose: []manifest.Expose{{Port: 80, Proto: "SCTP"}}}), nil, netpolicy.Surroundings{})
			return err
		},
		"leased port of nobody": func() error {
			_, err := netpolicy.Compile(one(manifest.Service{Name: "a"}), []netpolicy.LeasedPort{{Service: "b", Port: tcp(1)}}, netpolicy.Surroundings{})
			return err
		},
		"own everything": func() error {
			_, err := netpolicy.Compile(manifest.Group{}, nil, netpolicy.Surroundings{Own: []netip.Prefix{prefix("0.0.0.0/0")}})
			return err
		},
		"resolver": func() error {
			_, err := netpolicy.Compile(manifest.Group{}, nil, netpolicy.Surroundings{Resolvers: []netip.Addr{{}}})
			return err
		},
		"control plane": func() error {
			_, err := netpolicy.Compile(manifest.Group{}, nil, netpolicy.Surroundings{ControlPlane: []netip.AddrPort{{}}})
			return err
		},
	} {
		assert.ErrorIs(t, try(), netpolicy.ErrInvalid, name)
	}
}

func TestDeniedRangesAreSortedApartAndExplained(t *testing.T) {
	var all []netip.Prefix
	for i, r := range netpolicy.Denied() {
		assert.Equal(t, r.Prefix, r.Prefix.Masked())
		assert.NotEmpty(t, r.What)
		assert.NotEmpty(t, r.Source)
		for _, other := range netpolicy.Denied()[:i] {
			assert.False(t, r.Prefix.Overlaps(other.Prefix), "%s and %s", r.Prefix, other.Prefix)
			assert.Negative(t, other.Prefix.Addr().Compare(r.Prefix.Addr()))
		}
		all = append(all, r.Prefix)
	}
	merged := netpolicy.Merge(all...)
	assert.Contains(t, merged, prefix("224.0.0.0/3"), "neighbours are joined")
	assert.Equal(t, merged, netpolicy.Merge(merged...))
}
