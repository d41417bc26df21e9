package node_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// residentMB reads how much memory the process has in RAM.
func residentMB(b *testing.B) float64 {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc")
	}
	for line := range strings.Lines(string(raw)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			return kb / 1024
		}
	}
	return 0
}

// cpu returns the processor time that the process has used: on a shared machine
// it says more than the clock.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStartToFirstBlock runs a node on disk until its first block, and
// stops it.
func BenchmarkStartToFirstBlock(b *testing.B) {
	used := cpu(b)
	for b.Loop() {
		n, err := node.New(node.Config{Home: b.TempDir(), Genesis: genesis("bench-1")})
		require.NoError(b, err)
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		<-n.Ready()
		b.StopTimer()
		cancel()
		require.NoError(b, <-done)
		b.StartTimer()
	}
	b.ReportMetric(residentMB(b), "resident-MB")
	b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkSubmitOnANode measures submissions one after the other and side by
// side on a node on disk with short blocks.
func BenchmarkSubmitOnANode(b *testing.B) {
	for _, senders := range []int{1, 64} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			rich := keys.FromSeed("rich", "node bench")
			g := app.Genesis{ChainID: "bench-1", Market: market.DefaultParams("uakt"), Accounts: []app.Account{
				{Address: rich.Address(), Coins: market.Coins{market.NewCoin("uakt", 1<<60)}},
			}}
			n, err := node.New(node.Config{Home: b.TempDir(), Genesis: g, BlockInterval: 20 * time.Millisecond})
			require.NoError(b, err)
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- n.Run(ctx) }()
			<-n.Ready()
			conn, err := n.Dial()
			require.NoError(b, err)
			c, err := client.New(conn, client.Config{Signer: rich, Poll: 5 * time.Millisecond})
			require.NoError(b, err)
			submitAll(b, c, senders)
			require.NoError(b, conn.Close())
			cancel()
			require.NoError(b, <-done)
		})
	}
}

// submitAll sends b.N deployments from so many goroutines.
func submitAll(b *testing.B, c *client.Client, senders int) {
	b.Helper()
	turns := make(chan uint64)
	errs := make(chan error, senders)
	for range senders {
		go func() { // ends with turns
			var last error
			for dseq := range turns {
				if _, err := c.Submit(b.Context(), deployment(c, dseq)); err != nil {
					last = err
				}
			}
			errs <- last
		}()
	}
	b.ReportAllocs()
	b.ResetTimer()
	used := cpu(b)
	for i := range b.N {
		turns <- uint64(i + 1)
	}
	close(turns)
	for range senders {
		require.NoError(b, <-errs)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkFullBlocks has one validator, with its database on disk, make blocks
// as full as senders can fill them: b.N deployments, then a bid on each, then a
// lease of each. Run it with -benchtime 4000x, and with -cpuprofile to see where
// the time goes.
func BenchmarkFullBlocks(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("messages-per-transaction=%d", batch), func(b *testing.B) { fullBlocks(b, batch) })
	}
}

func fullBlocks(b *testing.B, batch int) {
	b.Helper()
	tenant, provider := keys.FromSeed("rich", "node bench"), keys.FromSeed("seller", "node bench seller")
	g := app.Genesis{ChainID: "bench-1", Market: market.DefaultParams("uakt")}
	for _, k := range []*keys.Key{tenant, provider} {
		g.Accounts = append(g.Accounts, app.Account{Address: k.Address(), Coins: market.Coins{market.NewCoin("uakt", 1<<60)}})
	}
	n, err := node.New(node.Config{Home: b.TempDir(), Genesis: g, BlockInterval: 100 * time.Millisecond, NoTxIndex: true})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-done:
		b.Fatal(err)
	}
	conn, err := n.Dial()
	require.NoError(b, err)
	buyer, err := client.New(conn, client.Config{Signer: tenant, Poll: 20 * time.Millisecond})
	require.NoError(b, err)
	seller, err := client.New(conn, client.Config{Signer: provider, Poll: 20 * time.Millisecond})
	require.NoError(b, err)
	_, err = seller.Submit(ctx, market.CreateProvider{Provider: market.Provider{Owner: provider.Address(), HostURI: "https://p.example"}})
	require.NoError(b, err)

	bid := func(i int) market.BidID {
		id := market.DeploymentID{Owner: tenant.Address(), DSeq: uint64(i + 1)}
		return market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: id, GSeq: 1}, OSeq: 1}, Provider: provider.Address()}
	}
	price := deployment(buyer, 1).Groups[0].Units[0].Price
	b.ResetTimer()
	flood(b, buyer, n, "CreateDeployment", batch, func(i int) market.Msg { return deployment(buyer, uint64(i+1)) })
	flood(b, seller, n, "CreateBid", batch, func(i int) market.Msg {
		return market.CreateBid{ID: bid(i), Price: price, Deposit: market.NewCoin("uakt", 500_000)}
	})
	flood(b, buyer, n, "CreateLease", batch, func(i int) market.Msg { return market.CreateLease{ID: bid(i)} })
	b.StopTimer()
	require.NoError(b, conn.Close())
	cancel()
	require.NoError(b, <-done)
}

// flood submits b.N messages in transactions of so many, from many senders at
// once, and reports how many a second and a block were carried out.
func flood(b *testing.B, c *client.Client, n *node.Node, name string, batch int, message func(int) market.Msg) {
	b.Helper()
	const senders = 64
	began, height, used := time.Now(), n.Height(), cpu(b)
	next := make(chan int)
	errs := make(chan error, senders)
	for range senders {
		go func() { // ends with next
			var last error
			for from := range next {
				msgs := make([]market.Msg, 0, batch)
				for i := from; i < min(from+batch, b.N); i++ {
					msgs = append(msgs, message(i))
				}
				if _, err := c.Submit(b.Context(), msgs...); err != nil {
					last = err
				}
			}
			errs <- last
		}()
	}
	for from := 0; from < b.N; from += batch {
		next <- from
	}
	close(next)
	for range senders {
		require.NoError(b, <-errs)
	}
	took := time.Since(began)
	b.ReportMetric(float64(b.N)/took.Seconds(), name+"/s")
	b.ReportMetric(float64(b.N)/float64(max(1, n.Height()-height)), name+"/block")
	b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(b.N), name+"-cpu-ms")
}
