package providertest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/cluster"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// Harness names the parts under test. A part that is nil is in memory.
type Harness struct {
	// Market makes a fresh market. It makes blocks by itself until the test ends.
	Market func(t testing.TB) Market
	// Cluster makes a fresh, empty cluster.
	Cluster func(t testing.TB) Cluster
	// Store makes a fresh store and returns what opens it, each time on the same
	// records, as a new process does.
	Store func(t testing.TB) func() (provider.Store, error)
	// Addresses makes addresses to lease of which none is.
	Addresses func(t testing.TB) Addresses
	// Pricer is a strategy that has a price for the plain orders of the suite: at
	// most 10 cores and 10 GiB of memory, ephemeral storage, shared HTTP.
	Pricer bidengine.Pricer
	// Denom is what the orders are priced in, "uact" if "". The ceiling is a
	// million per block and replica.
	Denom string
	// Run runs a subtest; nil is plainly. With everything in memory pass
	// synctest.Test, and no time passes.
	Run func(t *testing.T, f func(t *testing.T))
	// Patience bounds every wait; 0 is [DefaultPatience].
	Patience time.Duration
	// Skip names cases that are not run, with the reason.
	Skip map[string]string
}

// DefaultPatience is for parts in memory in virtual time, and for a chain with
// blocks of a second.
const DefaultPatience = 2 * time.Minute

// Market is a market under test with two accounts that have money for deposits:
// at least 100 times the least.
type Market struct {
	Tenant, Provider market.Client
	// Check checks what must always hold; nil is nothing.
	Check func() error
}

// Cluster is a cluster under test, with room for 3 cores and 2 GiB of memory at
// least and for less than 300 cores.
type Cluster struct {
	// Open returns the cluster as a new process finds it. What is an io.Closer is
	// closed when that process ends.
	Open func() (provider.Cluster, error)
	// Image is one that runs; "image:1" if "".
	Image string
}

// Case checks one clause of what a provider and its parts owe one another.
type Case struct {
	// Name is the name of the subtest.
	Name string
	// Clause is what must hold.
	Clause string
	// Check returns what is wrong.
	Check func(ctx context.Context, e *Env) error
}

// Cases returns all cases, in the order in which they are best read.
func Cases() []Case {
	return slices.Concat(pricerCases(), storeCases(), lifeCases(), recoveryCases(), moneyCases(), scaleCases(), addressCases())
}

// Run runs all cases, each as a subtest in a world of its own.
func Run(t *testing.T, h Harness) {
	t.Helper()
	run := h.Run
	if run == nil {
		run = func(t *testing.T, f func(t *testing.T)) {
			t.Helper()
			f(t)
		}
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if why := h.Skip[c.Name]; why != "" {
				t.Skip(why)
			}
			run(t, func(t *testing.T) {
				t.Helper()
				if err := h.Check(t, c); err != nil {
					t.Errorf("%s\nclause: %s", err, c.Clause)
				}
			})
		})
	}
}

// Check runs one case in a fresh world and returns what is wrong.
func (h Harness) Check(tb testing.TB, c Case) error {
	tb.Helper()
	e := h.env(tb)
	err := c.Check(tb.Context(), e)
	if stopped := e.Stop(); err == nil {
		err = stopped
	}
	if e.market.Check != nil && err == nil {
		err = e.market.Check()
	}
	return err
}

// memoryFunds are what accounts in memory begin with.
const memoryFunds = 100_000_000

// MemoryMarket is a market in memory with blocks every second, until the test
// ends.
func MemoryMarket(tb testing.TB) Market {
	tb.Helper()
	coins := market.Coins{market.NewCoin("uact", memoryFunds), market.NewCoin("uakt", memoryFunds)}
	m, err := memmarket.New(memmarket.Config{
		Balances: map[market.Address]market.Coins{"tenant": coins, "provider": coins}, Start: time.Now(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, time.Second) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	return Market{Tenant: m.Client("tenant"), Provider: m.Client("provider"), Check: m.Check}
}

// MemoryCluster is a cluster in memory.
func MemoryCluster(testing.TB) Cluster {
	w := memcluster.NewWorld(memcluster.Config{})
	return Cluster{Open: func() (provider.Cluster, error) { return cluster.New(w.Driver(), cluster.Config{}) }}
}

// MemoryStore is a store in memory.
func MemoryStore(testing.TB) func() (provider.Store, error) {
	s := provider.NewMemStore()
	return func() (provider.Store, error) { return s, nil }
}

// fixed is a strategy that asks the same of every order.
func fixed(ctx context.Context, r bidengine.Request) (market.Decimal, error) {
	if err := ctx.Err(); err != nil {
		return market.Decimal{}, fmt.Errorf("providertest: %w", err)
	}
	return market.NewDecimal(10).Times(max(1, r.Order.Spec.Totals().Replicas))
}
