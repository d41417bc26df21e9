package memcluster_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
)

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
