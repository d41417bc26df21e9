package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/agent"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/store"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Status implements [driver.Driver].
func (f *Fleet) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	r, o, err := f.see(ctx, id)
	if err != nil {
		return driver.Status{}, err
	}
	s := driver.Status{Lease: id, Revision: r.Workload.Revision, Hash: r.Workload.Hash, State: driver.Ready}
	work := f.work(r)
	for i := range work.Services {
		v := f.serviceStatus(r, &work.Services[i], o)
		s.State = worse(s.State, v.State)
		s.Services = append(s.Services, v)
	}
	if r.Leaving {
		s.State = driver.Leaving
	}
	return s, nil
}

// worse returns the worse of two states: failing, then pending, then ready.
func worse(a, b driver.State) driver.State {
	switch {
	case a == driver.Failing || b == driver.Failing:
		return driver.Failing
	case a == driver.Pending || b == driver.Pending:
		return driver.Pending
	}
	return driver.Ready
}

func (f *Fleet) serviceStatus(r store.Record, s *agent.Service, o agent.Observation) driver.ServiceStatus {
	out := driver.ServiceStatus{Name: s.Name, Wanted: s.Count, State: driver.Ready}
	for n := range s.Count {
		rs, current := f.replicaStatus(s, agent.Slot{Service: s.Name, Index: n}, o)
		out.Replicas = append(out.Replicas, rs)
		if current != nil {
			out.Running++
		}
		if rs.State == driver.Ready {
			out.Ready++
		}
		if before := out.State; worse(before, rs.State) != before {
			out.State, out.Reason = rs.State, rs.Reason
		}
	}
	f.addressStatus(r, &out)
	return out
}

// replicaStatus describes one replica and returns the container that runs the
// definition wanted, nil when there is none.
func (f *Fleet) replicaStatus(s *agent.Service, slot agent.Slot, o agent.Observation) (driver.ReplicaStatus, *agent.Instance) {
	out := driver.ReplicaStatus{Index: slot.Index, Node: f.cfg.Node.Name, State: driver.Pending, Reason: "starting"}
	current, last := find(s, slot, o)
	if last != nil {
		out.Restarts, out.Address, out.Address6, out.StartedAt = last.Restarts, last.Address, last.Address6, last.StartedAt
	}
	trouble, waits := o.Troubles[slot]
	switch {
	case current != nil && current.Ready:
		out.State, out.Reason = driver.Ready, ""
	case current != nil && len(s.Probe) > 0:
		out.Reason = "running, but no exposed port answers yet"
	case current != nil:
	case waits && trouble.Failing:
		out.State, out.Reason = driver.Failing, trouble.Reason
	case waits:
		out.Reason = trouble.Reason
	case last != nil && last.Running():
		out.Reason = "waiting to be updated"
	case !o.Seen:
		out.Reason = "the host has not been looked at yet"
	}
	return out, current
}

// find returns the newest container of a slot, and the newest that runs the
// definition wanted.
func find(s *agent.Service, slot agent.Slot, o agent.Observation) (current, last *agent.Instance) {
	for n := range o.Instances {
		i := &o.Instances[n]
		if i.Service != slot.Service || i.Index != slot.Index {
			continue
		}
		last = i
		if i.Hash == s.Hash && i.Running() && !i.Leaving {
			current = i
		}
	}
	return current, last
}

// addressStatus tells where a service is reached.
func (f *Fleet) addressStatus(r store.Record, out *driver.ServiceStatus) {
	for _, s := range r.Workload.Group.Services {
		if s.Name != out.Name || !slices.ContainsFunc(s.Expose, manifest.Expose.HTTP) {
			continue
		}
		out.URIs = append(out.URIs, f.uri(f.hostname(r.Workload.Lease, s.Name)))
		for _, e := range s.Expose {
			for _, name := range e.Hosts {
				if uri := f.uri(strings.ToLower(name)); e.HTTP() && !slices.Contains(out.URIs, uri) {
					out.URIs = append(out.URIs, uri)
				}
			}
		}
	}
	for _, p := range r.Ports {
		if p.Service == out.Name {
			out.Ports = append(out.Ports, driver.ForwardedPort{Host: f.cfg.PublicHost, ExternalPort: p.External, Port: p.Port, Proto: p.Proto})
		}
	}
	slices.SortFunc(out.Ports, func(a, b driver.ForwardedPort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto))
	})
}
