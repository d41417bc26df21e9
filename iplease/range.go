package iplease

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// Range is a run of addresses of one family, both ends included. Text form
// "203.0.113.10-203.0.113.20", or a prefix or an address where it is one.
type Range struct{ First, Last netip.Addr }

// PrefixRange returns all addresses of a prefix.
func PrefixRange(p netip.Prefix) Range {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	addr, _ := netip.AddrFromSlice(last)
	return Range{p.Addr(), addr}
}

// ParseRange reads a prefix, an address or two addresses joined by "-". The
// error wraps [market.ErrInvalid].
func ParseRange(s string) (Range, error) {
	fail := func(err error) (Range, error) {
		return Range{}, fmt.Errorf("iplease: range %.100q: %w: %w", s, market.ErrInvalid, err)
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return fail(err)
		}
		return PrefixRange(p), nil
	}
	first, last, two := strings.Cut(s, "-")
	a, err := netip.ParseAddr(strings.TrimSpace(first))
	if err != nil {
		return fail(err)
	}
	b := a
	if two {
		if b, err = netip.ParseAddr(strings.TrimSpace(last)); err != nil {
			return fail(err)
		}
	}
	return Range{a, b}, nil
}

// String returns the text form.
func (r Range) String() string {
	switch n, ok := r.prefixBits(); {
	case r.First == r.Last:
		return r.First.String()
	case ok:
		return netip.PrefixFrom(r.First, n).String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// prefixBits returns the length of the prefix that is exactly the range.
func (r Range) prefixBits() (int, bool) {
	for n := range r.First.BitLen() {
		if p, err := r.First.Prefix(n); err == nil && p.Addr() == r.First && PrefixRange(p) == r {
			return n, true
		}
	}
	return 0, false
}

// MarshalText implements encoding.TextMarshaler.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Range) UnmarshalText(b []byte) error {
	got, err := ParseRange(string(b))
	if err == nil {
		*r = got
	}
	return err
}

// Contains reports whether the address is in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// overlaps reports whether the ranges share an address.
func (r Range) overlaps(o Range) bool {
	return r.First.BitLen() == o.First.BitLen() && r.First.Compare(o.Last) <= 0 && o.First.Compare(r.Last) <= 0
}

// family is that of the range's addresses.
func (r Range) family() Family { return familyOf(r.First) }

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// fault says what is wrong with a range, "" when nothing is.
func (r Range) fault() string {
	switch {
	case !r.First.IsValid() || !r.Last.IsValid() || r.First.BitLen() != r.Last.BitLen():
		return "want two addresses of one family"
	case r.First.Zone() != "" || r.Last.Zone() != "" || r.First.Is4In6() || r.Last.Is4In6():
		return "want plain addresses, without a zone or an embedded IPv4 address"
	case r.Last.Less(r.First):
		return "the last address is before the first"
	case r.First.IsUnspecified() || r.First.IsMulticast() || r.Last.IsMulticast():
		return "unspecified and multicast addresses cannot be leased"
	}
	if hi, _ := distance(r.First, r.Last); hi != 0 {
		return "at most 2^64 addresses, an IPv6 /64"
	}
	return ""
}

// distance returns to - from as a 128-bit number.
func distance(from, to netip.Addr) (hi, lo uint64) {
	f, t := from.As16(), to.As16()
	lo, borrow := bits.Sub64(binary.BigEndian.Uint64(t[8:]), binary.BigEndian.Uint64(f[8:]), 0)
	hi, _ = bits.Sub64(binary.BigEndian.Uint64(t[:8]), binary.BigEndian.Uint64(f[:8]), borrow)
	return hi, lo
}

// advance returns the address n after a; the caller knows that it exists.
func advance(a netip.Addr, n uint64) netip.Addr {
	b := a.As16()
	lo, carry := bits.Add64(binary.BigEndian.Uint64(b[8:]), n, 0)
	binary.BigEndian.PutUint64(b[8:], lo)
	binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+carry)
	if a.Is4() {
		return netip.AddrFrom16(b).Unmap()
	}
	return netip.AddrFrom16(b)
}
