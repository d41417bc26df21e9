package gateway_test

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/provider/gateway"
	"github.com/moorage-dev/moorage/provider/gateway/client"
	"github.com/moorage-dev/moorage/provider/gateway/gatewaytest"
)

// direct returns a server for many streams and a client that goes to it without
// the breakable network in between.
func direct(b *testing.B) (*gatewaytest.Server, *client.Client) {
	b.Helper()
	s := gatewaytest.Start(b, gateway.Config{Limits: gateway.Limits{StreamsPerTenant: 1000, TenantRate: 1 << 20, TenantBurst: 1 << 20}})
	c, err := client.New(client.Config{
		Provider: gatewaytest.Provider, HostURI: "https://" + s.Direct, Market: s.Registry, Certificate: s.TenantCert,
	})
	require.NoError(b, err)
	b.Cleanup(c.Close)
	return s, c
}

// shell is a "cat" over the gateway.
type shell struct {
	keys   *io.PipeWriter
	screen *io.PipeReader
	done   chan error
}

func openShell(b *testing.B, c *client.Client) *shell {
	b.Helper()
	stdin, keys := io.Pipe()
	screen, tty := io.Pipe()
	sh := &shell{keys, screen, make(chan error, 1)}
	go func() {
		_, err := c.Exec(b.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.Exec{
			Service: "web", Command: []string{"cat"}, TTY: true, Stdin: stdin, Stdout: tty,
		})
		_ = tty.CloseWithError(io.EOF)
		sh.done <- err
	}()
	return sh
}

func (sh *shell) echo(buf []byte) (time.Duration, error) {
	start := time.Now()
	if _, err := sh.keys.Write(buf); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(sh.screen, buf)
	return time.Since(start), err
}

// BenchmarkShellEcho is the time from a key to its echo, with that many shells
// typing at once.
func BenchmarkShellEcho(b *testing.B) {
	for _, shells := range []int{1, 50, 200} {
		b.Run(fmt.Sprintf("shells=%d", shells), func(b *testing.B) {
			_, c := direct(b)
			open := make([]*shell, shells)
			for i := range open {
				open[i] = openShell(b, c)
				_, err := open[i].echo([]byte("x"))
				require.NoError(b, err)
			}
			times := make([][]time.Duration, shells)
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for i, sh := range open {
				n := b.N / shells
				if i < b.N%shells {
					n++
				}
				wg.Go(func() {
					buf := []byte("x")
					for range n {
						d, err := sh.echo(buf)
						if err != nil {
							b.Error(err)
							return
						}
						times[i] = append(times[i], d)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Sorted(slices.Values(slices.Concat(times...)))
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			for _, sh := range open {
				_ = sh.keys.Close()
				require.NoError(b, <-sh.done)
			}
		})
	}
}

// BenchmarkLogs is the time of 10,000 lines through each of that many streams.
func BenchmarkLogs(b *testing.B) {
	const lines = 10_000
	for _, streams := range []int{1, 50, 200} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			s, c := direct(b)
			s.Backend.Print(lines)
			b.ReportAllocs()
			for b.Loop() {
				var wg sync.WaitGroup
				for range streams {
					wg.Go(func() {
						n := 0
						for _, err := range c.Logs(b.Context(), gatewaytest.Lease(gatewaytest.Tenant), driver.LogOptions{Tail: -1}) {
							if err != nil {
								b.Error(err)
							}
							n++
						}
						if n != lines {
							b.Errorf("got %d lines", n)
						}
					})
				}
				wg.Wait()
			}
			b.ReportMetric(float64(b.N*streams*lines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// BenchmarkLeaseStatus is a request over a connection that is open.
func BenchmarkLeaseStatus(b *testing.B) {
	_, c := direct(b)
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.LeaseStatus(b.Context(), gatewaytest.Lease(gatewaytest.Tenant))
		require.NoError(b, err)
	}
}
