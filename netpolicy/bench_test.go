package netpolicy_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// chain is a group of n services, each open to its neighbour, the first to the
// world.
func chain(n int) manifest.Group {
	g := manifest.Group{Name: "chain"}
	for i := range n {
		s := manifest.Service{Name: fmt.Sprintf("s%03d", i), Expose: []manifest.Expose{
			{Port: 5432, Proto: manifest.TCP, Service: fmt.Sprintf("s%03d", max(i-1, 0))},
			{Port: 9000, Proto: manifest.UDP},
		}}
		if i == 0 {
			s.Expose = append(s.Expose, manifest.Expose{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true})
		}
		g.Services = append(g.Services, s)
	}
	return g
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			g, s := chain(n), surroundings()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := netpolicy.Compile(g, nil, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{1, 64} {
		p, err := netpolicy.Compile(chain(n), nil, surroundings())
		if err != nil {
			b.Fatal(err)
		}
		last := fmt.Sprintf("s%03d", n-1)
		for name, f := range map[string]netpolicy.Flow{
			"service": {From: netpolicy.Of("s000"), To: netpolicy.Of(last), Port: tcp(5432)},
			"public":  {From: netpolicy.Of(last), To: netpolicy.At(netip.MustParseAddr("8.8.8.8")), Port: tcp(443)},
			"denied":  {From: netpolicy.Of(last), To: netpolicy.At(netip.MustParseAddr("fd00::1")), Port: tcp(443)},
		} {
			b.Run(fmt.Sprintf("services=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = p.Evaluate(f)
				}
			})
		}
	}
}
