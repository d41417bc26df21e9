package kubepolicy_test

import (
	"fmt"
	"testing"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/kubepolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func BenchmarkRender(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			var g manifest.Group
			for i := range n {
				g.Services = append(g.Services, manifest.Service{Name: fmt.Sprintf("s%03d", i), Expose: []manifest.Expose{{Port: 5432, Proto: manifest.TCP, Service: "s000"}}})
			}
			p, err := netpolicy.Compile(g, nil, surroundings())
			if err != nil {
				b.Fatal(err)
			}
			o := options()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := kubepolicy.Render(p, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
