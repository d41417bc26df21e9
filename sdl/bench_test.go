package sdl_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := sdl.Compile(src, sdl.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompileMany shows that the cost grows with the size and not faster.
func BenchmarkCompileMany(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		src := manyServices(n, "2.1")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchmarkCompile(b, src)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/service")
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

// manyServices is a document of n services that share a profile.
func manyServices(n int, version string) []byte {
	var services, deployment strings.Builder
	for i := range n {
		fmt.Fprintf(&services, "  s%06d:\n    image: image:%d\n    env:\n      - N=%d\n    expose:\n      - port: 80\n        to:\n          - global: true\n", i, i, i)
		fmt.Fprintf(&deployment, "  s%06d:\n    west:\n      profile: small\n      count: 1\n", i)
	}
	return []byte(`version: "` + version + `"
services:
` + services.String() + `profiles:
  compute:
    small:
      resources:
        cpu:
          units: 10m
        memory:
          size: 1Mi
        storage:
          - size: 5Mi
  placement:
    west:
      pricing:
        small:
          denom: uact
          amount: 1
deployment:
` + deployment.String())
}
