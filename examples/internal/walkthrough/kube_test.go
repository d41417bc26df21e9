package walkthrough_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/internal/kubetest"
	"github.com/moorage-dev/moorage/iplease/metallb"
)

// router is where web pages of the cluster are served.
const router = "192.168.77.11:80"

// doorway lets programs of this machine reach the cluster's router, and returns
// its address.
func doorway(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	lan, err := c.Lan()
	require.NoError(t, err)
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { join(ctx, in, lan) })
		}
	})
	return ln.Addr().String()
}

// join copies both ways until either side ends.
func join(ctx context.Context, in net.Conn, lan *kubetest.Net) {
	defer func() { _ = in.Close() }()
	out, err := lan.Dial(ctx, "tcp", router)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	defer context.AfterFunc(ctx, func() {
		_ = in.Close()
		_ = out.Close()
	})()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}

// pushHello puts the demonstration's image where the cluster's nodes find it.
func pushHello(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	path, err := kubetest.Build(t.Context(), t.TempDir(), "github.com/moorage-dev/moorage/examples/internal/demo/hello")
	require.NoError(t, err)
	image, err := kubetest.ImageOf(path)
	require.NoError(t, err)
	ref, err := c.Push(t.Context(), "hello:1", image)
	require.NoError(t, err)
	return ref
}

// account makes an account with the rights of the ClusterRoles and no others, and
// returns its kubeconfig.
func account(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	roles := [][]byte{kube.ClusterRole(), metallb.ClusterRole(), []byte(`
apiVersion: v1
kind: Namespace
metadata: {name: moorage-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: provider, namespace: moorage-system}
`)}
	for _, role := range []string{"moorage-kube", "moorage-metallb"} {
		roles = append(roles, fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}
subjects: [{kind: ServiceAccount, name: provider, namespace: moorage-system}]
`, role))
	}
	require.NoError(t, c.Apply(t.Context(), bytes.Join(roles, []byte("\n---\n"))))
	const hours = 4
	token, err := c.Client().CoreV1().ServiceAccounts("moorage-system").CreateToken(t.Context(), "provider",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(hours * 3600))}}, metav1.CreateOptions{})
	require.NoError(t, err)
	cfg, err := clientcmd.LoadFromFile(c.Kubeconfig())
	require.NoError(t, err)
	for name := range cfg.AuthInfos {
		cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*cfg, file))
	return file
}

// newOnKubernetes starts a market of separate processes whose provider sells a
// cluster, with the rights of the ClusterRoles and no others.
func newOnKubernetes(t *testing.T, c *kubetest.Cluster, flags ...string) *separate {
	t.Helper()
	lan, err := c.Lan()
	require.NoError(t, err)
	return newMarket(t, site{
		image: pushHello(t, c), pages: doorway(t, c), dial: lan.Dial,
		flags: append([]string{
			"--cluster", "kube", "--kubeconfig", account(t, c), "--kube-ingress", kubetest.RouterClass,
			"--kube-policies", "--kube-router", "router/app=router", "--kube-nodes", "192.168.77.0/24,fd77::/64",
		}, flags...),
		running: func(s *separate) []string { return pods(s.t, c) },
	})
}

// pods names the pods of leases that are not about to end; when there are none,
// the namespaces of leases that are left.
func pods(t *testing.T, c *kubetest.Cluster) []string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	namespaces, err := c.Client().CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: kube.LabelManaged + "=true"})
	require.NoError(t, err)
	var out, left []string
	for _, n := range namespaces.Items {
		left = append(left, n.Name)
		list, err := c.Client().CoreV1().Pods(n.Name).List(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil {
				out = append(out, string(p.UID))
			}
		}
	}
	if len(out) == 0 {
		return left
	}
	return out
}

// TestAKillInAnyPhaseOnKubernetesIsAPauseForTheTenant is what the test without
// Kubernetes is: the provider's process is killed and started again.
func TestAKillInAnyPhaseOnKubernetesIsAPauseForTheTenant(t *testing.T) {
	needContainers(t)
	c := kubetest.Start(t, kubetest.Options{Router: true, Policies: true})
	newOnKubernetes(t, c).killInAnyPhase()
}

// TestALeasedAddressOnKubernetesIsWithheldMovedAndParked has the same walk as
// hosts have, with addresses that MetalLB announces on the segment of two nodes.
// One of them goes to somebody else after the provider's start.
func TestALeasedAddressOnKubernetesIsWithheldMovedAndParked(t *testing.T) {
	needContainers(t)
	c := kubetest.Start(t, kubetest.Options{Nodes: 2, Router: true, Policies: true, MetalLB: true})
	s := newOnKubernetes(t, c, "--ip-metallb")
	takeAddress(t, c, "192.168.77.200")
	s.eventually("the provider knows", func() bool { return strings.Contains(s.provider.output(), "pools of addresses have changed") })
	s.walkAnAddress(pair{"192.168.77.201", "fd77::200"})
	anchors, err := c.Client().CoreV1().Services("moorage-addresses").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, anchors.Items, "MetalLB has every address back")
}

// takeAddress has MetalLB give an address to a Service of somebody else.
func takeAddress(t *testing.T, c *kubetest.Cluster, at string) {
	t.Helper()
	services := c.Client().CoreV1().Services("default")
	_, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign", Annotations: map[string]string{"metallb.io/loadBalancerIPs": at}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := services.Get(t.Context(), "foreign", metav1.GetOptions{})
		return err == nil && len(s.Status.LoadBalancer.Ingress) == 1 && s.Status.LoadBalancer.Ingress[0].IP == at
	}, time.Minute, 100*time.Millisecond)
}

func TestOneRunOnKubernetesGoesFromOrderToABalanceThatAddsUp(t *testing.T) {
	needContainers(t)
	c := kubetest.Start(t, kubetest.Options{Router: true, Policies: true})
	p := start(t, "--once", "--block-time", "200ms", "--cluster", "kube", "--kubeconfig", c.Kubeconfig(),
		"--kube-ingress", kubetest.RouterClass, "--kube-policies", "--kube-router", "router/app=router", "--http", doorway(t, c), "--image", pushHello(t, c))
	require.Zero(t, p.end(), p.output())
	out := p.output()
	for _, want := range []string{
		"containers by Kubernetes", "sells", "provider bids", "accepted by", "1 of 1 ready",
		"Hello from a leased container", "GET / from", "Seccomp:\t2", "NoNewPrivs:\t1", "revision 2 runs",
		"Hello again from a leased container", "its containers are gone", "adds up",
	} {
		assert.Contains(t, out, want)
	}
	left, err := c.Client().CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: "moorage.dev/managed=true"})
	require.NoError(t, err)
	assert.Empty(t, left.Items, "nothing is left on the cluster")
}
