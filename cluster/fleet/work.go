package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/agent"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/proxy"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/store"
	"github.com/moorage-dev/moorage/cluster/internal/facts"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// work translates a record for the agent.
func (f *Fleet) work(r store.Record) agent.Workload {
	w := agent.Workload{Lease: r.Workload.Lease, Revision: r.Workload.Revision}
	for _, s := range r.Workload.Group.Services {
		w.Services = append(w.Services, f.service(r, s))
	}
	w.Policy = f.policy(r.Workload)
	slices.SortFunc(w.Services, func(a, b agent.Service) int { return strings.Compare(a.Name, b.Name) })
	return w
}

func (f *Fleet) service(r store.Record, s manifest.Service) agent.Service {
	out := agent.Service{
		Name: s.Name, Count: s.Count, Image: s.Image,
		Template: runtime.Spec{
			Entrypoint: s.Command, Args: s.Args, Env: f.environment(r, s),
			Resources: runtime.Resources{MilliCores: s.Resources.CPU.MilliCores, MemoryBytes: s.Resources.Memory.Bytes},
		},
	}
	if c := s.Credentials; c != nil {
		out.Credentials = &runtime.Credentials{Host: c.Host, Username: c.Username, Password: c.Password}
	}
	addVolumes(&out, s)
	limits := &out.Template.Resources
	limits.MemoryBytes = max(limits.MemoryBytes, runtime.MinMemoryBytes)
	for _, e := range s.Expose {
		if e.Proto == manifest.TCP && !slices.Contains(out.Probe, uint16(e.Port)) {
			out.Probe = append(out.Probe, uint16(e.Port))
		}
	}
	out.Hash = definitionHash(s, out.Template.Env)
	return out
}

// addVolumes sorts the volumes of a service: those in memory add to the memory
// limit, those that are mounted nowhere are the container's writable layer.
func addVolumes(out *agent.Service, s manifest.Service) {
	limits := &out.Template.Resources
	for _, v := range s.Resources.Storage {
		volume := agent.Volume{Name: v.Name, Bytes: v.Bytes, Kind: agent.Ephemeral}
		switch {
		case v.Class() == "ram":
			volume.Kind = agent.Memory
		case v.Persistent():
			volume.Kind = agent.Persistent
		}
		if p := mountOf(s, v.Name); p != nil {
			volume.Target, volume.ReadOnly = strings.TrimRight(p.Mount, "/"), p.ReadOnly
			out.Volumes = append(out.Volumes, volume)
			if volume.Kind == agent.Memory {
				limits.MemoryBytes += v.Bytes
			}
		} else if volume.Kind == agent.Ephemeral {
			limits.DiskBytes += v.Bytes
		}
	}
}

func mountOf(s manifest.Service, volume string) *manifest.StorageParams {
	if s.Params == nil {
		return nil
	}
	for i := range s.Params.Storage {
		if s.Params.Storage[i].Name == volume {
			return &s.Params.Storage[i]
		}
	}
	return nil
}

// definitionHash is the same for two definitions that make the same container.
// The number of replicas and the way in from outside are no part of it.
func definitionHash(s manifest.Service, env []string) string {
	s.Count, s.Expose, s.Env = 0, nil, env
	text := manifest.Manifest{{Services: []manifest.Service{s}}}.AppendCanonical(nil)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// environment is what a replica finds; see package facts.
func (f *Fleet) environment(r store.Record, s manifest.Service) []string {
	known := facts.Facts{PublicHost: f.cfg.PublicHost, Hostname: f.hostname(r.Workload.Lease, s.Name)}
	for _, p := range r.Ports {
		if p.Service == s.Name {
			known.Ports = append(known.Ports, driver.ForwardedPort{ExternalPort: p.External, Port: p.Port, Proto: p.Proto})
		}
	}
	return facts.Environment(r.Workload, s, known)
}

// hostname is the name that every HTTP service gets: a DNS label that is
// injective in lease and service, under the domain.
func (f *Fleet) hostname(id market.LeaseID, service string) string {
	const most, keep, hash = 50, 37, 12
	if len(service) > most {
		sum := sha256.Sum256([]byte(service))
		service = service[:keep] + "-" + hex.EncodeToString(sum[:])[:hash]
	}
	return service + "-" + agent.Tag(id)[:hash] + "." + f.cfg.Domain
}

// hostnames lists the names that lead to a workload, with their routes. The
// caller holds mu.
func (f *Fleet) hostnames(w driver.Workload) map[string]proxy.Route {
	out := make(map[string]proxy.Route)
	for _, s := range w.Group.Services {
		for _, e := range s.Expose {
			if !e.HTTP() {
				continue
			}
			route := proxy.Route{Pool: f.pool(poolKey{w.Lease, s.Name}), Port: uint16(e.Port), Options: e.HTTPOptions}
			for _, name := range append([]string{f.hostname(w.Lease, s.Name)}, e.Hosts...) {
				if _, taken := out[strings.ToLower(name)]; !taken {
					out[strings.ToLower(name)] = route
				}
			}
		}
	}
	return out
}

// checkHostnames refuses names that belong to others.
func (f *Fleet) checkHostnames(w driver.Workload) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := make(map[string]bool)
	by := make(map[string]string)
	for _, s := range w.Group.Services {
		own[f.hostname(w.Lease, s.Name)] = true
		for _, name := range (driver.Workload{Group: manifest.Group{Services: []manifest.Service{s}}}).Hostnames() {
			if other, taken := by[name]; taken {
				return fmt.Errorf("%w: services %s and %s both ask for host name %s", driver.ErrInvalid, other, s.Name, name)
			}
			by[name] = s.Name
		}
	}
	for _, name := range w.Hostnames() {
		if !own[name] && (name == f.cfg.Domain || name == f.cfg.PublicHost || strings.HasSuffix(name, "."+f.cfg.Domain)) {
			return fmt.Errorf("%w: host name %s: this name and those under %s are the provider's", driver.ErrConflict, name, f.cfg.Domain)
		}
		for id, r := range f.records {
			if id != w.Lease && slices.Contains(r.Workload.Hostnames(), name) {
				return fmt.Errorf("%w: host name %s belongs to another lease", driver.ErrConflict, name)
			}
		}
	}
	return nil
}

// route brings the router up to date.
func (f *Fleet) route() {
	f.mu.Lock()
	defer f.mu.Unlock()
	routes := make(map[string]proxy.Route)
	for _, r := range f.records {
		if r.Leaving {
			continue
		}
		for name, route := range f.hostnames(r.Workload) {
			routes[name] = route
		}
	}
	f.router.Set(routes)
}

// uri is where an HTTP service is reached under a name.
func (f *Fleet) uri(name string) string {
	port := int(f.cfg.PublicPort)
	if a, ok := f.ingress.Addr().(*net.TCPAddr); ok && port == 0 {
		port = a.Port
	}
	if port == 0 || port == 80 {
		return "http://" + name
	}
	return "http://" + net.JoinHostPort(name, strconv.Itoa(port))
}
