package inventory_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// large is a cluster of n nodes of which most are nearly full, in different ways.
func large(tb testing.TB, n int) *inventory.Ledger {
	tb.Helper()
	nodes := make([]inventory.Node, 0, n)
	for i := range n {
		v := node(fmt.Sprintf("node-%05d", i), 32+uint64(i%7)*4, 128)
		v.Allocatable.PersistentBytes = map[string]uint64{"beta2": 500 * gi}
		if i%10 == 0 {
			for c := range 8 {
				v.Allocatable.GPUs = append(v.Allocatable.GPUs, gpu(fmt.Sprint(c), []string{"h100", "a100"}[i/10%2], 80, "sxm"))
			}
		}
		nodes = append(nodes, v)
	}
	l := ledger(tb, nodes...)
	for i := range n / 2 {
		l.Reserve(fmt.Sprint("held ", i), group(unit(1, 1, 28, 100)))
	}
	return l
}

func benchmarkGroups() map[string]market.GroupSpec {
	var ten market.GroupSpec
	for i := range 10 {
		ten.Units = append(ten.Units, unit(uint32(i+1), 3, uint64(i%4+1), 4, volume(5, "", "")))
	}
	return map[string]market.GroupSpec{
		"one unit":  group(unit(1, 1, 2, 4)),
		"ten units": ten,
		"gpu":       group(withGPU(unit(1, 2, 4, 16), 4, "vendor/nvidia/model/h100")),
		"refused":   group(unit(1, 1, 1000, 4)),
	}
}

func BenchmarkReserve(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		l := large(b, n)
		for name, spec := range benchmarkGroups() {
			b.Run(fmt.Sprintf("%d nodes/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					l.Reserve("k", spec)
					l.Release("k")
				}
			})
		}
	}
}

// BenchmarkSettle is what looking at a lease of thirty replicas costs that run
// where they are promised, and that run elsewhere.
func BenchmarkSettle(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		l := large(b, n)
		p, reasons := l.Reserve("k", benchmarkGroups()["ten units"])
		require.Empty(b, reasons)
		var here, there []inventory.Seat
		for i, a := range p.Assignments {
			here = append(here, inventory.Seat{Unit: a.Unit, Node: a.Node})
			there = append(there, inventory.Seat{Unit: a.Unit, Node: fmt.Sprintf("node-%05d", n-1-i)})
		}
		b.Run(fmt.Sprintf("%d nodes/as promised", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Settle("k", here)
			}
		})
		b.Run(fmt.Sprintf("%d nodes/all elsewhere and back", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Settle("k", there)
				l.Settle("k", here)
			}
		})
	}
}

func TestNothingIsAllocatedPerNode(t *testing.T) {
	count := func(n int) float64 {
		l := large(t, n)
		spec := group(unit(1, 1, 2, 4))
		l.Reserve("k", spec) // buffers grow once
		l.Release("k")
		return testing.AllocsPerRun(20, func() {
			l.Reserve("k", spec)
			l.Release("k")
		})
	}
	few, many := count(100), count(2000)
	require.Equal(t, few, many)
	require.Less(t, many, 40.0)
}
