package memcluster

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// status renders what is observed of a lease now. The caller holds mu.
func (w *World) status(id market.LeaseID) (driver.Status, bool) {
	l := w.leases[id]
	if l == nil {
		return driver.Status{}, false
	}
	s := driver.Status{Lease: id, Revision: l.workload.Revision, Hash: l.workload.Hash, State: driver.Ready}
	for _, spec := range l.workload.Group.Services {
		s.Services = append(s.Services, w.serviceStatus(l, l.services[spec.Name]))
	}
	slices.SortFunc(s.Services, func(a, b driver.ServiceStatus) int { return cmp.Compare(a.Name, b.Name) })
	for _, v := range s.Services {
		s.State = worse(s.State, v.State)
	}
	return s, true
}

// worse returns the worse of two states.
func worse(a, b driver.State) driver.State {
	rank := map[driver.State]int{driver.Ready: 0, driver.Pending: 1, driver.Failing: 2, driver.Leaving: 3}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

func (w *World) serviceStatus(l *lease, s *service) driver.ServiceStatus {
	out := driver.ServiceStatus{Name: s.spec.Name, Wanted: s.spec.Count, State: driver.Ready}
	for _, r := range s.replicas {
		rs := r.status(s.broken)
		out.Replicas = append(out.Replicas, rs)
		if s.broken == "" {
			out.Running++
		}
		if rs.State == driver.Ready {
			out.Ready++
		}
	}
	switch {
	case s.broken != "":
		out.State, out.Reason = driver.Failing, s.broken
	case out.Ready < out.Wanted:
		out.State, out.Reason = driver.Pending, "starting"
	}
	w.addressStatus(l, s, &out)
	return out
}

func (w *World) addressStatus(l *lease, s *service, out *driver.ServiceStatus) {
	if servesHTTP(s.spec) {
		out.URIs = append(out.URIs, "http://"+w.hostname(l.workload.Lease, s.spec.Name))
	}
	for _, e := range s.spec.Expose {
		if e.HTTP() {
			for _, h := range e.Hosts {
				out.URIs = append(out.URIs, "http://"+h)
			}
		}
		if port := l.ports[portKey{s.spec.Name, uint16(e.Port), e.Proto}]; port != 0 && e.Global && !e.HTTP() {
			out.Ports = append(out.Ports, driver.ForwardedPort{
				Host: w.cfg.PublicHost, ExternalPort: port, Port: uint16(e.Port), Proto: e.Proto,
			})
		}
	}
	slices.SortFunc(out.Ports, func(a, b driver.ForwardedPort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto))
	})
	out.Ports = slices.Compact(out.Ports)
}

func (r *replica) status(broken string) driver.ReplicaStatus {
	s := driver.ReplicaStatus{
		Index: r.index, Node: r.node, State: driver.Ready, Restarts: r.restarts,
		StartedAt: r.startedAt, Address: netip.AddrFrom4([4]byte{10, 0, byte(r.index >> 8), byte(r.index)}),
		Address6: netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(r.index >> 8), 15: byte(r.index)}),
	}
	switch {
	case broken != "":
		s.State, s.Reason = driver.Failing, broken
	case !r.ready(time.Now()):
		s.State, s.Reason = driver.Pending, "starting"
	}
	return s
}

func (r *replica) ready(now time.Time) bool { return !r.never && !now.Before(r.readyAt) }

// wakeAt returns when the next replica becomes ready by itself; false if none
// does. The caller holds mu.
func (w *World) wakeAt() (time.Time, bool) {
	var at time.Time
	now := time.Now()
	for _, l := range w.leases {
		for _, s := range l.services {
			for _, r := range s.replicas {
				if !r.never && r.readyAt.After(now) && (at.IsZero() || r.readyAt.Before(at)) {
					at = r.readyAt
				}
			}
		}
	}
	return at, !at.IsZero()
}
