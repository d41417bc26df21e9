package memcluster_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// mutant is a driver with some methods replaced. Those that are nil are the
// healthy driver's.
type mutant struct {
	*memcluster.Driver
	apply  func(context.Context, driver.Workload) error
	delete func(context.Context, market.LeaseID) error
	status func(context.Context, market.LeaseID) (driver.Status, error)
	list   func(context.Context) ([]market.LeaseID, error)
	nodes  func(context.Context) ([]inventory.Node, error)
	watch  func(context.Context) iter.Seq2[market.LeaseID, error]
	logs   func(context.Context, market.LeaseID, driver.LogOptions) iter.Seq2[driver.LogLine, error]
	exec   func(context.Context, market.LeaseID, driver.Exec) (int, error)
	close  func() error
}

func (m *mutant) Apply(ctx context.Context, w driver.Workload) error {
	if m.apply != nil {
		return m.apply(ctx, w)
	}
	return m.Driver.Apply(ctx, w)
}

func (m *mutant) Delete(ctx context.Context, id market.LeaseID) error {
	if m.delete != nil {
		return m.delete(ctx, id)
	}
	return m.Driver.Delete(ctx, id)
}

func (m *mutant) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	if m.status != nil {
		return m.status(ctx, id)
	}
	return m.Driver.Status(ctx, id)
}

func (m *mutant) List(ctx context.Context) ([]market.LeaseID, error) {
	if m.list != nil {
		return m.list(ctx)
	}
	return m.Driver.List(ctx)
}

func (m *mutant) Nodes(ctx context.Context) ([]inventory.Node, error) {
	if m.nodes != nil {
		return m.nodes(ctx)
	}
	return m.Driver.Nodes(ctx)
}

func (m *mutant) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	if m.watch != nil {
		return m.watch(ctx)
	}
	return m.Driver.Watch(ctx)
}

func (m *mutant) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	if m.logs != nil {
		return m.logs(ctx, id, o)
	}
	return m.Driver.Logs(ctx, id, o)
}

func (m *mutant) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if m.exec != nil {
		return m.exec(ctx, id, x)
	}
	return m.Driver.Exec(ctx, id, x)
}

func (m *mutant) Close() error {
	if m.close != nil {
		return m.close()
	}
	return m.Driver.Close()
}

// fault breaks one thing of a driver. release is closed when the test ends, for
// faults that block.
type fault struct {
	name, caught string
	plant        func(m *mutant, d *memcluster.Driver, release <-chan struct{})
}

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

func streamFaults() []fault {
	return []fault{
		{"watch tells only news", "watch starts with all", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.watch = func(ctx context.Context) iter.Seq2[market.LeaseID, error] {
				return func(yield func(market.LeaseID, error) bool) {
					old, _ := d.List(ctx)
					skip := len(old)
					for id, err := range d.Watch(ctx) {
						if skip--; skip < 0 && !yield(id, err) {
							return
						}
					}
				}
			}
		}},
		{"watch misses deletions", "watch tells changes", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.watch = func(ctx context.Context) iter.Seq2[market.LeaseID, error] {
				return func(yield func(market.LeaseID, error) bool) {
					for id, err := range d.Watch(ctx) {
						if _, gone := d.Status(ctx, id); gone == nil && !yield(id, err) {
							return
						}
					}
				}
			}
		}},
		{"watch ends with an error", "watch ends with its context", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.watch = func(ctx context.Context) iter.Seq2[market.LeaseID, error] {
				return func(yield func(market.LeaseID, error) bool) {
					for id, err := range d.Watch(ctx) {
						if !yield(id, err) {
							return
						}
					}
					yield(market.LeaseID{}, ctx.Err())
				}
			}
		}},
		{"watch outlives the driver", "close while in use", func(m *mutant, d *memcluster.Driver, release <-chan struct{}) {
			m.watch = func(ctx context.Context) iter.Seq2[market.LeaseID, error] {
				return func(yield func(market.LeaseID, error) bool) {
					for id, err := range d.Watch(ctx) {
						if err != nil {
							<-release
							return
						}
						if !yield(id, nil) {
							return
						}
					}
				}
			}
		}},
		{"logs are backwards", "logs", logsOf(func(ls []driver.LogLine) []driver.LogLine {
			slices.Reverse(ls)
			return ls
		})},
		{"logs do not tell stderr", "logs", logsOf(func(ls []driver.LogLine) []driver.LogLine {
			for i := range ls {
				ls[i].Stderr = false
			}
			return ls
		})},
		{"logs of absent are empty", "logs of absent", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.logs = func(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
				return func(yield func(driver.LogLine, error) bool) {
					for l, err := range d.Logs(ctx, id, o) {
						if err != nil || !yield(l, err) {
							return
						}
					}
				}
			}
		}},
		{"the tail is ignored", "logs tail", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.logs = func(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
				o.Tail = -1
				return d.Logs(ctx, id, o)
			}
		}},
		{"follow is ignored", "logs follow an update", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.logs = func(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
				o.Follow = false
				return d.Logs(ctx, id, o)
			}
		}},
		{"logs do not end at delete", "logs end at delete", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.logs = func(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
				return func(yield func(driver.LogLine, error) bool) {
					for l, err := range d.Logs(ctx, id, o) {
						if !yield(l, err) {
							return
						}
					}
					<-ctx.Done()
				}
			}
		}},
		{"logs end with an error", "logs end with their context", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.logs = func(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
				return func(yield func(driver.LogLine, error) bool) {
					for l, err := range d.Logs(ctx, id, o) {
						if !yield(l, err) {
							return
						}
					}
					yield(driver.LogLine{}, ctx.Err())
				}
			}
		}},
		{"every command succeeds", "exec exit code", execAs(func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error) {
			_, err := d.Exec(ctx, id, x)
			return 0, err
		})},
		{"streams are mixed", "exec streams", execAs(func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error) {
			x.Stderr = x.Stdout
			return d.Exec(ctx, id, x)
		})},
		{"stdin is lost", "exec streams", execAs(func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error) {
			x.Stdin = nil
			return d.Exec(ctx, id, x)
		})},
		{"any replica will do", "exec of absent", execAs(func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error) {
			x.Replica = 0
			return d.Exec(ctx, id, x)
		})},
		{"any service will do", "exec chooses the replica", execAs(func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error) {
			if s, err := d.Status(ctx, id); err == nil {
				x.Service = s.Services[0].Name
			}
			return d.Exec(ctx, id, x)
		})},
		{"a command outlives its context", "exec ends with its context", func(m *mutant, d *memcluster.Driver, release <-chan struct{}) {
			m.exec = func(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
				code, err := d.Exec(ctx, id, x)
				if errors.Is(err, context.DeadlineExceeded) {
					<-release
				}
				return code, err
			}
		}},
		{"names do not resolve", "services reach each other", execAs(func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error) {
			if x.Command[1] == "get" {
				x.Command = []string{"/guest", "exit", "1"}
			}
			return d.Exec(ctx, id, x)
		})},
		{"every name resolves", "leases do not reach each other", execAs(func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error) {
			ids, _ := d.List(ctx)
			for _, other := range ids {
				if x.Command[1] != "get" {
					break
				}
				if code, err := d.Exec(ctx, other, driver.Exec{Service: "secret", Command: x.Command, Stdout: io.Discard}); err == nil && code == 0 {
					return 0, nil
				}
			}
			return d.Exec(ctx, id, x)
		})},
	}
}

func logsOf(change func([]driver.LogLine) []driver.LogLine) func(*mutant, *memcluster.Driver, <-chan struct{}) {
	return func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
		m.logs = func(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
			return func(yield func(driver.LogLine, error) bool) {
				var all []driver.LogLine
				for l, err := range d.Logs(ctx, id, o) {
					if err != nil {
						yield(l, err)
						return
					}
					all = append(all, l)
				}
				for _, l := range change(all) {
					if !yield(l, nil) {
						return
					}
				}
			}
		}
	}
}

type execFunc func(ctx context.Context, d *memcluster.Driver, id market.LeaseID, x driver.Exec) (int, error)

func execAs(f execFunc) func(*mutant, *memcluster.Driver, <-chan struct{}) {
	return func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
		m.exec = func(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) { return f(ctx, d, id, x) }
	}
}

func closeFaults() []fault {
	return []fault{
		{"close blocks", "close twice", func(m *mutant, d *memcluster.Driver, release <-chan struct{}) {
			m.close = func() error {
				<-release
				return d.Close()
			}
		}},
		{"second close is an error", "close twice", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			closed := false
			m.close = func() error {
				if closed {
					return driver.ErrClosed
				}
				closed = true
				return d.Close()
			}
		}},
		{"works after close", "use after close", func(m *mutant, _ *memcluster.Driver, _ <-chan struct{}) {
			m.close = func() error { return nil }
		}},
		{"close ends the workloads", "workloads survive close", closeForgets},
		{"close forgets the leases", "list after reopen", closeForgets},
		{"close forgets the revisions", "revision after reopen", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			fresh := true
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if s, err := d.Status(ctx, w.Lease); err == nil && fresh && w.Revision < s.Revision {
					_ = d.Delete(ctx, w.Lease)
				}
				fresh = false
				return d.Apply(ctx, w)
			}
		}},
		{"after a restart updates are ignored", "update after reopen", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			known := map[market.LeaseID]bool{}
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if _, err := d.Status(ctx, w.Lease); err == nil && !known[w.Lease] {
					return nil
				}
				known[w.Lease] = true
				return d.Apply(ctx, w)
			}
		}},
		{"after a restart deletes are ignored", "delete after reopen", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			known := map[market.LeaseID]bool{}
			m.apply = func(ctx context.Context, w driver.Workload) error {
				known[w.Lease] = true
				return d.Apply(ctx, w)
			}
			m.delete = func(ctx context.Context, id market.LeaseID) error {
				if !known[id] {
					return ctx.Err()
				}
				return d.Delete(ctx, id)
			}
		}},
	}
}

func closeForgets(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
	m.close = func() error {
		ids, _ := d.List(context.Background())
		for _, id := range ids {
			d.World().Lose(id)
		}
		return d.Close()
	}
}

func faults() []fault {
	return slices.Concat(lifeFaults(), argumentFaults(), streamFaults(), closeFaults())
}

func caseNamed(t *testing.T, name string) clustertest.Case {
	t.Helper()
	cases := clustertest.Cases()
	i := slices.IndexFunc(cases, func(c clustertest.Case) bool { return c.Name == name })
	require.GreaterOrEqual(t, i, 0, "no case %q", name)
	return cases[i]
}

func TestEveryMutantIsCaughtByTheExpectedCase(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			c := caseNamed(t, f.caught)
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				h := harness(func(d *memcluster.Driver) driver.Driver {
					m := &mutant{Driver: d}
					f.plant(m, d, release)
					return m
				})
				err := c.Check(t.Context(), h.Env(h.New(t)))
				close(release)
				assert.Error(t, err, "the case %q did not notice", f.caught)
			})
		})
	}
}

// untested are cases that a mutant of a driver in memory cannot break: they are
// about the abilities that it does not have.
func untested() []string {
	return []string{
		"abilities are as claimed", "image that does not exist", "container that ends", "persistent volume",
	}
}

func TestEveryCaseCatchesAMutant(t *testing.T) {
	for _, c := range clustertest.Cases() {
		caught := slices.ContainsFunc(faults(), func(f fault) bool { return f.caught == c.Name })
		assert.NotEqual(t, caught, slices.Contains(untested(), c.Name), "case %q", c.Name)
	}
	assert.GreaterOrEqual(t, len(faults()), 12)
}

func TestAClaimedAbilityThatIsMissingIsAFailure(t *testing.T) {
	h := harness(nil)
	e := h.Env(&clustertest.Cluster{Driver: struct{ driver.Driver }{world().Driver()}})
	require.Error(t, caseNamed(t, "abilities are as claimed").Check(t.Context(), e))
}
