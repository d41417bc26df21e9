package chaintest_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/chaintest"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/keys"
)

// benchChain returns a chain and a client whose account does not run dry.
func benchChain(b *testing.B) (*chaintest.Chain, *client.Client) {
	b.Helper()
	rich := keys.FromSeed("rich", "bench")
	chain, err := chaintest.New(chaintest.Config{Genesis: app.Genesis{
		Market:   market.DefaultParams("uakt"),
		Accounts: []app.Account{{Address: rich.Address(), Coins: market.Coins{market.NewCoin("uakt", 1<<60)}}},
	}})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, chain.Close()) })
	conn, err := chain.Dial()
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	c, err := client.New(conn, client.Config{Signer: rich, Poll: time.Millisecond})
	require.NoError(b, err)
	return chain, c
}

// cpu returns the processor time that the process has used: on a shared machine
// it says more than the clock.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkEmptyBlock(b *testing.B) {
	chain, _ := benchChain(b)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, chain.Advance(1))
	}
}

// BenchmarkSubmit measures simulation, signing, both checks of the signature, a
// block and the reading of it, per message.
func BenchmarkSubmit(b *testing.B) {
	for _, batch := range []int{1, 16, client.MaxBatch} {
		b.Run(fmt.Sprintf("messages=%d", batch), func(b *testing.B) {
			_, c := benchChain(b)
			var dseq uint64
			used := cpu(b)
			b.ReportAllocs()
			for b.Loop() {
				msgs := make([]market.Msg, batch)
				for i := range msgs {
					dseq++
					msgs[i] = deployment(c, dseq)
				}
				_, err := c.Submit(b.Context(), msgs...)
				require.NoError(b, err)
			}
			b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(dseq), "cpu-ms/message")
		})
	}
}

// BenchmarkWatchCatchUp reads 10,000 blocks, every tenth with a deployment.
func BenchmarkWatchCatchUp(b *testing.B) {
	const blocks = 10_000
	chain, c := benchChain(b)
	for dseq := range uint64(blocks / 10) {
		_, err := c.Submit(b.Context(), deployment(c, dseq+1))
		require.NoError(b, err)
		require.NoError(b, chain.Advance(9))
	}
	b.ReportAllocs()
	used := cpu(b)
	for b.Loop() {
		n := 0
		for _, err := range c.Watch(b.Context(), 2) {
			require.NoError(b, err)
			if n++; n == blocks {
				break
			}
		}
	}
	b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(blocks*b.N), "cpu-ms/block")
}

func BenchmarkRead(b *testing.B) {
	_, c := benchChain(b)
	_, err := c.Submit(b.Context(), deployment(c, 1))
	require.NoError(b, err)
	id := market.DeploymentID{Owner: c.Address(), DSeq: 1}
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.Deployment(b.Context(), id)
		require.NoError(b, err)
	}
}
