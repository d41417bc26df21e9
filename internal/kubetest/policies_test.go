package kubetest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/internal/kubetest"
)

func TestPoliciesAreEnforced(t *testing.T) {
	c := kubetest.Start(t, kubetest.Options{NoDNS: true, Policies: true})
	lan, err := c.Lan()
	require.NoError(t, err)
	const port = 30084
	deploy(t, c, guestImage(t, c), 1, port)
	v4, v6 := kubetest.NodeAddress(1)
	for _, address := range []netip.Addr{v4, v6} {
		require.Equal(t, "ahoy", eventually(t, lan, netip.AddrPortFrom(address, port).String(), "http://web/"))
	}
	require.NoError(t, c.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: %s}
spec: {podSelector: {}, policyTypes: [Ingress]}
`, strings.ToLower(t.Name()))))
	for _, address := range []netip.Addr{v4, v6} {
		pod := podAddress(t, c, address.Is4())
		require.Eventually(t, func() bool {
			_, err := get(t.Context(), lan, netip.AddrPortFrom(pod, 8080).String(), "http://web/")
			return err != nil
		}, time.Minute, 100*time.Millisecond, "from outside to the pod of %s", address)
		node, err := c.Node(1)
		require.NoError(t, err)
		require.Equal(t, "ahoy", eventually(t, node, netip.AddrPortFrom(pod, 8080).String(), "http://web/"), "its node reaches a pod")
	}
}

// podAddress returns the address of the web's pod in one family.
func podAddress(t *testing.T, c *kubetest.Cluster, v4 bool) netip.Addr {
	t.Helper()
	pods, err := c.Client().CoreV1().Pods(strings.ToLower(t.Name())).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, pods.Items, 1)
	for _, ip := range pods.Items[0].Status.PodIPs {
		if a := netip.MustParseAddr(ip.IP); a.Is4() == v4 {
			return a
		}
	}
	t.Fatal("the pod has no such address")
	return netip.Addr{}
}
