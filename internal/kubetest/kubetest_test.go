package kubetest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/internal/kubetest"
)

var shared kubetest.Shared

func TestMain(m *testing.M) {
	if os.Getenv(abandon) != "" {
		os.Exit(abandonCluster())
	}
	os.Exit(kubetest.Main(m, &shared))
}

// abandon is set in a process that starts a cluster and waits to be killed.
const abandon = "KUBETEST_ABANDON"

func abandonCluster() int {
	c, err := kubetest.New(context.Background(), kubetest.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(c.Folder())
	select {}
}

func TestAClusterHasItsNodeAndNames(t *testing.T) {
	c := shared.Get(t)
	c.Own(t)
	nodes, err := c.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, nodes.Items, 1)
	require.NoError(t, c.WaitDeployment(t.Context(), "kube-system", "coredns"))
}

// TestAnExistingClusterIsUsedAsItIs connects to a running cluster as -kube.existing
// does.
func TestAnExistingClusterIsUsedAsItIs(t *testing.T) {
	c := shared.Get(t)
	existing, err := kubetest.Connect(c.Kubeconfig(), "")
	require.NoError(t, err)
	require.NoError(t, existing.WaitAPI(t.Context()))
	_, err = existing.Component("etcd")
	require.ErrorIs(t, err, kubetest.ErrNotOurs)
	_, err = existing.Push(t.Context(), "nothing:1", nil)
	require.ErrorIs(t, err, kubetest.ErrNotOurs)
	require.NoError(t, existing.Close(t.Context()))
	require.NoError(t, c.WaitAPI(t.Context()), "it is still there")
}
