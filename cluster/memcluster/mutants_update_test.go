package memcluster_test

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func updateFaults() []fault {
	return []fault{
		{"every revision starts everything anew", "new revision of the same content", restartOnUpdate},
		{"references in the environment are expanded", "environment as it was written", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				for i := range w.Group.Services {
					for j, e := range w.Group.Services[i].Env {
						name, value, _ := strings.Cut(e, "=")
						value = strings.ReplaceAll(value, "$$", "$")
						w.Group.Services[i].Env[j] = name + "=" + os.Expand(value, func(string) string { return "" })
					}
				}
				return d.Apply(ctx, w)
			}
		}},
		{"ports are never closed", "port that was removed", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			ever := map[market.LeaseID][]manifest.Expose{}
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w = w.Clone()
				s := &w.Group.Services[0]
				for _, e := range ever[w.Lease] {
					if !slices.ContainsFunc(s.Expose, func(f manifest.Expose) bool { return f.Port == e.Port && f.Proto == e.Proto }) {
						s.Expose = append(s.Expose, e)
					}
				}
				ever[w.Lease] = s.Expose
				return d.Apply(ctx, w)
			}
		}},
		{"host names are kept for ever", "host name after delete", func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			had := map[string]market.LeaseID{}
			m.hostnameOwner = func(ctx context.Context, name string) (market.LeaseID, error) {
				id, err := d.HostnameOwner(ctx, name)
				if err == nil {
					had[name] = id
				} else if old, ok := had[name]; ok {
					return old, nil
				}
				return id, err
			}
		}},
	}
}
