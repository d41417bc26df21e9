package demo_test

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/examples/internal/demo"
)

func TestTheDemoImageIsBuiltServedAndPulled(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second time from what the first has left
		r, err := demo.Start(t.Context(), dir, "127.0.0.1:0")
		require.NoError(t, err)
		ref, err := name.ParseReference(r.Image(), name.Insecure)
		require.NoError(t, err)
		image, err := remote.Image(ref)
		require.NoError(t, err)
		cfg, err := image.ConfigFile()
		require.NoError(t, err)
		require.Equal(t, []string{"/hello"}, cfg.Config.Entrypoint)
		require.NoError(t, r.Close())
	}
}
