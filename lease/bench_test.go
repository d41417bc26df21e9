package lease_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

// streams returns a settled book with n payments and funds for a long time.
func streams(b *testing.B, n int) *lease.Book {
	b.Helper()
	book := lease.Open(deployment(12), 0)
	require.NoError(b, book.Deposit(0, "tenant", uact(1<<62)))
	for i := range n {
		require.NoError(b, book.Start(0, leaseID(uint32(i+1)), price(b, "333.333333333333333333")))
	}
	return book
}

func perStreams(b *testing.B, f func(b *testing.B, book *lease.Book)) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			book := streams(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			f(b, book)
		})
	}
}

func BenchmarkSettle(b *testing.B) {
	perStreams(b, func(b *testing.B, book *lease.Book) {
		for h := int64(1); b.Loop(); h++ {
			if err := book.Settle(h); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkWithdraw(b *testing.B) {
	perStreams(b, func(b *testing.B, book *lease.Book) {
		for h := int64(1); b.Loop(); h++ {
			if _, err := book.Withdraw(h, leaseID(1), 250); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRunsOutAt(b *testing.B) {
	perStreams(b, func(b *testing.B, book *lease.Book) {
		for b.Loop() {
			if book.RunsOutAt() == 0 {
				b.Fatal("never")
			}
		}
	})
}

// BenchmarkOverdraft settles across the height at which funds run out.
func BenchmarkOverdraft(b *testing.B) {
	perStreams(b, func(b *testing.B, book *lease.Book) {
		at := book.RunsOutAt() + 10
		for b.Loop() {
			late := lease.Load(book.Account, book.Payments)
			if err := late.Settle(at); err != nil || late.Account.State != market.AccountOverdrawn {
				b.Fatal(err, late.Account.State)
			}
		}
	})
}
