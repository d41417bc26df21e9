package lease_test

import (
	"errors"
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

// eachSize runs f with books of 1, 10 and 100 payments.
func eachSize(b *testing.B, f func(book *lease.Book) (step func() error)) {
	b.Helper()
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			step := f(streams(b, n))
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if err := step(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSettle(b *testing.B) {
	eachSize(b, func(book *lease.Book) func() error {
		height := int64(0)
		return func() error {
			height++
			return book.Settle(height)
		}
	})
}

func BenchmarkWithdraw(b *testing.B) {
	eachSize(b, func(book *lease.Book) func() error {
		height := int64(0)
		return func() error {
			height++
			_, err := book.Withdraw(height, leaseID(1), 250)
			return err
		}
	})
}

func BenchmarkRunsOutAt(b *testing.B) {
	eachSize(b, func(book *lease.Book) func() error {
		return func() error {
			if book.RunsOutAt() == 0 {
				return errors.New("never")
			}
			return nil
		}
	})
}

// BenchmarkOverdraft settles across the height at which funds run out.
func BenchmarkOverdraft(b *testing.B) {
	eachSize(b, func(book *lease.Book) func() error {
		at := book.RunsOutAt() + 10
		return func() error {
			late := lease.Load(book.Account, book.Payments)
			if err := late.Settle(at); err != nil || late.Account.State != market.AccountOverdrawn {
				return fmt.Errorf("%s: %w", late.Account.State, err)
			}
			return nil
		}
	})
}
