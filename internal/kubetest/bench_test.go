//go:build linux

package kubetest_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/internal/kubetest"
)

// BenchmarkStart measures how long a cluster takes from nothing to taking pods,
// how long its end takes, and what memory it has then (proportional set size of
// all its processes, so that what they share counts once).
func BenchmarkStart(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("a Kubernetes cluster of our own needs root")
	}
	for _, c := range []struct {
		name    string
		options kubetest.Options
	}{
		{"bare", kubetest.Options{NoDNS: true}},
		{"names", kubetest.Options{}},
		{"two-nodes", kubetest.Options{Nodes: 2}},
		{"everything", kubetest.Options{Router: true, MetalLB: true, Policies: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var memory float64
			for b.Loop() {
				cluster, err := kubetest.New(context.Background(), c.options)
				require.NoError(b, err)
				b.StopTimer()
				memory = mebibytes(b, cluster.Processes())
				require.NoError(b, cluster.Close(context.Background()))
				b.StartTimer()
			}
			b.ReportMetric(memory, "MiB")
		})
	}
}

func mebibytes(b *testing.B, pids []int) float64 {
	b.Helper()
	var sum float64
	for _, pid := range pids {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // ended meanwhile
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if text, ok := strings.CutPrefix(s.Text(), "Pss:"); ok {
				kib, err := strconv.ParseFloat(strings.Fields(text)[0], 64)
				require.NoError(b, err)
				sum += kib / 1024
			}
		}
		_ = f.Close()
	}
	return sum
}
