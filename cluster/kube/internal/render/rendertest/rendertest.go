// Package rendertest makes inputs of the rendering out of documents, for golden
// files and for tests that hand the objects to a real server.
package rendertest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Lease is the one that everything is rendered for.
func Lease() market.LeaseID {
	id, err := market.ParseLeaseID("akash1tenant/4711/1/1/akash1provider")
	if err != nil {
		panic(err)
	}
	return id
}

// Input compiles a document and makes an input of its first group.
func Input(file string) (render.Input, error) {
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return render.Input{}, err
	}
	res, err := sdl.Compile(text, sdl.Options{})
	if err != nil {
		return render.Input{}, fmt.Errorf("%s: %w", file, err)
	}
	g := res.Manifest[0]
	w := driver.Workload{Lease: Lease(), Revision: 3, Hash: market.Hash{1, 2, 3}, Group: g}
	for _, s := range g.Services {
		for _, e := range s.Expose {
			if e.IP != "" {
				w.Addresses = append(w.Addresses, driver.LeasedAddress{
					Endpoint: e.IP, Address: netip.MustParseAddr("203.0.113.7"), Protocol: e.Proto,
					External: uint16(e.External()), Service: s.Name, Port: uint16(e.Port),
				})
			}
		}
	}
	in := render.Input{Workload: w, Resolution: Resolution(g, file), State: []byte("the workload itself"), Ports: make(map[render.PortKey]uint16)}
	const first = 30000
	for _, s := range g.Services {
		for _, e := range render.Forwarded(s) {
			in.Ports[render.PortKey{Service: s.Name, Port: uint16(e.Port), Proto: e.Proto}] = uint16(first + len(in.Ports))
		}
	}
	return in, nil
}

// Resolution is what a cluster with two kinds of cards would answer.
func Resolution(g manifest.Group, file string) render.Resolution {
	res := render.Resolution{GPU: make(map[string]render.GPUChoice)}
	for _, s := range g.Services {
		if s.Resources.GPU.Units == 0 {
			continue
		}
		c := render.GPUChoice{Vendor: "nvidia", Label: "nvidia.com/gpu.product", Values: []string{"NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3"}}
		if strings.Contains(file, "claimed") {
			c = render.GPUChoice{
				Vendor: "nvidia", Class: "gpu.nvidia.com",
				Selectors: []string{`device.attributes["gpu.nvidia.com"].productName in ["NVIDIA GeForce RTX 4090"]`},
			}
		}
		res.GPU[s.Name] = c
	}
	return res
}

// Options are those of an operator who uses everything; some differ from
// document to document.
func Options(file string) *render.Options {
	o := &render.Options{
		Instance: "default", Domain: "apps.example", PublicHost: "provider.example",
		Router:          render.Router{Ingress: "nginx", TLS: true, Issuer: "letsencrypt", Gateway: &render.Gateway{Namespace: "gateway", Name: "public", Section: "https"}},
		Overcommit:      inventory.Overcommit{CPUPercent: 200, MemoryPercent: 125, EphemeralPercent: 150},
		StorageClasses:  map[string]string{"beta2": "fast-ssd"},
		GPURuntimeClass: map[string]string{"nvidia": "nvidia"},
		TEERuntimeClass: map[string]string{"cpu": "kata-snp", "cpu-gpu": "kata-snp-gpu"},
		DrainSeconds:    5, GraceSeconds: 30,
	}
	switch name := filepath.Base(file); {
	case strings.HasPrefix(name, "01-"):
		o.NonRoot = func(string) bool { return true }
		o.UserNamespaces, o.PriorityClass = true, "leases"
	case strings.HasPrefix(name, "05-"):
		o.LoadBalancer, o.LoadBalancerAnnotations = true, map[string]string{"metallb.io/address-pool": "shared"}
	case strings.HasPrefix(name, "06-"):
		o.RuntimeClass, o.PullSecret = "gvisor", "registry-mirror"
	}
	return o
}
