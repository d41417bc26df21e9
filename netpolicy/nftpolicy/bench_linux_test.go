package nftpolicy_test

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/internal/nft"
)

// BenchmarkKernel puts rules into a kernel with the program nft: the whole table of
// 1,000 leases, and one lease of them anew.
func BenchmarkKernel(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("rules can be put into a kernel by root only")
	}
	// Each has a network namespace of its own, on a thread that is thrown away.
	alone := func(b *testing.B) {
		b.Helper()
		runtime.LockOSThread()
		require.NoError(b, unix.Unshare(unix.CLONE_NEWNET))
	}
	for name, leases := range map[string]int{"one lease alone": 1, "one lease of 1000": 1000} {
		b.Run(name, func(b *testing.B) {
			alone(b)
			t := rows(b, leases, 3)
			whole, err := t.Ruleset()
			require.NoError(b, err)
			one, err := t.Replace(&t.Networks[leases/2], &t.Networks[leases/2])
			require.NoError(b, err)
			require.NoError(b, nft.Run(b.Context(), whole))
			for b.Loop() {
				require.NoError(b, nft.Run(b.Context(), one))
			}
		})
	}
	b.Run("all of 1000", func(b *testing.B) {
		alone(b)
		t := rows(b, 1000, 3)
		whole, err := t.Ruleset()
		require.NoError(b, err)
		for b.Loop() {
			require.NoError(b, nft.Run(b.Context(), whole))
		}
	})
}
