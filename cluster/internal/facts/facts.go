// Package facts makes the environment that workloads find on every cluster:
// what their manifest says and what they may want to know about their lease.
package facts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Facts are what a cluster knows of one service. Fields that are empty are left
// out of the environment.
type Facts struct {
	// PublicHost is where clients find the provider.
	PublicHost string
	// Hostname is the name that an HTTP service got.
	Hostname string
	// Ports are the forwarded ports of the service.
	Ports []driver.ForwardedPort
}

// Environment is the facts, then what the manifest says, as NAME=VALUE. A fact
// never replaces what the tenant set. The names beginning with AKASH are those
// that published images look for.
func Environment(w driver.Workload, s manifest.Service, f Facts) []string {
	set := make(map[string]bool)
	var own []string
	for _, e := range s.Env {
		name, value, _ := strings.Cut(e, "=")
		set[name] = true
		own = append(own, name+"="+value)
	}
	var env []string
	fact := func(name, value string) {
		if !set[name] {
			env = append(env, name+"="+value)
		}
	}
	id := w.Lease
	fact("AKASH_OWNER", string(id.Owner))
	fact("AKASH_DEPLOYMENT_SEQUENCE", strconv.FormatUint(id.DSeq, 10))
	fact("AKASH_GROUP_SEQUENCE", strconv.FormatUint(uint64(id.GSeq), 10))
	fact("AKASH_ORDER_SEQUENCE", strconv.FormatUint(uint64(id.OSeq), 10))
	fact("AKASH_PROVIDER", string(id.Provider))
	fact("AKASH_CLUSTER_PUBLIC_HOSTNAME", f.PublicHost)
	fact("MOORAGE_LEASE", id.String())
	fact("MOORAGE_SERVICE", s.Name)
	if f.Hostname != "" && slices.ContainsFunc(s.Expose, manifest.Expose.HTTP) {
		fact("MOORAGE_HOSTNAME", f.Hostname)
	}
	for _, p := range f.Ports {
		fact(fmt.Sprintf("MOORAGE_PORT_%s_%d", p.Proto, p.Port), strconv.Itoa(int(p.ExternalPort)))
	}
	for _, e := range w.AddressEnv(s.Name) {
		name, value, _ := strings.Cut(e, "=")
		fact(name, value)
	}
	return append(env, own...)
}
