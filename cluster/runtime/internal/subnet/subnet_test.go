package subnet_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/cluster/runtime/internal/subnet"
)

func TestFreeRangesNeverOverlapAndTheLowestIsTaken(t *testing.T) {
	pool := netip.MustParsePrefix("10.200.0.0/20")
	rapid.Check(t, func(t *rapid.T) {
		taken := []netip.Prefix{netip.MustParsePrefix("10.200.3.128/25"), netip.MustParsePrefix("192.168.0.0/16")}
		var got []netip.Prefix
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			p, err := subnet.Free(pool, taken)
			if err != nil {
				require.Len(t, got, 15, "the pool has sixteen, one of them taken")
				return
			}
			require.True(t, pool.Contains(p.Addr()))
			for _, o := range taken {
				require.False(t, p.Overlaps(o))
			}
			taken, got = append(taken, p), append(got, p)
		}
		require.Equal(t, "10.200.0.0/24", got[0].String())
	})
}

func TestAPoolAtTheEndOfAddressesEnds(t *testing.T) {
	pool := netip.MustParsePrefix("255.255.255.0/24")
	_, err := subnet.Free(pool, []netip.Prefix{pool})
	require.Error(t, err)
}
