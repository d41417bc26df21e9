package kube_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube"
)

func TestFaultsOfTheConfigurationAreReportedTogether(t *testing.T) {
	_, err := kube.New(kube.Config{
		Instance: "Not A Label", Domain: "no domain", GraceSeconds: -1, Workers: -1, PullPolicy: "Sometimes",
		Router: kube.Router{Gateway: &kube.Gateway{}}, Overcommit: inventory.Overcommit{CPUPercent: 1 << 30},
	})
	for _, text := range []string{"API server", "instance", "domain", "grace", "workers", "pull policy", "gateway", "over-commit"} {
		require.ErrorContains(t, err, text)
	}
}

func TestBeforeTheClusterIsSeenEverythingIsTransient(t *testing.T) {
	d, err := kube.New(kube.Config{REST: &rest.Config{Host: "127.0.0.1:1"}})
	require.NoError(t, err)
	var passing *driver.TransientError
	_, err = d.List(t.Context())
	require.ErrorAs(t, err, &passing)
	_, err = d.Status(t.Context(), lease("tenant", 1))
	require.ErrorAs(t, err, &passing)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	_, err = d.Nodes(t.Context())
	require.ErrorIs(t, err, driver.ErrClosed)
	require.ErrorIs(t, d.Run(t.Context()), driver.ErrClosed)
}

func TestRunWaitsForAServerAndEndsWhenItIsClosed(t *testing.T) {
	d, err := kube.New(kube.Config{REST: &rest.Config{Host: "127.0.0.1:1"}})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(t.Context()) }()
	var passing *driver.TransientError
	_, err = d.List(t.Context())
	require.ErrorAs(t, err, &passing)
	require.NoError(t, d.Close())
	if err := <-ended; err != nil { // it may not have begun
		require.ErrorIs(t, err, driver.ErrClosed)
	}
}

func TestTheClusterRoleIsOneDocument(t *testing.T) {
	text := kube.ClusterRole()
	assert.Contains(t, string(text), "name: moorage-kube")
	text[0] = 'x'
	assert.NotEqual(t, text, kube.ClusterRole(), "the caller's copy is the caller's")
}
