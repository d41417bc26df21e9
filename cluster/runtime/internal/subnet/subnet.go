// Package subnet picks address ranges for private networks.
package subnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Bits is the size of a network: 253 containers.
const Bits = 24

// Bits6 is the size of a network of IPv6.
const Bits6 = 64

// Free6 picks the lowest range of the IPv6 pool that nothing taken overlaps.
func Free6(pool netip.Prefix, taken []netip.Prefix) (netip.Prefix, error) {
	at := netip.PrefixFrom(pool.Masked().Addr(), Bits6)
	for pool.Contains(at.Addr()) {
		if !slices.ContainsFunc(taken, at.Overlaps) {
			return at, nil
		}
		b := at.Addr().As16()
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+1)
		at = netip.PrefixFrom(netip.AddrFrom16(b), Bits6)
	}
	return netip.Prefix{}, fmt.Errorf("no free /%d left in %s", Bits6, pool)
}

// Free picks the lowest range of the IPv4 pool that nothing taken overlaps.
func Free(pool netip.Prefix, taken []netip.Prefix) (netip.Prefix, error) {
	at := netip.PrefixFrom(pool.Masked().Addr(), Bits)
	for pool.Contains(at.Addr()) {
		if !slices.ContainsFunc(taken, at.Overlaps) {
			return at, nil
		}
		b := at.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+1<<(32-Bits))
		at = netip.PrefixFrom(netip.AddrFrom4(b), Bits)
	}
	return netip.Prefix{}, fmt.Errorf("no free /%d left in %s", Bits, pool)
}
