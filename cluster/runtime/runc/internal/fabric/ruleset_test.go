package fabric_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/fabric"
)

var update = flag.Bool("update", false, "rewrite golden files")

func segments() []fabric.Segment {
	return []fabric.Segment{
		{Name: "two", Index: 2, Prefix: netip.MustParsePrefix("10.200.1.0/24")},
		{Name: "one", Index: 1, Prefix: netip.MustParsePrefix("10.200.0.0/24")},
	}
}

func TestTheRulesAreThese(t *testing.T) {
	p := fabric.Policy{
		Instance: "abc123", Nameservers: []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fd00::1")},
		PrivateEgress: []netip.Prefix{netip.MustParsePrefix("192.168.7.9/24")},
	}
	got := p.Ruleset(segments())
	golden := filepath.Join("testdata", "two-networks.nft")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test -update rewrites it; say in the commit why")
}

func TestNamesFitTheKernel(t *testing.T) {
	const most = 15
	p := fabric.Policy{Instance: "abc123"}
	require.LessOrEqual(t, len(p.Bridge(fabric.Segment{Index: fabric.MaxSegments})), most)
}

func TestAddressesAreGivenFromTheLowestAndEnd(t *testing.T) {
	s := segments()[1]
	taken := map[netip.Addr]bool{}
	for i := range 253 {
		a, err := s.FreeAddr(taken)
		require.NoError(t, err, i)
		require.NotEqual(t, s.Gateway(), a)
		require.True(t, s.Prefix.Contains(a))
		require.False(t, taken[a])
		taken[a] = true
	}
	require.True(t, taken[netip.MustParseAddr("10.200.0.254")])
	_, err := s.FreeAddr(taken)
	require.Error(t, err, "the broadcast address is not given")
}
