package iplease_test

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// processor reports the processor time per operation besides the time on the
// clock: on a busy machine the second says how busy it is.
func processor(b *testing.B) func() {
	b.Helper()
	b.ReportAllocs()
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	begin := used()
	return func() { b.ReportMetric(float64(used()-begin)/float64(b.N), "cpu-ns/op") }
}

// benchLease is the n-th lease, each of a tenant of its own.
func benchLease(n int) market.LeaseID {
	id := market.LeaseID{Provider: "provider"}
	id.Owner, id.DSeq, id.GSeq, id.OSeq = market.Address(fmt.Sprint("tenant", n)), 1, 1, 1
	return id
}

func benchWant(l market.LeaseID) iplease.Want {
	return iplease.Want{Name: "my-ip", Number: 1, Ports: []iplease.Port{{Protocol: iplease.TCP, External: 443, Lease: l, Service: "web", Port: 8443}}}
}

// benchTable has a pool of a prefix with so many claims.
func benchTable(b *testing.B, prefix string, claims int) *iplease.Table {
	b.Helper()
	t, err := iplease.New(iplease.Config{Pools: []iplease.Pool{{Name: "p", Ranges: ranges(prefix)}}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range claims {
		l := benchLease(i)
		if _, err := t.Bind(l, benchWant(l), time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	t.Unsaved()
	return t
}

// sizes are the pools and how full they are. 99.9 % of a /24 is 255 of 256.
func sizes() []struct {
	prefix, fill string
	claims       int
} {
	return []struct {
		prefix, fill string
		claims       int
	}{
		{"10.0.0.0/24", "empty", 0}, {"10.0.0.0/24", "half", 128}, {"10.0.0.0/24", "99.9%", 255},
		{"10.0.0.0/16", "empty", 0}, {"10.0.0.0/16", "half", 32768}, {"10.0.0.0/16", "99.9%", 65470},
		{"2001:db8::/64", "empty", 0}, {"2001:db8::/64", "100000 claims", 100_000},
	}
}

// BenchmarkBindRelease binds an endpoint of a new lease to a new address, closes
// the lease, and ends the cooling.
func BenchmarkBindRelease(b *testing.B) {
	for _, s := range sizes() {
		b.Run(s.prefix+"/"+s.fill, func(b *testing.B) {
			t := benchTable(b, s.prefix, s.claims)
			l := benchLease(1 << 30)
			w, now := benchWant(l), time.Unix(0, 0)
			defer processor(b)()
			for b.Loop() {
				if _, err := t.Bind(l, w, now); err != nil {
					b.Fatal(err)
				}
				t.Release(l, w.Name, now)
				t.Expire(now.Add(iplease.DefaultCooling), 0)
			}
		})
	}
}

// BenchmarkReserve reserves an address for an order and frees it: an allocation
// without anything else.
func BenchmarkReserve(b *testing.B) {
	for _, s := range sizes() {
		b.Run(s.prefix+"/"+s.fill, func(b *testing.B) {
			t := benchTable(b, s.prefix, s.claims)
			r := iplease.Request{Order: benchLease(1 << 30).OrderID, Numbers: []uint32{1}}
			defer processor(b)()
			for b.Loop() {
				if err := t.Reserve(r); err != nil {
					b.Fatal(err)
				}
				t.Unreserve(r.Order)
			}
		})
	}
}

// BenchmarkLinearScan is what the two above are compared with: the same records
// in a map, and the first address of the pool that is not among them.
func BenchmarkLinearScan(b *testing.B) {
	for _, s := range sizes() {
		b.Run(s.prefix+"/"+s.fill, func(b *testing.B) {
			used := make(map[netip.Addr]*iplease.Record, s.claims)
			r := ranges(s.prefix)[0]
			at := r.First
			for range s.claims {
				used[at] = &iplease.Record{}
				at = at.Next()
			}
			defer processor(b)()
			for b.Loop() {
				for a := r.First; r.Contains(a); a = a.Next() {
					if used[a] == nil {
						used[a] = &iplease.Record{Addresses: []netip.Addr{a}}
						delete(used, a)
						break
					}
				}
			}
		})
	}
}

// BenchmarkUpdateUnchanged is the reconciliation of a lease that is as it should
// be.
func BenchmarkUpdateUnchanged(b *testing.B) {
	t := benchTable(b, "10.0.0.0/16", 65470)
	l := benchLease(7)
	wants := []iplease.Want{benchWant(l)}
	defer processor(b)()
	for b.Loop() {
		t.Update(l, wants, time.Time{})
	}
}

// BenchmarkHolder looks an (address, protocol, port) up.
func BenchmarkHolder(b *testing.B) {
	t := benchTable(b, "10.0.0.0/16", 65470)
	at := netip.MustParseAddr("10.0.100.7")
	defer processor(b)()
	for b.Loop() {
		if _, ok := t.Holder(at, iplease.TCP, 443); !ok {
			b.Fatal("no holder")
		}
	}
}

// BenchmarkClaimsOfATenant lists what one of 100,000 tenants has.
func BenchmarkClaimsOfATenant(b *testing.B) {
	t := benchTable(b, "2001:db8::/64", 100_000)
	owner := benchLease(7).Owner
	defer processor(b)()
	for b.Loop() {
		if len(t.Claims(owner)) != 1 {
			b.Fatal("not its claim")
		}
	}
}

// BenchmarkRestore makes a table of 100,000 claims out of its records.
func BenchmarkRestore(b *testing.B) {
	rs := benchTable(b, "2001:db8::/64", 100_000).Records()
	cfg := iplease.Config{Pools: []iplease.Pool{{Name: "p", Ranges: ranges("2001:db8::/64")}}}
	for b.Loop() {
		if _, _, err := iplease.Restore(cfg, rs); err != nil {
			b.Fatal(err)
		}
	}
}
