package stack_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/examples/internal/stack"
)

const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c}}]
current-context: c
`

func TestFlagsOfAClusterBecomeItsConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(kubeconfig), 0o600))
	var k stack.KubeFlags
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	k.Bind(set)
	require.NoError(t, set.Parse([]string{
		"--cluster=kube", "--kubeconfig=" + file, "--kube-runtime-class=gvisor", "--kube-non-root", "--kube-pull-secret=mirror",
		"--kube-storage=beta2=100GiB", "--kube-load-balancer", "--kube-load-balancer-annotation=metallb.io/address-pool=leased",
		"--kube-policies", "--kube-resolver=169.254.20.10",
	}))
	cfg, err := k.Config("host", "domain", "127.0.0.1:80")
	require.NoError(t, err)
	assert.Equal(t, "gvisor", cfg.RuntimeClass)
	assert.Equal(t, "mirror", cfg.PullSecret)
	assert.True(t, cfg.NonRoot("any"))
	assert.True(t, cfg.LoadBalancer)
	assert.Equal(t, map[string]string{"metallb.io/address-pool": "leased"}, cfg.LoadBalancerAnnotations)
	assert.Equal(t, map[string]uint64{"beta2": 100 << 30}, cfg.StorageBytes)
	assert.Equal(t, "169.254.20.10", cfg.Policies.Surroundings.Resolvers[0].String())

	require.NoError(t, set.Set("kube-storage", "beta2=much"))
	_, err = k.Config("host", "domain", "127.0.0.1:80")
	require.ErrorContains(t, err, "--kube-storage")
}
