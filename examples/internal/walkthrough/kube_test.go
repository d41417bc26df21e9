package walkthrough_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/internal/kubetest"
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

func TestOneRunOnKubernetesGoesFromOrderToABalanceThatAddsUp(t *testing.T) {
	needContainers(t)
	c := kubetest.Start(t, kubetest.Options{Router: true, Policies: true})
	path, err := kubetest.Build(t.Context(), t.TempDir(), "github.com/moorage-dev/moorage/examples/internal/demo/hello")
	require.NoError(t, err)
	image, err := kubetest.ImageOf(path)
	require.NoError(t, err)
	ref, err := c.Push(t.Context(), "hello:1", image)
	require.NoError(t, err)
	p := start(t, "--once", "--block-time", "200ms", "--cluster", "kube", "--kubeconfig", c.Kubeconfig(),
		"--kube-ingress", kubetest.RouterClass, "--kube-policies", "--kube-router", "router/app=router", "--http", doorway(t, c), "--image", ref)
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
