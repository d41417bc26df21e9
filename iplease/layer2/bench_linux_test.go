package layer2_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/iplease/driver"
)

// many are announcements of n claims, each with an address and two ports.
func many(n int, revision uint64, replicas ...driver.Backend) []driver.Announcement {
	out := make([]driver.Announcement, n)
	for i := range out {
		out[i] = announcement(revision, 1, replicas...)
		out[i].Claim.Name = fmt.Sprintf("web%d", i)
		out[i].Addresses = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, byte(3 + i/250), byte(1 + i%250)})}
	}
	return out
}

// wait polls until f holds.
func wait(tb testing.TB, f func() bool) {
	tb.Helper()
	deadline := time.Now().Add(2 * patience)
	for tick := time.NewTicker(2 * time.Millisecond); !f(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatal("it takes too long")
		}
	}
}

// announcedBy reports whether all are announced by a host.
func announcedBy(tb testing.TB, r *remote, host string, all []driver.Announcement) bool {
	tb.Helper()
	for _, a := range slices.Backward(all) {
		s, err := r.Status(tb.Context(), a.Claim)
		if errors.Is(err, driver.ErrNotFound) { // a peer has not heard of it yet
			return false
		}
		require.NoError(tb, err)
		if s.Addresses[0].State != driver.Announced || s.Addresses[0].Node != host {
			return false
		}
	}
	return true
}

func backendOn(h *machine) driver.Backend {
	return driver.Backend{Lease: lease(1), Service: "web", Node: h.name, Address: netip.MustParseAddr("10.0.0.2")}
}

// How long until 1,000 claims that come at once, from 16 callers, are announced,
// probing included.
func BenchmarkAnnounce1000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := newLab(b, 1)
		r := start(b, l.hosts[0], l.config(0, b.TempDir()))
		all := many(1000, 1, backendOn(l.hosts[0]))
		b.StartTimer()
		applyAll(b, r, all)
		wait(b, func() bool { return announcedBy(b, r, "a", all) })
		b.StopTimer()
		r.shut()
		b.StartTimer()
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "claims/s")
}

func applyAll(tb testing.TB, r *remote, all []driver.Announcement) {
	tb.Helper()
	const callers = 16
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; i < len(all); i += callers {
				if err := r.Apply(tb.Context(), all[i]); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// How long one change takes, until the kernel has it and connections of before are
// ended, with 1 and with 1,000 claims announced.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("claims=%d", n), func(b *testing.B) {
			l := newLab(b, 1)
			r := start(b, l.hosts[0], l.config(0, b.TempDir()))
			all := many(n, 1, backendOn(l.hosts[0]))
			applyAll(b, r, all)
			wait(b, func() bool { return announcedBy(b, r, "a", all) })
			a := all[n/2].Clone()
			for b.Loop() {
				a.Revision++
				a.Ports[0].Port = uint16(1000 + a.Revision%1000)
				require.NoError(b, r.Apply(b.Context(), a))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}

// How long clients have no answer when a host goes: its process is killed, or its
// cable is pulled, with the default timeout.
func BenchmarkFailover(b *testing.B) {
	for _, way := range []string{"killed", "unplugged"} {
		for _, n := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/claims=%d", way, n), func(b *testing.B) {
				var gap, taken time.Duration
				lost := 0
				for b.Loop() {
					g, t, m := failover(b, way, n)
					gap, taken, lost = gap+g, taken+t, lost+m
				}
				b.ReportMetric(float64(gap.Milliseconds())/float64(b.N), "ms-without-answer")
				b.ReportMetric(float64(taken.Milliseconds())/float64(b.N), "ms-until-all-moved")
				b.ReportMetric(float64(lost)/float64(b.N), "datagrams-lost")
			})
		}
	}
}

func failover(b *testing.B, way string, n int) (gap, taken time.Duration, lost int) {
	b.Helper()
	l := newLab(b, 2)
	var hosts []*remote
	for i, h := range l.hosts {
		c := l.config(i, b.TempDir())
		c.Timeout = 0 // the default
		hosts = append(hosts, start(b, h, c))
	}
	var replicas []driver.Backend
	for _, h := range l.hosts {
		r := l.serve(b, h, "on-"+h.name, web)
		replicas = append(replicas, driver.Backend{Lease: lease(1), Service: "web", Node: h.name, Address: r.at4})
	}
	// The first claim begins on a, the others with it.
	first := announcement(1, 1, replicas[0])
	first.Addresses = leased4(1)
	all := append(many(n-1, 1, replicas[0]), first)
	applyAll(b, hosts[0], all)
	wait(b, func() bool { return announcedBy(b, hosts[1], "a", all) })
	for i := range all {
		all[i].Revision, all[i].Backends = 2, replicas
	}
	applyAll(b, hosts[0], all)
	p := l.probe(netip.AddrPortFrom(leased4(1)[0], 80))
	wait(b, func() bool { return p.heard("on-a") })
	begin := time.Now()
	if way == "killed" {
		hosts[0].kill()
	} else {
		l.wire.run(b, "ip", "link", "set", "hosta", "down")
	}
	wait(b, func() bool { return announcedBy(b, hosts[1], "b", all) })
	taken = time.Since(begin)
	wait(b, func() bool { return p.heard("on-b") })
	gap, lost = p.gap()
	for _, h := range hosts {
		h.kill()
	}
	return gap, taken, lost
}
