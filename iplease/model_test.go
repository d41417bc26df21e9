package iplease_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/market"
)

// model is the table as one would write it without a thought for cost: a list of
// claims that is searched from end to end.
type model struct {
	pools    []iplease.Pool
	claims   []iplease.Record
	revision uint64
}

const cooling = time.Minute

// every lists the addresses of a pool that can be leased, lowest first.
func every(p iplease.Pool, f iplease.Family) (out []netip.Addr) {
	for _, r := range slices.SortedFunc(slices.Values(p.Ranges), func(a, b iplease.Range) int { return a.First.Compare(b.First) }) {
		for a := r.First; r.Contains(a); a = a.Next() {
			kept := slices.ContainsFunc(p.Reserved, func(r iplease.Range) bool { return r.Contains(a) })
			if !kept && a.Is4() == (f == iplease.IPv4) {
				out = append(out, a)
			}
		}
	}
	return out
}

func admits(s iplease.Selection, p iplease.Pool) bool {
	if s.Pool != "" && s.Pool != p.Name || s.Pool == "" && p.OnlyByName {
		return false
	}
	for _, a := range s.Attributes {
		if v, ok := p.Attributes.Get(a.Key); !ok || v != a.Value {
			return false
		}
	}
	return true
}

func (m *model) poolOf(a netip.Addr) (iplease.Pool, bool) {
	for _, p := range m.pools {
		for _, f := range []iplease.Family{iplease.IPv4, iplease.IPv6} {
			if slices.Contains(every(p, f), a) {
				return p, true
			}
		}
	}
	return iplease.Pool{}, false
}

func (m *model) taken(a netip.Addr) bool {
	return slices.ContainsFunc(m.claims, func(c iplease.Record) bool { return slices.Contains(c.Addresses, a) })
}

// addresses finds what a new claim would get, nil when there is not enough.
func (m *model) addresses(s iplease.Selection) (out []netip.Addr) {
	family := s.Family
	if family == 0 {
		family = iplease.IPv6
		for _, p := range m.pools {
			if admits(s, p) && slices.ContainsFunc(p.Ranges, func(r iplease.Range) bool { return r.First.Is4() }) {
				family = iplease.IPv4
			}
		}
	}
	for _, f := range []iplease.Family{iplease.IPv4, iplease.IPv6} {
		if family&f == 0 {
			continue
		}
		found := false
		for _, p := range m.pools {
			if !admits(s, p) || found {
				continue
			}
			for _, a := range every(p, f) {
				if !m.taken(a) && !found {
					out, found = append(out, a), true
				}
			}
		}
		if !found {
			return nil
		}
	}
	return out
}

func (m *model) named(id iplease.ClaimID) *iplease.Record {
	for i, c := range m.claims {
		if c.Name == id.Name && c.Owner == id.Owner && c.Name != "" {
			return &m.claims[i]
		}
	}
	return nil
}

func (m *model) reserved(o market.OrderID, n uint32) *iplease.Record {
	for i, c := range m.claims {
		if c.Order == o && c.Number == n {
			return &m.claims[i]
		}
	}
	return nil
}

func (m *model) drop(match func(iplease.Record) bool) bool {
	before := len(m.claims)
	m.claims = slices.DeleteFunc(m.claims, match)
	return len(m.claims) < before
}

func (m *model) reserve(r iplease.Request) bool {
	before := slices.Clone(m.claims)
	for _, n := range r.Numbers {
		if m.reserved(r.Order, n) != nil {
			continue
		}
		at := m.addresses(r.Selection)
		if at == nil {
			c := m.kept(r)
			if c == nil {
				m.claims = before
				return false
			}
			c.Order, c.Number = r.Order, n
			continue
		}
		m.claims = append(m.claims, iplease.Record{Addresses: at, State: iplease.Reserved, Owner: r.Order.Owner, Order: r.Order, Number: n})
	}
	for i := range m.claims {
		if m.claims[i].Order == r.Order {
			m.claims[i].Until = r.Until
		}
	}
	return true
}

// kept finds the parked claim that backs an order.
func (m *model) kept(r iplease.Request) (out *iplease.Record) {
	for i := range m.claims {
		c := &m.claims[i]
		if c.State == iplease.Parked && c.Order == (market.OrderID{}) && c.Owner == r.Order.Owner && m.satisfies(c, r.Selection) &&
			(out == nil || c.Key().Less(out.Key())) {
			out = c
		}
	}
	return out
}

// unreserve frees what an order, or one number of it, has reserved.
func (m *model) unreserve(o market.OrderID, numbers ...uint32) bool {
	some := false
	for i := len(m.claims) - 1; i >= 0; i-- {
		c := &m.claims[i]
		if c.Order != o || len(numbers) > 0 && !slices.Contains(numbers, c.Number) {
			continue
		}
		some = true
		if c.State == iplease.Reserved {
			m.claims = slices.Delete(m.claims, i, i+1)
			continue
		}
		unback(c)
	}
	return some
}

func unback(c *iplease.Record) {
	if c.Order != (market.OrderID{}) {
		c.Order, c.Number, c.Until = market.OrderID{}, 0, time.Time{}
	}
}

// satisfies reports whether a claim is what is asked for.
func (m *model) satisfies(c *iplease.Record, s iplease.Selection) bool {
	for _, f := range []iplease.Family{iplease.IPv4, iplease.IPv6} {
		has := slices.ContainsFunc(c.Addresses, func(a netip.Addr) bool { return a.Is4() == (f == iplease.IPv4) })
		if s.Family&f != 0 && !has {
			return false
		}
	}
	for _, a := range c.Addresses {
		p, ok := m.poolOf(a)
		if s.Pool == "" {
			p.OnlyByName = false // the tenant has the address: which pool it is from was settled then
		}
		if !ok && (s.Pool != "" || len(s.Attributes) > 0) || ok && !admits(s, p) {
			return false
		}
	}
	return true
}

func withRules(ports []iplease.Port, rules []iplease.SourceRule) []iplease.Port {
	ports = slices.Clone(ports)
	for i, p := range ports {
		for _, r := range rules {
			if r.Protocol == p.Protocol && r.External == p.External {
				ports[i].Sources = r.Sources
			}
		}
	}
	slices.SortFunc(ports, func(a, b iplease.Port) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.External, b.External))
	})
	return ports
}

func hasPort(c *iplease.Record, l market.LeaseID) bool {
	return slices.ContainsFunc(c.Ports, func(p iplease.Port) bool { return p.Lease == l })
}

// counts reports whether a claim is the one for a number of a lease.
func counts(c *iplease.Record, l market.LeaseID, number uint32) bool {
	return slices.ContainsFunc(c.Ports, func(p iplease.Port) bool { return p.Lease == l && p.Number == number })
}

// payable reports whether the leases of a move's ports have no other claim for
// their numbers.
func (m *model) payable(name string, ports []iplease.Port) bool {
	for _, p := range ports {
		for i := range m.claims {
			if o := &m.claims[i]; o.Name != name && counts(o, p.Lease, p.Number) {
				return false
			}
		}
	}
	return true
}

// usable is the claim of a name, but not one that cools and is not as asked for.
func (m *model) usable(id iplease.ClaimID, s iplease.Selection) *iplease.Record {
	c := m.named(id)
	if c != nil && c.State == iplease.Cooling && !m.satisfies(c, s) {
		return nil
	}
	return c
}

// wanted returns the ports that a claim gets, and a verdict: "", "conflict" when
// another lease has one, "twice" when the lease itself does.
func (m *model) wanted(c *iplease.Record, l market.LeaseID, w iplease.Want) (ports []iplease.Port, verdict string) {
	var rules []iplease.SourceRule
	if c != nil {
		rules = c.Rules
		ports = slices.Clone(notOf(c.Ports, l))
	}
	for _, p := range w.Ports {
		p.Number = w.Number
		i := slices.IndexFunc(ports, func(q iplease.Port) bool { return q.Protocol == p.Protocol && q.External == p.External })
		switch {
		case i < 0:
			ports = append(ports, p)
		case ports[i].Lease == l:
			return nil, "twice"
		default:
			verdict = "conflict"
		}
	}
	return withRules(ports, rules), verdict
}

// bind returns what became of a want: "", "withheld", "mismatch", "invalid",
// "conflict" or "exhausted".
func (m *model) bind(l market.LeaseID, w iplease.Want) string {
	id := iplease.ClaimID{Owner: l.Owner, Name: w.Name}
	c := m.usable(id, w.Selection)
	if c != nil && c.State == iplease.Bound && c.Holder != l.DeploymentID {
		return "withheld"
	}
	if c == nil || !hasPort(c, l) {
		if c != nil && !m.satisfies(c, w.Selection) {
			return "mismatch"
		}
		for i := range m.claims {
			if o := &m.claims[i]; o.Name != w.Name && counts(o, l, w.Number) {
				return "invalid"
			}
		}
	}
	ports, verdict := m.wanted(c, l, w)
	if verdict == "twice" {
		return "conflict"
	}
	if !m.take(c, id, l, w) {
		return "exhausted"
	}
	c = m.named(id)
	ports = withRules(ports, c.Rules)
	if c.State != iplease.Bound || !reflect.DeepEqual(c.Ports, ports) {
		m.revision++
		c.Revision = m.revision
	}
	if c.State != iplease.Bound {
		c.From = market.DeploymentID{}
	}
	c.State, c.Holder, c.Number, c.Ports, c.Until = iplease.Bound, l.DeploymentID, 0, ports, time.Time{}
	return verdict
}

// take has a claim of the name there, in any state; c is the one that can be used.
func (m *model) take(c *iplease.Record, id iplease.ClaimID, l market.LeaseID, w iplease.Want) bool {
	r := m.reserved(l.OrderID, w.Number)
	switch {
	case c != nil && c.State == iplease.Parked && c.Order != market.OrderID{}:
		backed, number, until := c.Order, c.Number, c.Until
		unback(c)
		if r != nil && r != c && (backed == l.OrderID || m.alike(r, c)) {
			r.Order, r.Number, r.Until = backed, number, until
			return true
		}
		m.unreserve(l.OrderID, w.Number)
		return true
	case c != nil:
		m.unreserve(l.OrderID, w.Number)
		return true
	case r != nil && r.State == iplease.Reserved:
		at := r.Addresses
		m.unreserve(l.OrderID, w.Number)
		m.rename(id)
		m.claims = append(m.claims, iplease.Record{Addresses: at, Owner: id.Owner, Name: id.Name})
		return true
	}
	if own := m.rested(l, w); own != nil {
		m.unreserve(l.OrderID, w.Number) // parked: nothing is taken out of the list
		m.rename(id)
		m.rename(iplease.ClaimID{Owner: own.Owner, Name: own.Name})
		own.Name = id.Name
		own.Former = slices.DeleteFunc(slices.Clone(own.Former), func(n string) bool { return n == id.Name })
		return true
	}
	at := m.addresses(w.Selection)
	if at == nil {
		return false
	}
	m.unreserve(l.OrderID, w.Number)
	m.rename(id)
	m.claims = append(m.claims, iplease.Record{Addresses: at, Owner: id.Owner, Name: id.Name})
	return true
}

// rested is what the deployment has let go and may have again.
func (m *model) rested(l market.LeaseID, w iplease.Want) (out *iplease.Record) {
	better := func(a, b *iplease.Record) bool {
		if (a.Number == w.Number) != (b.Number == w.Number) {
			return a.Number == w.Number
		}
		return a.Key().Less(b.Key())
	}
	for i := range m.claims {
		c := &m.claims[i]
		if c.State == iplease.Cooling && c.Owner == l.Owner && c.From == l.DeploymentID && m.satisfies(c, w.Selection) && (out == nil || better(c, out)) {
			out = c
		}
	}
	return out
}

// alike reports whether two claims are of the same families and pools.
func (m *model) alike(a, b *iplease.Record) bool {
	kind := func(r *iplease.Record) (out []string) {
		for _, at := range r.Addresses {
			p, _ := m.poolOf(at)
			out = append(out, fmt.Sprint(at.Is4(), p.Name))
		}
		return out
	}
	return slices.Equal(kind(a), kind(b))
}

// byName returns the claims in the order in which a lease lets them go.
func (m *model) byName() []iplease.Record {
	return slices.SortedFunc(slices.Values(m.claims), func(a, b iplease.Record) int { return cmp.Compare(a.Name, b.Name) })
}

// rename takes the name off a claim that cools; it may be announced under it.
func (m *model) rename(id iplease.ClaimID) {
	if c := m.named(id); c != nil {
		if !slices.Contains(c.Former, c.Name) {
			c.Former = append(slices.Clone(c.Former), c.Name)
		}
		c.Name = ""
	}
}

func notOf(ports []iplease.Port, l market.LeaseID) []iplease.Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p iplease.Port) bool { return p.Lease == l })
}

func (m *model) release(l market.LeaseID, name string, now time.Time) {
	c := m.named(iplease.ClaimID{Owner: l.Owner, Name: name})
	if c == nil || c.State != iplease.Bound || c.Holder != l.DeploymentID {
		return
	}
	left := notOf(c.Ports, l)
	if len(left) == len(c.Ports) {
		return
	}
	m.revision++
	c.Revision = m.revision
	switch mig := c.Migration; {
	case len(left) > 0:
		c.Ports = left
	case mig != nil && mig.Phase == iplease.Switched:
		c.Holder, c.Ports, c.Migration = mig.From, mig.Ports, nil
	default:
		c.Number = c.Ports[0].Number
		c.From, c.Holder, c.Ports, c.Migration = c.Holder, market.DeploymentID{}, nil, nil
		if c.State = iplease.Parked; !c.Retained {
			c.State, c.Until = iplease.Cooling, now.Add(cooling)
		} else {
			c.Number = 0
		}
	}
}

func (m *model) update(l market.LeaseID, wants []iplease.Want, now time.Time) (out []string) {
	for _, c := range m.byName() {
		if c.Holder == l.DeploymentID && c.State == iplease.Bound && !slices.ContainsFunc(wants, func(w iplease.Want) bool { return w.Name == c.Name }) {
			m.release(l, c.Name, now)
		}
	}
	m.abandon(l, wants)
	out = make([]string, len(wants))
	done := make([]bool, len(wants))
	for i, w := range wants {
		if slices.ContainsFunc(wants[:i], func(b iplease.Want) bool { return b.Name == w.Name || b.Number == w.Number }) {
			out[i], done[i] = "invalid", true
			continue
		}
		if c := m.named(iplease.ClaimID{Owner: l.Owner, Name: w.Name}); c != nil && hasPort(c, l) && !counts(c, l, w.Number) {
			c.Ports = slices.Clone(c.Ports)
			for j := range c.Ports {
				if c.Ports[j].Lease == l {
					c.Ports[j].Number = w.Number
				}
			}
			m.revision++
			c.Revision = m.revision
		}
	}
	for pass := range 2 {
		for i, w := range wants {
			if !done[i] && (pass == 1 || m.usable(iplease.ClaimID{Owner: l.Owner, Name: w.Name}, w.Selection) != nil) {
				out[i], done[i] = m.bind(l, w), true
			}
		}
	}
	m.unreserve(l.OrderID)
	return out
}

func (m *model) close(l market.LeaseID, now time.Time) {
	for _, c := range m.byName() {
		if c.Holder == l.DeploymentID && c.State == iplease.Bound {
			m.release(l, c.Name, now)
		}
	}
	m.abandon(l, nil)
	m.unreserve(l.OrderID)
}

// abandon ends the part of a lease in moves of what it does not want.
func (m *model) abandon(l market.LeaseID, wants []iplease.Want) {
	for i := range m.claims {
		c := &m.claims[i]
		if slices.ContainsFunc(wants, func(w iplease.Want) bool { return w.Name == c.Name }) {
			continue
		}
		if c.Migration == nil || len(notOf(c.Migration.Ports, l)) == len(c.Migration.Ports) {
			continue
		}
		mig := *c.Migration
		if mig.Ports = notOf(mig.Ports, l); len(mig.Ports) > 0 {
			c.Migration = &mig
			continue
		}
		if mig.Phase == iplease.Switched {
			c.From = mig.From
		}
		c.Migration = nil
	}
}

func (m *model) expire(now time.Time, height int64) {
	over := func(c iplease.Record) bool { return !c.Until.IsZero() && !now.Before(c.Until) }
	m.drop(func(c iplease.Record) bool { return c.State != iplease.Parked && over(c) })
	for i := range m.claims {
		c := &m.claims[i]
		if over(*c) {
			unback(c)
		}
		if c.Retained && c.RetainedUntil != 0 && height >= c.RetainedUntil {
			m.unretain(c, now)
		}
	}
}

func (m *model) retain(id iplease.ClaimID, until int64, price market.Price) bool {
	c := m.named(id)
	if c == nil {
		return false
	}
	c.Retained, c.RetainedUntil, c.RetainedPrice = true, until, price
	if c.State == iplease.Cooling {
		c.State, c.Until, c.Number = iplease.Parked, time.Time{}, 0
	}
	return true
}

func (m *model) unretain(c *iplease.Record, now time.Time) {
	c.Retained, c.RetainedUntil, c.RetainedPrice = false, 0, market.Price{}
	if c.State == iplease.Parked {
		unback(c)
		c.State, c.Until = iplease.Cooling, now.Add(cooling)
	}
}

func (m *model) setSources(id iplease.ClaimID, p iplease.Protocol, external uint16, sources []netip.Prefix) bool {
	c := m.named(id)
	if c == nil {
		return false
	}
	c.Rules = slices.DeleteFunc(slices.Clone(c.Rules), func(r iplease.SourceRule) bool { return r.Protocol == p && r.External == external })
	if sources != nil {
		c.Rules = append(c.Rules, iplease.SourceRule{Protocol: p, External: external, Sources: sources})
		slices.SortFunc(c.Rules, func(a, b iplease.SourceRule) int {
			return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.External, b.External))
		})
	}
	set := func(ports []iplease.Port) (out []iplease.Port, changed bool) {
		out = slices.Clone(ports)
		for i, q := range out {
			if q.Protocol == p && q.External == external && !slices.Equal(q.Sources, sources) {
				out[i].Sources, changed = sources, true
			}
		}
		return out, changed
	}
	ports, changed := set(c.Ports)
	if c.Ports = ports; changed {
		m.revision++
		c.Revision = m.revision
	}
	if c.Migration != nil {
		mig := *c.Migration
		mig.Ports, _ = set(mig.Ports)
		c.Migration = &mig
	}
	return true
}

// clone copies the model; lists inside records are never changed in place.
func (m *model) clone() *model {
	return &model{m.pools, slices.Clone(m.claims), m.revision}
}
