package render

import (
	"strings"

	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/internal/facts"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// environment is what a replica finds; see package facts. A name that the
// tenant set twice has its last value.
func (r *renderer) environment(s manifest.Service) []core.EnvVarApplyConfiguration {
	known := facts.Facts{PublicHost: r.o.PublicHost, Hostname: Hostname(r.in.Workload.Lease, s.Name, r.o.Domain)}
	for _, e := range Forwarded(s) {
		number := r.in.Ports[PortKey{s.Name, uint16(e.Port), e.Proto}]
		if r.o.LoadBalancer { // the first of several numbers
			number = uint16(e.External())
		}
		if number != 0 {
			known.Ports = append(known.Ports, driver.ForwardedPort{ExternalPort: number, Port: uint16(e.Port), Proto: e.Proto})
		}
	}
	all := facts.Environment(r.in.Workload, s, known)
	last := make(map[string]int, len(all))
	for i, e := range all {
		name, _, _ := strings.Cut(e, "=")
		last[name] = i
	}
	out := make([]core.EnvVarApplyConfiguration, 0, len(all))
	for i, e := range all {
		name, value, _ := strings.Cut(e, "=")
		if last[name] == i {
			out = append(out, core.EnvVarApplyConfiguration{Name: &name, Value: new(literal(value))})
		}
	}
	return out
}
