package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
)

func TestATenantReadsAPageOfThisCluster(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	assert.Contains(t, out.String(), "page  hello, tenant\n")
}

// TestConformance is what every driver's author writes.
func TestConformance(t *testing.T) {
	clustertest.Run(t, clustertest.Harness{
		Abilities: []clustertest.Ability{clustertest.HTTP},
		New: func(t *testing.T) *clustertest.Cluster {
			t.Helper()
			pages := httptest.NewUnstartedServer(nil)
			f, err := NewFunctions(map[string]Image{"guest": inTheSuite}, node(), pages.Listener.Addr().String())
			require.NoError(t, err)
			pages.Config.Handler = f
			pages.Start()
			t.Cleanup(pages.Close)
			return &clustertest.Cluster{Driver: f, Get: fetch}
		},
	})
}

// inTheSuite is the suite's own program as an image.
func inTheSuite(env map[string]string) http.Handler {
	return guest.Process{
		Getenv: func(name string) string { return env[name] }, Stdout: io.Discard, Stderr: io.Discard,
		Get: fetch, Hostname: "here",
	}.Handler(func(int) {})
}
