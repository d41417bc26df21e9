//go:build unix

package sdl_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/sdl"
)

// BenchmarkCompile measures text to groups, manifest and hash.
func BenchmarkCompile(b *testing.B) {
	for _, name := range []string{"one", "gpu", "five", "eleven"} {
		src, err := os.ReadFile(filepath.Join("testdata", "bench", name+".yaml"))
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) { benchmarkCompile(b, src) })
	}
}

func benchmarkCompile(b *testing.B, src []byte) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	before := cpuTime(b)
	for b.Loop() {
		if _, err := sdl.Compile(src, sdl.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is the processor time of the process, the collector of garbage
// included: what a busy machine does not change.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCompileMany shows that the cost grows with the size and not faster.
func BenchmarkCompileMany(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		src := manyServices(n, "2.1")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchmarkCompile(b, src)
		})
	}
}

// BenchmarkCompileGeneral measures a document that needs the YAML library.
func BenchmarkCompileGeneral(b *testing.B) {
	src, err := os.ReadFile("testdata/bench/five.yaml")
	require.NoError(b, err)
	benchmarkCompile(b, []byte(strings.Replace(string(src), "version: ", "version: !!str ", 1)))
}

// BenchmarkFormat measures laying out.
func BenchmarkFormat(b *testing.B) {
	src, err := os.ReadFile("testdata/bench/eleven.yaml")
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sdl.Format(src); err != nil {
			b.Fatal(err)
		}
	}
}
