package iplease

import (
	"fmt"
	"net/netip"

	"github.com/moorage-dev/moorage/market"
)

// Check verifies the table against itself, for tests and simulations: no address
// and no port is held twice, what is counted is what is used, and every list has
// exactly what it should. It looks at all claims.
func (t *Table) Check() error {
	used := map[*space]*[Cooling + 1]uint64{}
	for _, s := range t.spaces {
		used[s] = &[Cooling + 1]uint64{}
	}
	seen := map[*claim]bool{}
	for a, c := range t.addrs {
		if !seen[c] {
			seen[c] = true
			if err := t.checkClaim(c, used); err != nil {
				return fmt.Errorf("claim %s at %s: %w", c.id, c.key(), err)
			}
		}
		if !holds(c, a) {
			return fmt.Errorf("claim %s does not have %s", c.id, a)
		}
	}
	for s, n := range used {
		if *n != s.used {
			return fmt.Errorf("pool %s %s: counted %v, used %v", s.pool.Name, s.family, s.used, *n)
		}
	}
	return t.checkLists(seen)
}

func holds(c *claim, a netip.Addr) bool {
	for _, h := range c.held() {
		if h.addr == a {
			return true
		}
	}
	return false
}

// checkClaim verifies a claim and counts its addresses.
func (t *Table) checkClaim(c *claim, used map[*space]*[Cooling + 1]uint64) error {
	if err := c.record().validate(); err != nil {
		return err
	}
	for _, h := range c.held() {
		if t.addrs[h.addr] != c {
			return fmt.Errorf("%s is another's", h.addr)
		}
		if h.space == nil {
			continue
		}
		if h.space.free.has(h.number) || h.space.address(h.number) != h.addr {
			return fmt.Errorf("%s is free, or not number %d", h.addr, h.number)
		}
		used[h.space][c.state]++
	}
	for i := 1; i < len(c.ports); i++ {
		if c.ports[i-1].compare(c.ports[i]) >= 0 {
			return fmt.Errorf("port %d/%s twice, or not sorted", c.ports[i].External, c.ports[i].Protocol)
		}
	}
	for _, p := range c.ports {
		if p.Lease.DeploymentID != c.holder {
			return fmt.Errorf("port %d is of lease %s, the holder is %s", p.External, p.Lease, c.holder)
		}
	}
	_, retained := t.retained[c]
	_, moves := t.moves[c]
	switch {
	case c.id.Name != "" && t.claims[c.id] != c:
		return fmt.Errorf("its name leads elsewhere")
	case retained != c.retained, moves != (c.migration != nil):
		return fmt.Errorf("not in the list of what is retained or moved, or there without reason")
	case (c.due > 0) == c.until.IsZero(), c.due > 0 && t.due[c.due-1] != c:
		return fmt.Errorf("due at %s, place %d", c.until, c.due)
	}
	return nil
}

// checkLists verifies that the lists have claims that exist and no others.
func (t *Table) checkLists(seen map[*claim]bool) error {
	listed := map[*claim]int{}
	walk := func(first *claim, fits func(*claim) bool) error {
		for c := first; c != nil; c = c.next {
			if listed[c]++; listed[c] > 1 || !seen[c] || !fits(c) {
				return fmt.Errorf("claim %s at %s is in a wrong list", c.id, c.key())
			}
		}
		return nil
	}
	for id, c := range t.orders {
		if err := walk(c, func(c *claim) bool { return (c.state == Reserved || c.backs()) && c.order == id }); err != nil {
			return err
		}
	}
	for id, c := range t.holders {
		if err := walk(c, func(c *claim) bool { return c.state == Bound && c.holder == id }); err != nil {
			return err
		}
	}
	named, owned := 0, 0
	for owner, first := range t.owners {
		for c := first; c != nil; c = c.after {
			if owned++; !seen[c] || c.id.Owner != owner {
				return fmt.Errorf("claim %s at %s is in the list of tenant %s", c.id, c.key(), owner)
			}
		}
	}
	if owned != len(seen) {
		return fmt.Errorf("%d claims, %d in the lists of tenants", len(seen), owned)
	}
	for c := range seen {
		if (c.state == Reserved || c.state == Bound || c.backs()) != (listed[c] == 1) {
			return fmt.Errorf("claim %s at %s, %s, is in %d lists", c.id, c.key(), c.state, listed[c])
		}
		if c.holder != (market.DeploymentID{}) && c.state != Bound {
			return fmt.Errorf("claim %s is %s and held", c.id, c.state)
		}
		if c.id.Name != "" {
			named++
		}
	}
	if named != len(t.claims) {
		return fmt.Errorf("%d claims have a name, %d names lead to claims", named, len(t.claims))
	}
	return nil
}
