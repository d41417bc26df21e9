package kube_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/internal/kubetest"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// TestALeaseOnTwoNodesAnswersAtALoadBalancer runs replicas on two nodes behind
// an address that MetalLB announces.
func TestALeaseOnTwoNodesAnswersAtALoadBalancer(t *testing.T) {
	r, err := furnish(kubetest.Start(t, kubetest.Options{Nodes: 2, MetalLB: true, Policies: true}))
	require.NoError(t, err)
	name := instance()
	cfg := r.config(name)
	cfg.LoadBalancer, cfg.LoadBalancerAnnotations = true, map[string]string{"metallb.io/address-pool": "leased"}
	d, id := open(t, cfg), lease(name, 1)
	web := r.service("web", "from two nodes")
	web.Count = 4
	web.Expose = append(web.Expose, manifest.Expose{Port: 8080, ExternalPort: 9000, Proto: manifest.UDP, Global: true})
	require.NoError(t, d.Apply(t.Context(), workload(id, 1, web)))
	s := ready(t, d, id, 1).Services[0]
	on := make(map[string]int)
	for _, replica := range s.Replicas {
		on[replica.Node]++
	}
	assert.Len(t, on, 2, "both nodes have replicas: %v", on)

	node1, err := r.Node(1)
	require.NoError(t, err)
	for _, replica := range s.Replicas {
		assert.NoError(t, says(node1, net.JoinHostPort(replica.Address.String(), "8080"), "/", "from two nodes"), "replica %d on %s", replica.Index, replica.Node)
	}
	lan, err := r.Lan()
	require.NoError(t, err)
	var ports []driver.ForwardedPort
	eventually(t, func() error {
		now, err := d.Status(t.Context(), id)
		if err == nil {
			ports = now.Services[0].Ports
		}
		if len(ports) != 2 {
			err = errors.Join(err, fmt.Errorf("ports: %+v", ports))
		}
		return err
	})
	for _, p := range ports {
		assert.Equal(t, uint16(9000), p.ExternalPort)
		address := net.ParseIP(p.Host)
		require.NotNil(t, address, p.Host)
		assert.True(t, (&net.IPNet{IP: net.IPv4(192, 168, 77, 192), Mask: net.CIDRMask(27, 32)}).Contains(address), p.Host)
	}
	at := net.JoinHostPort(ports[0].Host, strconv.Itoa(int(ports[0].ExternalPort)))
	eventually(t, func() error { return says(lan, at, "/", "from two nodes") })
	// Which replica answers is by chance, and nodes hear of replicas one by one.
	names := make(map[string]bool)
	eventually(t, func() error {
		name, err := page(lan, at, "/hostname")
		if err != nil {
			return err
		}
		if names[name] = true; len(names) < 2 {
			return fmt.Errorf("only %v answers", names)
		}
		return nil
	})
	got, err := page(lan, at, "/env?name=MOORAGE_PORT_TCP_8080")
	require.NoError(t, err)
	assert.Equal(t, "9000", got, "replicas know the number at the load balancer")
	require.NoError(t, d.Delete(t.Context(), id))
	assert.Error(t, says(lan, at, "/", "from two nodes"))
}

// page fetches a page from somewhere.
func page(from *kubetest.Net, at, path string) (string, error) {
	resp, err := from.HTTP("").Get("http://" + at + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

func says(from *kubetest.Net, at, path, want string) error {
	got, err := page(from, at, path)
	if err == nil && got != want {
		err = fmt.Errorf("%s says %q", at, got)
	}
	return err
}
