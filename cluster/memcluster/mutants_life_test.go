package memcluster_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func lifeFaults() []fault {
	return []fault{
		{"delete of absent is an error", "delete of absent", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.delete = func(ctx context.Context, id market.LeaseID) error {
				if _, err := d.Status(ctx, id); err != nil {
					return err
				}
				return d.Delete(ctx, id)
			}
		}},
		{"second delete is an error", "delete twice", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			gone := map[market.LeaseID]bool{}
			m.delete = func(ctx context.Context, id market.LeaseID) error {
				if gone[id] {
					return driver.ErrNotFound
				}
				gone[id] = true
				return d.Delete(ctx, id)
			}
		}},
		{"delete does nothing", "delete removes", func(m *mutant, _ *memcluster.Driver, _ <-chan struct{}) {
			m.delete = func(ctx context.Context, _ market.LeaseID) error { return ctx.Err() }
		}},
		{"delete remembers the revision", "apply after delete", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			highest := map[market.LeaseID]uint64{}
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if w.Revision <= highest[w.Lease] {
					return nil
				}
				highest[w.Lease] = w.Revision
				return d.Apply(ctx, w)
			}
		}},
		{"apply of the same revision starts anew", "apply twice", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if s, err := d.Status(ctx, w.Lease); err == nil && s.Revision == w.Revision {
					_ = d.Delete(ctx, w.Lease)
				}
				return d.Apply(ctx, w)
			}
		}},
		{"revisions are forgotten", "stale revision", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if s, err := d.Status(ctx, w.Lease); err == nil && w.Revision <= s.Revision {
					_ = d.Delete(ctx, w.Lease)
				}
				return d.Apply(ctx, w)
			}
		}},
		{"updates are ignored", "newer revision", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if _, err := d.Status(ctx, w.Lease); err == nil {
					return nil
				}
				return d.Apply(ctx, w)
			}
		}},
		{"an update starts everything anew", "update of one service", restartOnUpdate},
		{"services that were removed stay", "update that adds and removes services", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			ever := map[market.LeaseID]driver.Workload{}
			m.apply = func(ctx context.Context, w driver.Workload) error {
				for _, s := range ever[w.Lease].Group.Services {
					if !slices.ContainsFunc(w.Group.Services, func(t manifest.Service) bool { return t.Name == s.Name }) {
						w.Group.Services = append(w.Group.Services, s)
					}
				}
				ever[w.Lease] = w.Clone()
				return d.Apply(ctx, w)
			}
		}},
		{"replicas only grow", "more and fewer replicas", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			most := uint32(0)
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				for i := range w.Group.Services {
					most = max(most, w.Group.Services[i].Count)
					w.Group.Services[i].Count = most
				}
				return d.Apply(ctx, w)
			}
		}},
		{"leases share one place", "concurrent applies", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				ids, _ := d.List(ctx)
				for _, id := range ids {
					if id != w.Lease {
						_ = d.Delete(ctx, id)
					}
				}
				return d.Apply(ctx, w)
			}
		}},
		{"delete takes all leases of the tenant", "delete of one leaves others", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.delete = func(ctx context.Context, _ market.LeaseID) error {
				ids, err := d.List(ctx)
				for _, id := range ids {
					_ = d.Delete(ctx, id)
				}
				return err
			}
		}},
		{"list misses one", "list", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.list = func(ctx context.Context) ([]market.LeaseID, error) {
				ids, err := d.List(ctx)
				return ids[:max(0, len(ids)-1)], err
			}
		}},
		{"list is not sorted", "list", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.list = func(ctx context.Context) ([]market.LeaseID, error) {
				ids, err := d.List(ctx)
				slices.Reverse(ids)
				return ids, err
			}
		}},
		{"cancellation is ignored", "cancelled context", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error { return d.Apply(context.WithoutCancel(ctx), w) }
		}},
	}
}

func restartOnUpdate(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
	m.apply = func(ctx context.Context, w driver.Workload) error {
		if s, err := d.Status(ctx, w.Lease); err == nil && w.Revision > s.Revision {
			_ = d.Delete(ctx, w.Lease)
		}
		return d.Apply(ctx, w)
	}
}

func argumentFaults() []fault {
	return []fault{
		{"arguments are retained", "arguments are not retained", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			var kept driver.Workload
			m.apply = func(ctx context.Context, w driver.Workload) error {
				kept = w
				return d.Apply(ctx, w)
			}
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				for i := range s.Services {
					s.Services[i].Name = kept.Group.Services[i].Name
				}
				return s, err
			}
		}},
		{"arguments are changed", "arguments are not changed", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				slices.Reverse(w.Group.Services)
				return d.Apply(ctx, w)
			}
		}},
		{"nodes are shared", "results are the caller's", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			nodes, _ := d.Nodes(context.Background())
			m.nodes = func(ctx context.Context) ([]inventory.Node, error) { return nodes, ctx.Err() }
		}},
		{"an invalid workload is accepted", "invalid workload", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if err := d.Apply(ctx, w); !errors.Is(err, driver.ErrInvalid) {
					return err
				}
				return nil
			}
		}},
		{"no room is not noticed", "no room", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				for i := range w.Group.Services {
					cpu := &w.Group.Services[i].Resources.CPU
					cpu.MilliCores = min(cpu.MilliCores, 100)
				}
				return d.Apply(ctx, w)
			}
		}},
		{"absent is an empty status", "status of absent", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				if errors.Is(err, driver.ErrNotFound) {
					err = nil
				}
				return s, err
			}
		}},
		{"absent is transient", "status of absent", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				if errors.Is(err, driver.ErrNotFound) {
					err = &driver.TransientError{Err: err}
				}
				return s, err
			}
		}},
		{"nothing becomes ready", "ready within bound", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				s.State = driver.Pending
				return s, err
			}
		}},
		{"status misses a service", "status has every service", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				s.Services = slices.DeleteFunc(s.Services, func(v driver.ServiceStatus) bool { return v.Wanted == 0 })
				return s, err
			}
		}},
		{"apply is accepted but not durable", "status at once after apply", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				time.AfterFunc(time.Millisecond, func() { _ = d.Apply(ctx, w) })
				return ctx.Err()
			}
		}},
		{"nodes have only what is left", "nodes", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.nodes = func(ctx context.Context) ([]inventory.Node, error) {
				nodes, err := d.Nodes(ctx)
				ids, _ := d.List(ctx)
				for i := range nodes {
					nodes[i].Allocatable.MilliCores -= 100 * uint64(len(ids))
				}
				return nodes, err
			}
		}},
		{"a port is lost", "one port for tcp and udp", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				for i := range s.Services {
					s.Services[i].Ports = slices.CompactFunc(s.Services[i].Ports, func(a, b driver.ForwardedPort) bool { return a.Port == b.Port })
				}
				return s, err
			}
		}},
		{"ports move on update", "forwarded port", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				for i := range s.Services {
					for j := range s.Services[i].Ports {
						s.Services[i].Ports[j].ExternalPort += uint16(s.Revision - 1)
					}
				}
				return s, err
			}
		}},
		{"an update interrupts the page", "web page keeps answering", restartOnUpdate},
		{"a host name may be taken twice", "host name conflict", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				err := d.Apply(ctx, w)
				if !errors.Is(err, driver.ErrConflict) {
					return err
				}
				w = w.Clone()
				w.Group.Services[0].Expose[0].Hosts = nil
				return d.Apply(ctx, w)
			}
		}},
		{"host names are ignored", "host name", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				for i := range w.Group.Services[0].Expose {
					w.Group.Services[0].Expose[i].Hosts = nil
				}
				return d.Apply(ctx, w)
			}
		}},
		{"every port is exposed to every service", "exposed to one service", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				for i := range w.Group.Services {
					for j := range w.Group.Services[i].Expose {
						w.Group.Services[i].Expose[j].Service = ""
					}
				}
				return d.Apply(ctx, w)
			}
		}},
		{"the policy stays what it was", "exposed to another from now on", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			first := map[market.LeaseID]driver.Workload{}
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				if old, ok := first[w.Lease]; ok {
					for i := range w.Group.Services {
						w.Group.Services[i].Expose = old.Group.Services[i].Expose
					}
				} else {
					first[w.Lease] = w
				}
				return d.Apply(ctx, w)
			}
		}},
		{"there are no URIs", "web page", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.status = func(ctx context.Context, id market.LeaseID) (driver.Status, error) {
				s, err := d.Status(ctx, id)
				for i := range s.Services {
					s.Services[i].URIs = nil
				}
				return s, err
			}
		}},
	}
}
