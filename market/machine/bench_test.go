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

// BenchmarkScale asks for other counts and confirms: an operation is both.
func BenchmarkScale(b *testing.B) {
	t := newBench(b)
	d, bid := benchDeployment(1), benchBid(1)
	d.Groups[0].Units[0].MinCount, d.Groups[0].Units[0].MaxCount = 1, 2
	bid.Units = []market.UnitPrice{{Unit: 1, AmountPerBlock: bid.Price.AmountPerBlock}}
	id := bid.ID.Lease()
	for _, msg := range []market.Msg{d, bid, market.CreateLease{ID: bid.ID}} {
		t.do(msg)
	}
	number := uint32(0)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		number++
		t.do(market.ScaleLease{ID: id, Counts: []market.UnitCount{{Unit: 1, Count: number%2 + 1}}})
		t.do(market.ConfirmScale{ID: id, Number: number})
	}
}

// BenchmarkRetainer takes retainers through their life in a market that holds
// many others: an operation is opening, withdrawal and closing.
func BenchmarkRetainer(b *testing.B) {
	for _, existing := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("existing=%d", existing), func(b *testing.B) {
			t := newBench(b)
			n := 0
			open := func() market.RetainerID {
				n++
				id := market.RetainerID{Owner: "tenant", Provider: "provider", Kind: "address", Name: fmt.Sprint("n", n)}
				t.do(market.OpenRetainer{ID: id, Price: benchBid(1).Price, Deposit: market.NewCoin("uakt", 500_000)})
				return id
			}
			for range existing {
				open()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				id := open()
				t.do(market.WithdrawRetainer{ID: id})
				t.do(market.CloseRetainer{ID: id, By: id.Owner})
			}
		})
	}
}

// BenchmarkSettlement withdraws from one of the leases of an account, a block
// after the last: all streams of the account are settled.
func BenchmarkSettlement(b *testing.B) {
	for _, streams := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			t := newBench(b)
			t.machine.Params.Limits.MaxGroups = 100
			d := benchDeployment(1)
			for i := 1; i < streams; i++ {
				g := d.Groups[0].Clone()
				g.Name = fmt.Sprint("group", i)
				d.Groups = append(d.Groups, g)
			}
			d.Deposit = market.NewCoin("uakt", 1<<60)
			t.do(d)
			for i := range streams {
				bid := benchBid(1)
				bid.ID.GSeq = uint32(i + 1)
				t.do(bid)
				t.do(market.CreateLease{ID: bid.ID})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				t.at.Height++
				t.do(market.WithdrawLease{ID: benchBid(1).ID.Lease()})
			}
		})
	}
}
