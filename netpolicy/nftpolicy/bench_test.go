package nftpolicy_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// row is a network of n services with a replica each, every one open to its
// neighbour and the first to the world.
func row(tb testing.TB, id, n int) nftpolicy.Network {
	tb.Helper()
	var g manifest.Group
	for i := range n {
		s := manifest.Service{Name: fmt.Sprintf("s%03d", i), Expose: []manifest.Expose{{Port: 5432, Proto: manifest.TCP, Service: fmt.Sprintf("s%03d", max(i-1, 0))}}}
		if i == 0 {
			s.Expose = append(s.Expose, manifest.Expose{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true}, manifest.Expose{Port: 9000, Proto: manifest.UDP, Global: true})
		}
		g.Services = append(g.Services, s)
	}
	p, err := netpolicy.Compile(g, nil, surroundings())
	require.NoError(tb, err)
	base := netip.AddrFrom4([4]byte{10, byte(200 + id>>8), byte(id), 0})
	out := nftpolicy.Network{ID: id, Bridge: fmt.Sprintf("mrgb.%d", id), Prefixes: []netip.Prefix{netip.PrefixFrom(base, 24)}, Policy: p}
	a := base.Next()
	for i := range n {
		a = a.Next()
		out.Members = append(out.Members, nftpolicy.Member{Address: a, Service: g.Services[i].Name})
	}
	return out
}

func rows(tb testing.TB, leases, services int) nftpolicy.Table {
	tb.Helper()
	t := nftpolicy.Table{Name: "moorage_bench", Bridges: "mrgb.", Foreign: "mrg", Masquerade: true}
	for i := range leases {
		t.Networks = append(t.Networks, row(tb, i, services))
	}
	return t
}

func BenchmarkReplace(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			t := rows(b, 1, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := t.Replace(&t.Networks[0], &t.Networks[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRuleset(b *testing.B) {
	t := rows(b, 1000, 3)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Ruleset(); err != nil {
			b.Fatal(err)
		}
	}
}
