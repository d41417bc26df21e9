package machine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
	"github.com/moorage-dev/moorage/market/memmarket"
)

// bench is a market in memory whose machine is driven directly.
type bench struct {
	b       *testing.B
	market  *memmarket.Market
	machine *machine.Machine
	at      machine.Moment
	ops     int
}

func newBench(b *testing.B) *bench {
	b.Helper()
	t := &bench{b: b, at: machine.Moment{Height: 1}}
	rich := market.Coins{market.NewCoin("uakt", 1<<63)}
	m, err := memmarket.New(memmarket.Config{
		Balances: map[market.Address]market.Coins{"tenant": rich, "provider": rich},
		Machine:  func(m *machine.Machine) { t.machine = m },
	})
	require.NoError(b, err)
	t.market = m
	t.do(market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://p.example"}})
	return t
}

// do carries a message out. Now and then a block ends, so that the journal of
// undone things stays short.
func (t *bench) do(msg market.Msg) {
	if _, err := t.machine.Execute(t.at, msg); err != nil {
		t.b.Fatal(err)
	}
	if t.ops++; t.ops%1000 == 0 {
		if err := t.market.Advance(1); err != nil {
			t.b.Fatal(err)
		}
		t.at.Height++
	}
}

func benchDeployment(dseq uint64) market.CreateDeployment {
	return market.CreateDeployment{
		ID: market.DeploymentID{Owner: "tenant", DSeq: dseq}, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 20}},
			Count:     1, Price: market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(100)},
		}}}},
	}
}

func benchBid(dseq uint64) market.CreateBid {
	group := market.GroupID{DeploymentID: market.DeploymentID{Owner: "tenant", DSeq: dseq}, GSeq: 1}
	return market.CreateBid{
		ID:    market.BidID{OrderID: market.OrderID{GroupID: group, OSeq: 1}, Provider: "provider"},
		Price: market.Price{Denom: "uakt", AmountPerBlock: market.NewDecimal(3)}, Deposit: market.NewCoin("uakt", 500_000),
	}
}

// BenchmarkLife takes deployments through their life in a market that holds
// many others: an operation is all six messages.
func BenchmarkLife(b *testing.B) {
	for _, existing := range []int{0, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("existing=%d", existing), func(b *testing.B) {
			if existing > 10_000 && testing.Short() {
				b.Skip("takes two gigabytes")
			}
			t := newBench(b)
			dseq := uint64(1)
			for range existing {
				t.do(benchDeployment(dseq))
				dseq++
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				t.life(dseq)
				dseq++
			}
		})
	}
}

func (t *bench) life(dseq uint64) {
	d, bid := benchDeployment(dseq), benchBid(dseq)
	t.do(d)
	t.do(bid)
	t.do(market.CreateLease{ID: bid.ID})
	t.do(market.WithdrawLease{ID: bid.ID.Lease()})
	t.do(market.CloseLease{ID: bid.ID.Lease()})
	t.do(market.CloseDeployment{ID: d.ID})
}

// BenchmarkWithdrawLease is the message providers send most.
func BenchmarkWithdrawLease(b *testing.B) {
	t := newBench(b)
	t.do(benchDeployment(1))
	bid := benchBid(1)
	t.do(bid)
	t.do(market.CreateLease{ID: bid.ID})
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		t.do(market.WithdrawLease{ID: bid.ID.Lease()})
	}
}

func BenchmarkCreateDeployment(b *testing.B) {
	t := newBench(b)
	dseq := uint64(0)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		dseq++
		t.do(benchDeployment(dseq))
	}
}

// BenchmarkOpenOrders reads a page of open orders in a market of many.
func BenchmarkOpenOrders(b *testing.B) {
	t := newBench(b)
	for dseq := range uint64(10_000) {
		t.do(benchDeployment(dseq + 1))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		orders, _, err := t.machine.ListOrders(market.OrderFilter{State: market.OrderOpen}, market.Page{Limit: 100})
		if err != nil || len(orders) != 100 {
			b.Fatal(err, len(orders))
		}
	}
}
