package iplease

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// Keys of provider attributes. A tenant requires them in the placement of its
// document, each with the value "true"; a provider publishes them as
// [AttributesOf] makes them out of its pools.
const (
	// AttributeIPLease says that the provider leases addresses. An order need not
	// require it: the addresses it asks for say enough.
	AttributeIPLease = "ip-lease"
	// AttributePrefix is followed by "family/" and a family ("ipv4", "ipv6",
	// "dual"), by "pool/" and a name, or by the key of an attribute of a pool, "/"
	// and its value: "capabilities/ip-lease/class/premium".
	AttributePrefix = "capabilities/ip-lease/"
)

const (
	familyKey = "family/"
	poolKey   = "pool/"
	yes       = "true"
)

// AttributesOf returns what a provider with a table of this configuration
// publishes, sorted; nil without pools. Attributes of pools that cannot be part of
// a key are left out.
func AttributesOf(cfg Config) market.Attributes {
	if len(cfg.Pools) == 0 {
		return nil
	}
	keys := map[string]bool{AttributeIPLease: true}
	var all Family
	dual := false
	for _, p := range cfg.Pools {
		if cfg.DualFromOnePool {
			all = 0
		}
		for _, r := range p.Ranges {
			all |= r.family()
			keys[AttributePrefix+familyKey+r.family().String()] = true
		}
		keys[AttributePrefix+poolKey+p.Name] = true
		for _, a := range p.Attributes {
			keys[AttributePrefix+a.Key+"/"+a.Value] = true
		}
		dual = dual || all == Dual
	}
	if dual {
		keys[AttributePrefix+familyKey+Dual.String()] = true
	}
	var out market.Attributes
	for k := range keys {
		if a := (market.Attributes{{Key: k, Value: yes}}); a.Validate(1) == nil {
			out = append(out, a...)
		}
	}
	return out.Sorted()
}

// SelectionOf reads what an order requires of its addresses out of the attributes
// of its placement. The error wraps [market.ErrInvalid].
func SelectionOf(required market.Attributes) (Selection, error) {
	var s Selection
	for _, a := range required {
		rest, ours := strings.CutPrefix(a.Key, AttributePrefix)
		if !ours || a.Value != yes {
			continue
		}
		if family, ok := strings.CutPrefix(rest, familyKey); ok {
			var f Family
			if err := f.UnmarshalText([]byte(family)); err != nil || f == 0 {
				return Selection{}, fmt.Errorf("iplease: attribute %.80s: %w: want ipv4, ipv6 or dual", a.Key, market.ErrInvalid)
			}
			s.Family |= f
			continue
		}
		if pool, ok := strings.CutPrefix(rest, poolKey); ok {
			if s.Pool != "" && s.Pool != pool {
				return Selection{}, fmt.Errorf("iplease: attribute %.80s: %w: two pools are asked for", a.Key, market.ErrInvalid)
			}
			s.Pool = pool
			continue
		}
		i := strings.LastIndexByte(rest, '/')
		if i <= 0 {
			return Selection{}, fmt.Errorf("iplease: attribute %.80s: %w: want a key and a value", a.Key, market.ErrInvalid)
		}
		s.Attributes = append(s.Attributes, market.Attribute{Key: rest[:i], Value: rest[i+1:]})
	}
	slices.SortFunc(s.Attributes, func(a, b market.Attribute) int { return strings.Compare(a.Key, b.Key) })
	return s, nil
}
