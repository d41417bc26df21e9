package netpolicy

import (
	"cmp"
	"net/netip"
	"slices"
)

// Range is a range of addresses that no container may reach.
type Range struct {
	Prefix netip.Prefix
	// What it is for, and the document that says so.
	What, Source string
}

// Denied lists the ranges that are not of the public Internet, IPv4 first, each
// family sorted by address. Metadata services of clouds are in them, and where
// one is at a public address that address is listed by itself. Documentation
// ranges (RFC 5737, 3849, 9637) are not listed: nobody is there, and tests stand
// on them. An IPv4 address in IPv6 form (::ffff:a.b.c.d) is judged as IPv4. The
// result is the caller's.
func Denied() []Range {
	out := make([]Range, 0, len(denied4())+len(denied6())+len(translated()))
	for _, table := range [][][3]string{denied4(), denied6()} {
		for _, row := range table {
			out = append(out, Range{netip.MustParsePrefix(row[0]), row[1], row[2]})
		}
	}
	out = append(out, translated()...)
	slices.SortFunc(out, func(a, b Range) int { return comparePrefix(a.Prefix, b.Prefix) })
	return out
}

func denied4() [][3]string {
	return [][3]string{
		{"0.0.0.0/8", "this network", "RFC 791"},
		{"10.0.0.0/8", "private use", "RFC 1918"},
		{"100.64.0.0/10", "carrier-grade NAT; metadata of Alibaba Cloud", "RFC 6598"},
		{"127.0.0.0/8", "loopback", "RFC 1122"},
		{"168.63.129.16/32", "metadata and agents of Azure", "Microsoft: what is IP address 168.63.129.16"},
		{"169.254.0.0/16", "link-local; metadata of most clouds", "RFC 3927"},
		{"172.16.0.0/12", "private use", "RFC 1918"},
		{"192.0.0.0/24", "IETF protocol assignments; metadata of Oracle Cloud", "RFC 6890"},
		{"192.88.99.0/24", "6to4 relays, deprecated", "RFC 7526"},
		{"192.168.0.0/16", "private use", "RFC 1918"},
		{"198.18.0.0/15", "benchmarks", "RFC 2544"},
		{"224.0.0.0/4", "multicast", "RFC 5771"},
		{"240.0.0.0/4", "reserved, and the broadcast address", "RFC 1112, RFC 919"},
	}
}

func denied6() [][3]string {
	return [][3]string{
		{"::/96", "unspecified, loopback, IPv4-compatible", "RFC 4291"},
		{"::ffff:0:0:0/96", "IPv4-translated", "RFC 2765"},
		{"64:ff9b:1::/48", "local IPv4/IPv6 translation", "RFC 8215"},
		{"100::/64", "discard", "RFC 6666"},
		{"2001::/23", "IETF protocol assignments: Teredo, ORCHID, benchmarks", "RFC 2928, RFC 4380"},
		{"2002::/16", "6to4, which carries any IPv4 address", "RFC 3056, RFC 7526"},
		{"5f00::/16", "segment routing", "RFC 9602"},
		{"fc00::/7", "unique local; metadata of AWS and Google Cloud", "RFC 4193"},
		{"fe80::/10", "link-local", "RFC 4291"},
		{"fec0::/10", "site-local, deprecated", "RFC 3879"},
		{"ff00::/8", "multicast", "RFC 4291"},
	}
}

// translated are the denied IPv4 ranges as seen through a translator with the
// well-known prefix: 64:ff9b::a.b.c.d leads to a.b.c.d.
func translated() []Range {
	var out []Range
	for _, row := range denied4() {
		p := netip.MustParsePrefix(row[0])
		out = append(out, Range{Translated(p), row[1] + ", behind NAT64", "RFC 6052 with " + row[2]})
	}
	return out
}

// Translated is an IPv4 range under the well-known prefix of IPv4/IPv6
// translation, RFC 6052.
func Translated(p netip.Prefix) netip.Prefix {
	const ahead = 96
	a := p.Addr().As4()
	wide := [16]byte{0x00, 0x64, 0xff, 0x9b, 12: a[0], 13: a[1], 14: a[2], 15: a[3]}
	return netip.PrefixFrom(netip.AddrFrom16(wide), ahead+p.Bits())
}

// comparePrefix orders by family, address and then length, the widest first.
func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// Merge sorts ranges and joins them into the fewest that hold the same
// addresses: none overlaps another. IPv4 stands before IPv6. Ranges must be
// valid; the argument is not changed.
func Merge(ranges ...netip.Prefix) []netip.Prefix {
	if len(ranges) == 0 {
		return nil
	}
	sorted := make([]netip.Prefix, len(ranges))
	for i, p := range ranges {
		sorted[i] = plain(p)
	}
	slices.SortFunc(sorted, comparePrefix)
	out := sorted[:0]
	for _, p := range sorted {
		if n := len(out); n > 0 && out[n-1].Bits() <= p.Bits() && out[n-1].Contains(p.Addr()) {
			continue
		}
		out = append(out, p)
		for n := len(out); n > 1 && siblings(out[n-2], out[n-1]); n = len(out) {
			out = append(out[:n-2], parent(out[n-2]))
		}
	}
	return slices.Clip(out)
}

// plain is the range without host bits, and as IPv4 if it is IPv4 in IPv6.
func plain(p netip.Prefix) netip.Prefix {
	const mapped = 96
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return netip.PrefixFrom(p.Addr().WithZone(""), p.Bits()).Masked()
}

func parent(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked() }

func siblings(a, b netip.Prefix) bool {
	return a.Bits() == b.Bits() && a.Bits() > 0 && a.Addr().BitLen() == b.Addr().BitLen() && parent(a) == parent(b)
}

// find returns the range that holds an address. The ranges are as [Merge]
// returns them.
func find(ranges []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	low, high := 0, len(ranges)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if ranges[mid].Addr().Compare(a) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low > 0 && ranges[low-1].Contains(a) {
		return ranges[low-1], true
	}
	return netip.Prefix{}, false
}
