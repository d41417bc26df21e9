package kubepolicy_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func options() kubepolicy.Options {
	return kubepolicy.Options{
		Namespace: "moorage-abc", Labels: map[string]string{"moorage.dev/managed": "true"},
		Routers: []kubepolicy.Peer{{Namespace: map[string]string{"kubernetes.io/metadata.name": "gateway"}}},
	}
}

func surroundings() netpolicy.Surroundings {
	return netpolicy.Surroundings{
		Own:          []netip.Prefix{prefix("203.0.113.0/24"), prefix("192.168.7.128/25"), prefix("2001:db8:1::/48")},
		Open:         []netip.Prefix{prefix("192.168.7.0/24"), prefix("203.0.113.8/32")},
		Resolvers:    []netip.Addr{netip.MustParseAddr("169.254.20.10")},
		ControlPlane: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6443"), netip.MustParseAddrPort("[fd00::1]:6443")},
	}
}

// groups are leases by the name of their golden file.
func groups() map[string]manifest.Group {
	return map[string]manifest.Group{
		"web": {Services: []manifest.Service{{Name: "web", Expose: []manifest.Expose{{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true}}}}},
		"shop": {Services: []manifest.Service{
			{Name: "api", Expose: []manifest.Expose{{Port: 7000, Proto: manifest.TCP, Service: "web"}, {Port: 7001, Proto: manifest.TCP}},
				Params: &manifest.Params{Permissions: &manifest.Permissions{Read: []string{"logs"}}}},
			{Name: "db", Expose: []manifest.Expose{{Port: 5432, Proto: manifest.TCP, Service: "api"}, {Port: 5432, Proto: manifest.TCP, Service: "web"}, {Port: 9, Proto: manifest.TCP, Service: "gone"}}},
			{Name: "web", Expose: []manifest.Expose{
				{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true},
				{Port: 9000, Proto: manifest.TCP, Global: true}, {Port: 9000, Proto: manifest.UDP, Global: true},
				{Port: 9001, Proto: manifest.UDP, Global: true, IP: "front"},
			}},
		}},
	}
}

func render(t *testing.T, g manifest.Group) []byte {
	t.Helper()
	var leased []netpolicy.LeasedPort
	if len(g.Services) > 1 {
		leased = []netpolicy.LeasedPort{{Service: "web", Port: netpolicy.Port{Protocol: manifest.UDP, Number: 9001}, Sources: []netip.Prefix{prefix("198.51.100.0/24"), prefix("2001:db8:9::/48")}}}
	}
	p, err := netpolicy.Compile(g, leased, surroundings())
	require.NoError(t, err)
	objects, err := kubepolicy.Render(p, options())
	require.NoError(t, err)
	var out []byte
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		require.NoError(t, err)
		out = append(append(out, "---\n"...), text...)
	}
	return out
}

func TestObjectsAreThese(t *testing.T) {
	for name, g := range groups() {
		got, golden := render(t, g), filepath.Join("testdata", name+".yaml")
		if *update {
			require.NoError(t, os.WriteFile(golden, got, 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got), "go test -update rewrites it; say in the commit why")
		assert.Equal(t, got, render(t, g), "the same arguments give the same objects")
	}
}

func TestObjectsOfServicesThatAreNoMoreAreStale(t *testing.T) {
	p, err := netpolicy.Compile(groups()["web"], nil, surroundings())
	require.NoError(t, err)
	wanted, err := kubepolicy.Render(p, options())
	require.NoError(t, err)
	found := []string{"moorage-in-db", "moorage-lease", "somebody-elses", "moorage-in-web", "moorage-api-api"}
	assert.Equal(t, []string{"moorage-in-db", "moorage-api-api"}, kubepolicy.Stale(wanted, found))
	assert.Equal(t, []string{"moorage-in-db", "moorage-lease", "moorage-in-web", "moorage-api-api"}, kubepolicy.Stale(nil, found))
}

func TestNodesMayStandForClientsWhereSourcesAreListed(t *testing.T) {
	leased := []netpolicy.LeasedPort{{Service: "web", Port: netpolicy.Port{Protocol: manifest.TCP, Number: 8080}, Sources: []netip.Prefix{prefix("198.51.100.0/24")}}}
	p, err := netpolicy.Compile(groups()["web"], leased, surroundings())
	require.NoError(t, err)
	o := options()
	o.Nodes = []netip.Prefix{prefix("192.168.77.11/32")}
	objects, err := kubepolicy.Render(p, o)
	require.NoError(t, err)
	var blocks []string
	for _, rule := range objects[0].Spec.Ingress {
		for _, from := range rule.From {
			if from.IPBlock != nil {
				blocks = append(blocks, from.IPBlock.CIDR)
			}
		}
	}
	assert.Equal(t, []string{"192.168.77.11/32", "198.51.100.0/24"}, blocks)
}

// reaches lists the ranges and the number of other peers that may use a port of
// an object.
func reaches(np *networkingv1.NetworkPolicy, number int) (blocks []string, others int) {
	for _, rule := range np.Spec.Ingress {
		if len(rule.Ports) == 0 || rule.Ports[0].Port.IntValue() != number {
			continue
		}
		for _, from := range rule.From {
			if from.IPBlock != nil {
				blocks = append(blocks, from.IPBlock.CIDR)
			} else {
				others++
			}
		}
	}
	return blocks, others
}

func TestARouterInTheHostNetworkReachesPodsOfOtherNodes(t *testing.T) {
	p, err := netpolicy.Compile(groups()["shop"], nil, surroundings())
	require.NoError(t, err)
	o := options()
	o.Routers, o.RouterNodes = nil, []netip.Prefix{prefix("192.168.77.11/32"), prefix("fd77::11/128")}
	objects, err := kubepolicy.Render(p, o)
	require.NoError(t, err)
	for _, np := range objects {
		blocks, _ := reaches(np, 8080)
		switch np.Name {
		case "moorage-in-web":
			assert.Equal(t, []string{"192.168.77.11/32", "fd77::11/128"}, blocks)
		default:
			assert.Empty(t, blocks, np.Name)
		}
		blocks, _ = reaches(np, 5432)
		assert.Empty(t, blocks, "only ports of the router are open to it: %s", np.Name)
	}
}

func TestHelpersAreReachedByTheRouterAlone(t *testing.T) {
	p, err := netpolicy.Compile(groups()["web"], nil, surroundings())
	require.NoError(t, err)
	o := options()
	o.Helpers = []kubepolicy.Helper{{Name: "acme", Pods: map[string]string{"solver": "true"}, Port: 8089}}
	objects, err := kubepolicy.Render(p, o)
	require.NoError(t, err)
	require.Equal(t, "moorage-help-acme", objects[0].Name)
	assert.Equal(t, map[string]string{"solver": "true"}, objects[0].Spec.PodSelector.MatchLabels)
	blocks, others := reaches(objects[0], 8089)
	assert.Empty(t, blocks)
	assert.Equal(t, 1, others)
	assert.Equal(t, []string{"moorage-help-acme"}, kubepolicy.Stale(objects[1:], []string{"moorage-help-acme", "moorage-lease"}))

	o.Routers = nil
	objects, err = kubepolicy.Render(p, o)
	require.NoError(t, err)
	assert.Len(t, objects, 2, "no router: nobody reaches a helper")
}

func TestOptionsThatWouldOpenMoreThanTheySayAreRefused(t *testing.T) {
	p, err := netpolicy.Compile(groups()["web"], nil, surroundings())
	require.NoError(t, err)
	for name, edit := range map[string]func(*kubepolicy.Options){
		"no namespace":               func(o *kubepolicy.Options) { o.Namespace = "" },
		"a node without address":     func(o *kubepolicy.Options) { o.Nodes = []netip.Prefix{{}} },
		"a router on no node":        func(o *kubepolicy.Options) { o.RouterNodes = []netip.Prefix{{}} },
		"a helper that is anybody":   func(o *kubepolicy.Options) { o.Helpers = []kubepolicy.Helper{{Name: "x", Port: 1}} },
		"a router that is anybody":   func(o *kubepolicy.Options) { o.Routers = []kubepolicy.Peer{{}} },
		"a resolver that is anybody": func(o *kubepolicy.Options) { o.Resolvers = []kubepolicy.Peer{{}} },
	} {
		o := options()
		edit(&o)
		_, err := kubepolicy.Render(p, o)
		assert.Error(t, err, name)
	}
}
