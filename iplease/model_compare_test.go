package iplease_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/moorage-dev/moorage/iplease"
)

// records returns the claims, sorted, with empty lists as nil.
func (m *model) records() []iplease.Record {
	out := slices.Clone(m.claims)
	for i := range out {
		out[i] = tidy(out[i])
	}
	slices.SortFunc(out, func(a, b iplease.Record) int { return a.Key().Compare(b.Key()) })
	return out
}

func tidy(r iplease.Record) iplease.Record {
	if len(r.Ports) == 0 {
		r.Ports = nil
	}
	if len(r.Rules) == 0 {
		r.Rules = nil
	}
	if len(r.Former) == 0 {
		r.Former = nil
	}
	return r
}

// capacity counts what the table should count.
func (m *model) capacity() []iplease.Capacity {
	var out []iplease.Capacity
	for _, p := range m.pools {
		for _, f := range []iplease.Family{iplease.IPv4, iplease.IPv6} {
			if !slices.ContainsFunc(p.Ranges, func(r iplease.Range) bool { return r.First.Is4() == (f == iplease.IPv4) }) {
				continue
			}
			n := iplease.Capacity{Pool: p.Name, Family: f}
			for _, a := range every(p, f) {
				n.Size++
				switch m.at(a) {
				case iplease.Free:
					n.Free++
				case iplease.Reserved:
					n.Reserved++
				case iplease.Bound:
					n.Bound++
				case iplease.Parked:
					n.Parked++
				case iplease.Cooling:
					n.Cooling++
				}
			}
			out = append(out, n)
		}
	}
	return out
}

func (m *model) at(a netip.Addr) iplease.State {
	for _, c := range m.claims {
		if slices.Contains(c.Addresses, a) {
			return c.State
		}
	}
	return iplease.Free
}

// compare says how the table differs from the model.
func (m *model) compare(t table) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	got, want := t.Records(), m.records()
	for i := range got {
		got[i] = tidy(got[i])
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Errorf("record %d of %d, %d: got %+v, want %+v", i, len(got), len(want), got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
	if got, want := t.Capacity(), m.capacity(); !slices.Equal(got, want) {
		return fmt.Errorf("capacity: got %+v, want %+v", got, want)
	}
	for _, c := range m.claims {
		for _, p := range c.Ports {
			for _, a := range c.Addresses {
				if h, ok := t.Holder(a, p.Protocol, p.External); !ok || h.Lease != p.Lease || h.Service != p.Service {
					return fmt.Errorf("holder of %s %d/%s: got %v, %v", a, p.External, p.Protocol, h, ok)
				}
			}
		}
	}
	return nil
}
