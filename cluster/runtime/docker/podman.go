package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

const (
	// podmanNetworks are the calls that are not Docker's. Podman's networks reach one
	// another unless made with the option "isolate", which only its own API passes
	// on; and Podman 4 forgets the option when a network is looked at by the Docker
	// API, so that is done by its own too.
	podmanNetworks = "http://podman/v4.0.0/libpod/networks/"
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 20
)

// podmanNetwork is a network in Podman's words.
type podmanNetwork struct {
	Name    string            `json:"name"`
	Driver  string            `json:"driver"`
	Labels  map[string]string `json:"labels"`
	Options map[string]string `json:"options"`
	Subnets []podmanSubnet    `json:"subnets"`
}

type podmanSubnet struct {
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway"`
}

// createWalled makes a Podman network that others do not reach.
func (r *Runtime) createWalled(ctx context.Context, name string, p netip.Prefix, labels map[string]string) error {
	return r.podmanCall(ctx, http.MethodPost, "create", podmanNetwork{
		Name: name, Driver: "bridge", Labels: labels, Options: map[string]string{"isolate": "true"},
		Subnets: []podmanSubnet{{Subnet: p, Gateway: p.Addr().Next()}},
	}, &podmanNetwork{})
}

// lookPodman is a network by Podman's own API, refused if it has no walls.
func (r *Runtime) lookPodman(ctx context.Context, name string) (runtime.Network, error) {
	var got podmanNetwork
	if err := r.podmanCall(ctx, http.MethodGet, r.full(name)+"/json", nil, &got); err != nil {
		return runtime.Network{}, err
	}
	if got.Options["isolate"] != "true" {
		return runtime.Network{}, fmt.Errorf("docker: network %s has lost its walls in Podman (something looked at it by the Docker API); restart Podman's service", name)
	}
	n := runtime.Network{Name: name}
	for _, s := range got.Subnets {
		if s.Subnet.IsValid() && s.Subnet.Addr().Is4() {
			n.Prefix, n.Gateway = s.Subnet, s.Gateway
		}
	}
	return n, nil
}

// podmanList lists all of Podman's networks.
func (r *Runtime) podmanList(ctx context.Context) (out []podmanNetwork, err error) {
	return out, r.podmanCall(ctx, http.MethodGet, "json", nil, &out)
}

func (r *Runtime) podmanCall(ctx context.Context, method, path string, ask, answer any) error {
	var body bytes.Buffer
	if ask != nil {
		if err := json.NewEncoder(&body).Encode(ask); err != nil {
			return err
		}
	}
	q, err := http.NewRequestWithContext(ctx, method, podmanNetworks+path, &body)
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", r.cfg.Socket)
	}}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("docker: podman: %.300s: %w", data, runtime.ErrNotFound)
	case res.StatusCode/100 != 2:
		return fmt.Errorf("docker: podman answered %d: %.300s", res.StatusCode, data)
	}
	return json.Unmarshal(data, answer)
}
