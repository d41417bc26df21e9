package memcluster_test

import (
	"context"
	"iter"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
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

	hostnameOwner func(context.Context, string) (market.LeaseID, error)
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

func (m *mutant) HostnameOwner(ctx context.Context, name string) (market.LeaseID, error) {
	if m.hostnameOwner != nil {
		return m.hostnameOwner(ctx, name)
	}
	return m.Driver.HostnameOwner(ctx, name)
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

func faults() []fault {
	return slices.Concat(lifeFaults(), argumentFaults(), streamFaults(), addressFaults(), closeFaults(), updateFaults())
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
		"update that cannot run", "log of a container that ended",
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
