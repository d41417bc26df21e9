package iplease

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// Bounds of a configuration.
const (
	// MaxPools bounds the pools of a table.
	MaxPools = 1024
	// MaxRanges bounds the ranges, and the reserved ranges, of a pool.
	MaxRanges = 4096
	// MaxPoolAttributes bounds the attributes of a pool.
	MaxPoolAttributes = 64
)

// Pool is a named set of addresses.
type Pool struct {
	// Name is 1 to market.MaxNameLength of a-z, 0-9, "-" and "_".
	Name string `json:"name"`
	// Ranges are of either family. Ranges of all pools share no address.
	Ranges []Range `json:"ranges"`
	// Reserved are addresses of Ranges that are never leased: routers, hosts.
	Reserved []Range `json:"reserved,omitempty"`
	// AvoidEdges leaves out addresses that much equipment mistakes for something
	// else: IPv4 ending in .0 and .255, and the lowest address of an IPv6 /64, the
	// anycast address of its routers (RFC 4291, 2.6.1).
	AvoidEdges bool `json:"avoid_edges,omitempty"`
	// OnlyByName keeps the pool for orders that ask for it by name.
	OnlyByName bool `json:"only_by_name,omitempty"`
	// Attributes say what the addresses are like, for example region and class.
	Attributes market.Attributes `json:"attributes,omitempty"`
}

// Selection says which addresses an order asks for. The zero value is one
// address of any pool that is not [Pool.OnlyByName]: IPv4 where such a pool has
// any IPv4 range, else IPv6.
type Selection struct {
	Family Family `json:"family,omitempty"`
	// Pool is a name, "" for any.
	Pool string `json:"pool,omitempty"`
	// Attributes are all to be found in the pool.
	Attributes market.Attributes `json:"attributes,omitempty"`
}

// String says it for a person.
func (s Selection) String() string {
	var b strings.Builder
	b.WriteString(s.Family.String())
	if s.Pool != "" {
		b.WriteString(" from pool " + s.Pool)
	}
	for _, a := range s.Attributes {
		b.WriteString(" " + a.Key + "=" + a.Value)
	}
	return b.String()
}

// admits reports whether the selection takes addresses of the pool.
func (s Selection) admits(p *Pool) bool {
	if s.Pool != p.Name && (s.Pool != "" || p.OnlyByName) {
		return false
	}
	for _, a := range s.Attributes {
		if v, ok := p.Attributes.Get(a.Key); !ok || v != a.Value {
			return false
		}
	}
	return true
}

// validate checks a pool by itself. The error is a *RangeError.
func (p Pool) validate() error {
	fault := func(r Range, format string, args ...any) error {
		return &RangeError{p.Name, r, fmt.Sprintf(format, args...)}
	}
	if p.Name == "" || len(p.Name) > market.MaxNameLength || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return fault(Range{}, "a pool's name is 1 to %d of a-z, 0-9, - and _", market.MaxNameLength)
	}
	if n := len(p.Ranges); n == 0 || n > MaxRanges || len(p.Reserved) > MaxRanges {
		return fault(Range{}, "want 1 to %d ranges and at most %d reserved ones", MaxRanges, MaxRanges)
	}
	if err := p.Attributes.Validate(MaxPoolAttributes); err != nil {
		return fault(Range{}, "%v", err)
	}
	for _, r := range slices.Concat(p.Ranges, p.Reserved) {
		if why := r.fault(); why != "" {
			return fault(r, "%s", why)
		}
	}
	return nil
}

// space is what a pool has of one family: its ranges laid end to end and
// numbered from 0.
type space struct {
	pool   *Pool
	family Family
	spans  []span
	free   *freeSet
	// size counts the addresses that can be leased; used counts claims on them by
	// state.
	size uint64
	used [Cooling + 1]uint64
}

// span is a range whose first address has the number base; last is the number of
// its last address.
type span struct {
	Range
	base, last uint64
}

// newSpace numbers the ranges of a family and takes out what is not leased; nil
// when there are none.
func newSpace(p *Pool, f Family) (*space, error) {
	s := &space{pool: p, family: f}
	next, overflow := uint64(0), false
	for _, r := range slices.SortedFunc(slices.Values(p.Ranges), func(a, b Range) int { return a.First.Compare(b.First) }) {
		if r.family() != f {
			continue
		}
		_, n := distance(r.First, r.Last)
		if overflow || next+n < next {
			return nil, &RangeError{p.Name, r, "the ranges of a family have more than 2^64 addresses together"}
		}
		s.spans = append(s.spans, span{r, next, next + n})
		overflow = next+n == math.MaxUint64
		next += n + 1
	}
	if len(s.spans) == 0 {
		return nil, nil
	}
	last := s.spans[len(s.spans)-1].last
	s.free = newFreeSet(last)
	out := uint64(0)
	for _, r := range p.Reserved {
		out += s.exclude(r)
	}
	if p.AvoidEdges {
		out += s.excludeEdges()
	}
	s.size = last + 1 - out
	if _, some := s.free.lowest(); some && s.size == 0 {
		s.size = math.MaxUint64 // 2^64, as near as it can be counted
	}
	return s, nil
}

// exclude takes the addresses of a range out for good and returns how many were
// still in.
func (s *space) exclude(r Range) (n uint64) {
	for _, sp := range s.spans {
		if !sp.overlaps(r) {
			continue
		}
		first, last := sp.base, sp.last
		if sp.First.Less(r.First) {
			_, d := distance(sp.First, r.First)
			first += d
		}
		if r.Last.Less(sp.Last) {
			_, d := distance(r.Last, sp.Last)
			last -= d
		}
		n += s.free.takeRun(first, last)
	}
	return n
}

// excludeEdges takes out what [Pool.AvoidEdges] leaves out.
func (s *space) excludeEdges() (n uint64) {
	for _, sp := range s.spans {
		if s.family == IPv6 {
			for a := PrefixRange(netip.PrefixFrom(sp.First, 64)).First; a.IsValid() && !sp.Last.Less(a); a = PrefixRange(netip.PrefixFrom(a, 64)).Last.Next() {
				n += s.exclude(Range{a, a})
			}
			continue
		}
		for a := PrefixRange(netip.PrefixFrom(sp.First, 24)).First; a.IsValid() && !sp.Last.Less(a); {
			end := PrefixRange(netip.PrefixFrom(a, 24)).Last
			n += s.exclude(Range{a, a}) + s.exclude(Range{end, end})
			a = end.Next()
		}
	}
	return n
}

// number returns the number of an address, if it is in a range.
func (s *space) number(a netip.Addr) (uint64, bool) {
	i, found := slices.BinarySearchFunc(s.spans, a, func(sp span, a netip.Addr) int { return sp.First.Compare(a) })
	if !found {
		i--
	}
	if i < 0 || !s.spans[i].Contains(a) {
		return 0, false
	}
	_, d := distance(s.spans[i].First, a)
	return s.spans[i].base + d, true
}

// address returns the address of a number.
func (s *space) address(n uint64) netip.Addr {
	i, found := slices.BinarySearchFunc(s.spans, n, func(sp span, n uint64) int {
		switch {
		case sp.base < n:
			return -1
		case sp.base > n:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return advance(s.spans[i].First, n-s.spans[i].base)
}

// available is how many addresses are free.
func (s *space) available() uint64 {
	left := s.size
	for _, n := range s.used {
		left -= n
	}
	return left
}

// buildSpaces validates pools and numbers their addresses, in the order of the
// pools, IPv4 first.
func buildSpaces(pools []Pool) ([]*space, error) {
	if len(pools) > MaxPools {
		return nil, fmt.Errorf("iplease: %d pools, at most %d: %w", len(pools), MaxPools, market.ErrInvalid)
	}
	var out []*space
	names := map[string]bool{}
	for i := range pools {
		p := pools[i].clone()
		if err := p.validate(); err != nil {
			return nil, err
		}
		if names[p.Name] {
			return nil, &RangeError{p.Name, Range{}, "two pools have this name"}
		}
		names[p.Name] = true
		for _, f := range []Family{IPv4, IPv6} {
			s, err := newSpace(p, f)
			if err != nil {
				return nil, err
			}
			if s != nil {
				out = append(out, s)
			}
		}
	}
	return out, disjoint(out)
}

// clone copies a pool, with sorted attributes.
func (p Pool) clone() *Pool {
	p.Ranges, p.Reserved, p.Attributes = slices.Clone(p.Ranges), slices.Clone(p.Reserved), p.Attributes.Sorted()
	return &p
}

// disjoint checks that no address is in two ranges.
func disjoint(spaces []*space) error {
	type owned struct {
		Range
		pool string
	}
	var all []owned
	for _, s := range spaces {
		for _, sp := range s.spans {
			all = append(all, owned{sp.Range, s.pool.Name})
		}
	}
	slices.SortFunc(all, func(a, b owned) int { return a.First.Compare(b.First) })
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.overlaps(b.Range) {
			return &RangeError{b.pool, b.Range, fmt.Sprintf("shares addresses with %s of pool %s", a.Range, a.pool)}
		}
	}
	return nil
}
