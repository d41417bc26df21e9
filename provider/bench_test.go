package provider_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/provider"
)

// manyNodes are nodes with 64 cores each.
func manyNodes(n int) []inventory.Node {
	out := make([]inventory.Node, n)
	for i := range out {
		out[i] = inventory.Node{Name: fmt.Sprintf("n%05d", i), Architecture: "amd64", Allocatable: inventory.Quantities{
			MilliCores: 64_000, MemoryBytes: 256 << 30, EphemeralBytes: 1 << 40,
		}}
	}
	return out
}

// benchMarket is a market with money for very many deposits.
func benchMarket(b *testing.B, perSubmit bool) *memmarket.Market {
	b.Helper()
	rich := market.Coins{market.NewCoin("uact", 1<<60)}
	m, err := memmarket.New(memmarket.Config{
		BlockPerSubmit: perSubmit, Balances: map[market.Address]market.Coins{theTenant: rich, theProvider: rich},
	})
	require.NoError(b, err)
	return m
}

func benchOrder(dseq uint64) market.CreateDeployment {
	return market.CreateDeployment{
		ID: market.DeploymentID{Owner: theTenant, DSeq: dseq}, Hash: market.Hash{1}, Deposit: market.NewCoin("uact", 500_000),
		Groups: []market.GroupSpec{{Name: "g", Units: []market.ResourceUnit{{
			Resources: market.Resources{
				ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 64 << 20},
				Storage: []market.Volume{{Name: "default", Bytes: 64 << 20}},
			},
			Count: 1, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(1000)},
		}}}},
	}
}

// timed is a client that says when a bid is submitted.
type timed struct {
	market.Client
	bids chan time.Time
}

func (c timed) Submit(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
	if _, ok := msgs[0].(market.CreateBid); ok && c.bids != nil {
		c.bids <- time.Now()
	}
	return c.Client.Submit(ctx, msgs...)
}

// runBench runs a provider until the benchmark ends, and waits until it is there.
func runBench(b *testing.B, cfg provider.Config) {
	b.Helper()
	cfg.HostURI, cfg.Pricer = "https://provider.test", pricer()
	there := make(chan struct{})
	var once sync.Once
	told := cfg.Observer
	cfg.Observer = provider.ObserverFunc(func(e provider.Event) {
		if e.Kind == provider.EventRegistered {
			once.Do(func() { close(there) })
		}
		if told != nil {
			told.Observe(e)
		}
	})
	p, err := provider.New(cfg)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	b.Cleanup(func() { cancel(); require.NoError(b, <-ended) })
	<-there
}

// BenchmarkCatchUp starts a provider on a market with open orders and measures
// until every one has its bid. Blocks come every 10 ms.
func BenchmarkCatchUp(b *testing.B) {
	for _, orders := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("orders=%d", orders), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				m := benchMarket(b, false)
				var batch []market.Msg
				for i := range orders {
					batch = append(batch, benchOrder(uint64(i+1)))
				}
				ctx, cancel := context.WithCancel(b.Context())
				var wg sync.WaitGroup
				wg.Go(func() { _ = m.Run(ctx, 10*time.Millisecond) })
				_, err := m.Client(theTenant).Submit(ctx, batch...)
				require.NoError(b, err)
				head, err := m.Client(theTenant).Head(ctx)
				require.NoError(b, err)
				var bids sync.WaitGroup
				bids.Add(orders)
				b.StartTimer()
				runBench(b, provider.Config{
					Market: m.Client(theProvider), Cluster: memcluster.New(memcluster.Config{Nodes: manyNodes(100)}),
					Observer: provider.ObserverFunc(func(e provider.Event) {
						if e.Kind == provider.EventBid {
							bids.Done()
						}
					}),
				})
				bids.Wait()
				b.StopTimer()
				after, err := m.Client(theTenant).Head(ctx)
				require.NoError(b, err)
				b.ReportMetric(float64(after.Height-head.Height), "blocks")
				cancel()
				wg.Wait()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkBidLatency measures from the block with the order's event until the
// bid is handed to the market's client: reading the order, the decision, the
// reservation and its record.
func BenchmarkBidLatency(b *testing.B) {
	for _, nodes := range []int{100, 1000, 10_000} {
		for _, disk := range []bool{false, true} {
			b.Run(fmt.Sprintf("nodes=%d/disk=%t", nodes, disk), func(b *testing.B) {
				m := benchMarket(b, true)
				client := timed{m.Client(theProvider), make(chan time.Time, 1)}
				store := provider.NewMemStore()
				if disk {
					var err error
					store, err = provider.OpenStore(b.TempDir())
					require.NoError(b, err)
					b.Cleanup(func() { _ = store.Close() })
				}
				runBench(b, provider.Config{
					Market: client, Cluster: memcluster.New(memcluster.Config{Nodes: manyNodes(nodes)}), Store: store,
				})
				var sum time.Duration
				var n uint64
				for b.Loop() {
					n++
					_, err := m.Client(theTenant).Submit(b.Context(), benchOrder(n))
					require.NoError(b, err)
					began := time.Now()
					sum += (<-client.bids).Sub(began)
				}
				b.ReportMetric(float64(sum.Microseconds())/float64(n), "µs/bid")
			})
		}
	}
}

// BenchmarkStatus is what anybody may ask without a credential.
func BenchmarkStatus(b *testing.B) {
	for _, nodes := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			m := benchMarket(b, true)
			p, err := provider.New(provider.Config{
				Market: m.Client(theProvider), Cluster: memcluster.New(memcluster.Config{Nodes: manyNodes(nodes)}),
				HostURI: "https://provider.test", Pricer: pricer(),
			})
			require.NoError(b, err)
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx) }()
			b.Cleanup(func() { cancel(); require.NoError(b, <-ended) })
			for {
				if s, err := p.Status(ctx); err == nil && s.Inventory != nil {
					break
				}
				<-time.After(time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Status(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
