//go:build linux && cgo

package runc_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc"
)

func BenchmarkStart(b *testing.B) {
	r := open(b, nil)
	image := pulled(b, r, shared().reference)
	_, err := r.EnsureNetwork(b.Context(), "lan")
	require.NoError(b, err)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		name := "bench-" + strconv.Itoa(n)
		_, err := r.Start(b.Context(), runtime.Spec{Name: name, Image: image, Network: "lan", Args: []string{"wait"}})
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, r.Remove(b.Context(), name))
		b.StartTimer()
	}
}

func BenchmarkExec(b *testing.B) {
	r := open(b, nil)
	_, err := r.Start(b.Context(), runtime.Spec{Name: "a", Image: pulled(b, r, shared().reference), Args: []string{"wait"}})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		code, err := r.Exec(b.Context(), "a", runtime.Exec{Command: []string{"/guest", "exit", "0"}})
		require.NoError(b, err)
		require.Zero(b, code)
	}
}

func BenchmarkStopAndRemove(b *testing.B) {
	r := open(b, nil)
	image := pulled(b, r, shared().reference)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		_, err := r.Start(b.Context(), runtime.Spec{Name: "a", Image: image, Args: []string{"wait"}})
		require.NoError(b, err)
		b.StartTimer()
		require.NoError(b, r.Remove(b.Context(), "a"))
	}
}

func BenchmarkPullAndUnpack(b *testing.B) {
	w := needRoot(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r, err := runc.New(runc.Config{Dir: b.TempDir(), Shim: w.shim})
		require.NoError(b, err)
		b.StartTimer()
		im, err := r.Pull(b.Context(), runtime.PullRequest{Reference: w.reference})
		require.NoError(b, err)
		b.ReportMetric(float64(im.Bytes), "image-bytes")
		b.StopTimer()
		require.NoError(b, r.Close())
		b.StartTimer()
	}
}

// BenchmarkShimMemory reports what ten shims take, in bytes each: all pages, and
// those not shared with other shims.
func BenchmarkShimMemory(b *testing.B) {
	r := open(b, nil)
	image := pulled(b, r, shared().reference)
	const n = 10
	var shims []int
	for i := range n {
		c, err := r.Start(b.Context(), runtime.Spec{Name: fmt.Sprint("c", i), Image: image, Args: []string{"wait"}})
		require.NoError(b, err)
		shims = append(shims, number(b, fmt.Sprintf("/proc/%d/status", c.PID), "PPid:"))
	}
	for b.Loop() {
		var rss, own int
		for _, pid := range shims {
			path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
			rss += number(b, path, "Rss:")
			own += number(b, path, "Private_Dirty:") + number(b, path, "Private_Clean:")
		}
		b.ReportMetric(float64(rss)/n*1024, "rss-bytes/shim")
		b.ReportMetric(float64(own)/n*1024, "own-bytes/shim")
	}
}

func number(b *testing.B, path, field string) int {
	b.Helper()
	data, err := os.ReadFile(path)
	require.NoError(b, err)
	for l := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(l, field); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			require.NoError(b, err)
			return n
		}
	}
	require.Fail(b, "no such field", field)
	return 0
}
