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
