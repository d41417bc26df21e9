package fabric_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/fabric"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/netpolicy/nftpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

func segment() fabric.Segment {
	return fabric.Segment{Name: "one", Index: 1, Prefix: netip.MustParsePrefix("10.200.0.0/24")}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestANetworkWithoutPolicyIsOpenInsideAndClosedOutside(t *testing.T) {
	h := fabric.Host{Instance: "abc123", Surroundings: netpolicy.Surroundings{
		Resolvers: []netip.Addr{addr("192.168.1.1"), addr("fd00::1")}, Open: []netip.Prefix{netip.MustParsePrefix("192.168.7.9/24")},
	}}
	n, err := h.Network(segment(), []nftpolicy.Member{{Address: addr("10.200.0.2")}})
	require.NoError(t, err)
	assert.True(t, n.Open)
	assert.Empty(t, n.Policy.Services)
	tcp := netpolicy.Port{Protocol: manifest.TCP, Number: 80}
	verdict := func(to string, port netpolicy.Port) netpolicy.Reason {
		return n.Policy.Evaluate(netpolicy.Flow{From: netpolicy.Of(""), To: netpolicy.At(addr(to)), Port: port}).Reason
	}
	assert.Equal(t, netpolicy.ToOpenRange, verdict("192.168.7.1", tcp))
	assert.Equal(t, netpolicy.ToResolver, verdict("192.168.1.1", netpolicy.Port{Protocol: manifest.UDP, Number: 53}))
	assert.Equal(t, netpolicy.ToDeniedRange, verdict("169.254.169.254", tcp))
	_, err = h.Table(n).Ruleset()
	require.NoError(t, err)
}

func TestContainersHaveAnIPv6AddressBesideTheOtherWhereTheirNetworkHas(t *testing.T) {
	h, s := fabric.Host{Instance: "abc123"}, segment()
	assert.False(t, s.Gateway6().IsValid())
	s.Prefix6, s.Policy = netip.MustParsePrefix("fd10:0:0:7::/64"), &netpolicy.Policy{}
	assert.Equal(t, addr("fd10:0:0:7::1"), s.Gateway6())
	n, err := h.Network(s, []nftpolicy.Member{{Address: addr("10.200.0.9"), Service: "web"}})
	require.NoError(t, err)
	assert.False(t, n.Open)
	assert.Equal(t, []nftpolicy.Member{{Address: addr("10.200.0.9"), Service: "web"}, {Address: addr("fd10:0:0:7::9"), Service: "web"}}, n.Members)
}

func TestNamesFitTheKernel(t *testing.T) {
	const most = 15
	h := fabric.Host{Instance: "abc123"}
	require.LessOrEqual(t, len(h.Bridge(fabric.Segment{Index: fabric.MaxSegments})), most)
}

func TestAddressesAreGivenFromTheLowestAndEnd(t *testing.T) {
	s := segment()
	given := map[netip.Addr]bool{}
	taken := func(a netip.Addr) bool { return given[a] }
	for i := range 253 {
		a, err := s.FreeAddr(taken)
		require.NoError(t, err, i)
		require.NotEqual(t, s.Gateway(), a)
		require.True(t, s.Prefix.Contains(a))
		require.False(t, given[a])
		given[a] = true
	}
	require.True(t, given[addr("10.200.0.254")])
	_, err := s.FreeAddr(taken)
	require.Error(t, err, "the broadcast address is not given")
}
