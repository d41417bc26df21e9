package memcluster_test

import (
	"context"
	"slices"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
)

func addressFaults() []fault {
	const caught = "leased address in the environment"
	return []fault{
		{"addresses are not told", caught, func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w.Addresses = nil
				return d.Apply(ctx, w)
			}
		}},
		{"withheld addresses are not told", caught, func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			m.apply = func(ctx context.Context, w driver.Workload) error {
				w.Addresses = slices.DeleteFunc(slices.Clone(w.Addresses), func(a driver.LeasedAddress) bool { return a.Withheld })
				return d.Apply(ctx, w)
			}
		}},
		{"the first address stays", caught, func(m *mutant, d *memcluster.Driver, _ <-chan struct{}) {
			var first []driver.LeasedAddress
			m.apply = func(ctx context.Context, w driver.Workload) error {
				if first == nil {
					first = w.Addresses
				}
				w.Addresses = first
				return d.Apply(ctx, w)
			}
		}},
	}
}
