//go:build linux

package image_test

import (
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/image"
)

// BenchmarkPull takes an image of 64 MiB in 4000 files and four layers from a
// registry on loopback to unpacked folders.
func BenchmarkPull(b *testing.B) {
	needRoot(b)
	srv := serve(b)
	var layers []v1.Layer
	noise := rand.New(rand.NewPCG(1, 2))
	total := 0
	for l := range 4 {
		var entries []entry
		for i := range 1000 {
			body := make([]byte, 16<<10)
			for j := range body { // text-like: compresses to about a half
				body[j] = "etaoin shrdlucmfw"[noise.IntN(17)]
			}
			total += len(body)
			entries = append(entries, file(fmt.Sprintf("usr/lib/%d/%d/f%d", l, i%20, i), string(body)))
		}
		layers = append(layers, layer(b, entries...))
	}
	ref := srv.push(b, "large:1", build(b, goruntime.GOARCH, layers...))
	b.SetBytes(int64(total))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s := open(b, nil)
		b.StartTimer()
		_, err := s.Pull(b.Context(), runtime.PullRequest{Reference: ref})
		require.NoError(b, err)
	}
}

// BenchmarkPullCached asks for an image whose layers are all there.
func BenchmarkPullCached(b *testing.B) {
	needRoot(b)
	srv := serve(b)
	ref := srv.push(b, "small:1", build(b, goruntime.GOARCH, layer(b, file("a", "b"))))
	s := open(b, nil)
	pullOnce(b, s, ref)
	b.ReportAllocs()
	for b.Loop() {
		pullOnce(b, s, ref)
	}
}

func pullOnce(b *testing.B, s *image.Store, ref string) {
	b.Helper()
	_, err := s.Pull(b.Context(), runtime.PullRequest{Reference: ref})
	require.NoError(b, err)
}
