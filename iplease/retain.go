package iplease

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Retain has a claim parked rather than released when its holder lets it go,
// until a height; 0 is without end. A claim that cools is parked at once. price is
// what was accepted for it, and is kept. Retaining again sets height and price.
// The error wraps [market.ErrNotFound] when the tenant has no such claim.
func (t *Table) Retain(id ClaimID, until int64, price market.Price) error {
	c := t.claims[id]
	if c == nil {
		return fmt.Errorf("iplease: claim %s: %w", id, market.ErrNotFound)
	}
	if c.retained && c.retainedUntil == until && c.retainedPrice == price {
		return nil
	}
	c.retained, c.retainedUntil, c.retainedPrice = true, until, price
	t.watchRetained(c)
	if c.state == Cooling {
		t.schedule(c, time.Time{})
		t.park(c)
	}
	t.touch(c)
	return nil
}

// watchRetained has Expire look at a retained claim in time.
func (t *Table) watchRetained(c *claim) {
	t.retained[c] = struct{}{}
	if until := c.retainedUntil; until != 0 && (until < t.retainedFrom || len(t.retained) == 1) {
		t.retainedFrom = until
	}
}

// Unretain ends that: a parked claim cools, a bound one will when it is let go.
// For a claim that is not retained it does nothing. The error wraps
// [market.ErrNotFound].
func (t *Table) Unretain(id ClaimID, now time.Time) error {
	c := t.claims[id]
	if c == nil {
		return fmt.Errorf("iplease: claim %s: %w", id, market.ErrNotFound)
	}
	t.unretain(c, now)
	return nil
}

func (t *Table) unretain(c *claim, now time.Time) {
	if !c.retained {
		return
	}
	delete(t.retained, c)
	c.retained, c.retainedUntil, c.retainedPrice = false, 0, market.Price{}
	if c.state == Parked {
		t.unback(c)
		t.cool(c, now)
	}
	t.touch(c)
}

// expireRetained ends the retention that is over at a height.
func (t *Table) expireRetained(now time.Time, height int64) (out []Expired) {
	if len(t.retained) == 0 || height < t.retainedFrom {
		return nil
	}
	t.retainedFrom = math.MaxInt64
	for c := range t.retained {
		switch until := c.retainedUntil; {
		case until == 0:
		case height < until:
			t.retainedFrom = min(t.retainedFrom, until)
		default:
			before := c.picture()
			t.unretain(c, now)
			out = append(out, Expired{before, c.state})
		}
	}
	return out
}

// Retained returns the claims that are retained, parked or bound, of all tenants,
// sorted by ID.
func (t *Table) Retained() []Claim {
	var out []Claim
	for c := range t.retained {
		out = append(out, c.picture())
	}
	sortByID(out)
	return out
}

// kept returns the parked claim of a tenant that can back an order which asks for
// a selection: the one with the lowest address that backs no other; nil when there
// is none.
func (t *Table) kept(owner market.Address, s Selection) (out *claim) {
	for c := t.owners[owner]; c != nil; c = c.after {
		if c.state == Parked && !c.backs() && c.satisfies(s) && (out == nil || c.key().Less(out.key())) {
			out = c
		}
	}
	return out
}

// SetSources limits who may reach a port of a claim; nil lifts the limit, an empty
// list is an error: it could be taken for nobody and for everybody. It holds
// for the port whatever service has it, also if none has it yet, and as long as
// the tenant has the claim. The error wraps [market.ErrNotFound] or
// [market.ErrInvalid].
func (t *Table) SetSources(id ClaimID, p Protocol, external uint16, sources []netip.Prefix) error {
	c := t.claims[id]
	if c == nil {
		return fmt.Errorf("iplease: claim %s: %w", id, market.ErrNotFound)
	}
	rule := SourceRule{p, external, slices.Clone(sources)}
	if err := (Port{Protocol: p, External: external, Port: 1, Service: "any", Sources: sources}).validate(); err != nil {
		return fmt.Errorf("iplease: claim %s: %w", id, err)
	}
	rules := slices.DeleteFunc(slices.Clone(c.rules), func(r SourceRule) bool { return r.Protocol == p && r.External == external })
	if sources != nil {
		rules = append(rules, rule)
	}
	if len(rules) > MaxPorts {
		return fmt.Errorf("iplease: claim %s: %d rules, at most %d: %w", id, len(rules), MaxPorts, market.ErrInvalid)
	}
	slices.SortFunc(rules, SourceRule.compare)
	c.rules = rules
	t.touch(c)
	if ports, changed := withSources(c.ports, rule); changed {
		c.ports = ports
		t.revise(c)
	}
	if c.migration != nil {
		m := *c.migration
		m.Ports, _ = withSources(m.Ports, rule)
		c.migration = &m
	}
	return nil
}

// withSources returns the ports with a rule applied, and whether it changes them.
func withSources(ports []Port, r SourceRule) ([]Port, bool) {
	i, ok := slices.BinarySearchFunc(ports, Port{Protocol: r.Protocol, External: r.External}, Port.compare)
	if !ok || slices.Equal(ports[i].Sources, r.Sources) && (ports[i].Sources == nil) == (r.Sources == nil) {
		return ports, false
	}
	ports = slices.Clone(ports)
	ports[i].Sources = r.Sources
	return ports, true
}
