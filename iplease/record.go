package iplease

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// Record is what must be kept of a claim. Records are of one table: no two have
// the same key.
type Record struct {
	// Addresses are one or two, IPv4 first. The first is the key.
	Addresses []netip.Addr `json:"addresses"`
	// State Free says that the claim is gone and its record to be deleted.
	State         State               `json:"state"`
	Owner         market.Address      `json:"owner,omitempty"`
	Name          string              `json:"name,omitempty"`
	Former        []string            `json:"former,omitempty"`
	Order         market.OrderID      `json:"order,omitzero"`
	Number        uint32              `json:"number,omitempty"`
	Holder        market.DeploymentID `json:"holder,omitzero"`
	From          market.DeploymentID `json:"from,omitzero"`
	Ports         []Port              `json:"ports,omitempty"`
	Rules         []SourceRule        `json:"rules,omitempty"`
	Revision      uint64              `json:"revision,omitempty"`
	Until         time.Time           `json:"until,omitzero"`
	Retained      bool                `json:"retained,omitempty"`
	RetainedUntil int64               `json:"retained_until,omitempty"`
	RetainedPrice market.Price        `json:"retained_price,omitzero"`
	Migration     *Migration          `json:"migration,omitempty"`
}

// Key names the record.
func (r Record) Key() netip.Addr { return r.Addresses[0] }

func (c *claim) record() Record {
	r := Record{
		State: c.state, Owner: c.id.Owner, Name: c.id.Name, Former: c.former, Order: c.order, Number: c.number, Holder: c.holder, From: c.from,
		Ports: c.ports, Rules: c.rules, Revision: c.revision, Until: c.until, Retained: c.retained, RetainedUntil: c.retainedUntil,
		RetainedPrice: c.retainedPrice, Migration: c.migration,
	}
	for _, h := range c.held() {
		r.Addresses = append(r.Addresses, h.addr)
	}
	return r
}

// Records returns all claims, sorted by key.
func (t *Table) Records() []Record {
	var out []Record
	for a, c := range t.addrs {
		if a == c.key() {
			out = append(out, c.record())
		}
	}
	sortRecords(out)
	return out
}

func sortRecords(rs []Record) {
	slices.SortFunc(rs, func(a, b Record) int { return a.Key().Compare(b.Key()) })
}

// Unsaved returns what has changed since the last call, sorted by key: the record
// of each claim that is new or different, and one with State Free for each that
// is gone. Write all of them or none, or give them back with [Table.KeepUnsaved].
func (t *Table) Unsaved() []Record {
	if len(t.unsaved) == 0 {
		return nil
	}
	out := make([]Record, 0, len(t.unsaved))
	for key := range t.unsaved {
		if c := t.addrs[key]; c != nil && c.key() == key {
			out = append(out, c.record())
		} else {
			out = append(out, Record{Addresses: []netip.Addr{key}})
		}
	}
	clear(t.unsaved)
	sortRecords(out)
	return out
}

// KeepUnsaved has Unsaved return these claims again, as they are then.
func (t *Table) KeepUnsaved(rs []Record) {
	for _, r := range rs {
		t.unsaved[r.Key()] = struct{}{}
	}
}

// Restore makes a table out of records, in any order; those of State Free are
// passed over. It also returns the addresses that are in no pool any more. Errors
// wrap [market.ErrInvalid] and name the record.
func Restore(cfg Config, records []Record) (*Table, []Stray, error) {
	t, err := New(cfg)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range records {
		if r.State == Free {
			continue
		}
		if err := t.restore(r); err != nil {
			return nil, nil, fmt.Errorf("iplease: record %v: %w: %w", r.Addresses, market.ErrInvalid, err)
		}
	}
	strays, err := t.SetPools(cfg.Pools)
	return t, strays, err
}

// restore puts a claim in; where its addresses are is found afterwards.
func (t *Table) restore(r Record) error {
	if err := r.validate(); err != nil {
		return err
	}
	c := &claim{
		id: ClaimID{r.Owner, r.Name}, former: r.Former, state: r.State, order: r.Order, number: r.Number, holder: r.Holder, from: r.From,
		ports: r.Ports, rules: r.Rules, revision: r.Revision, retained: r.Retained, retainedUntil: r.RetainedUntil,
		retainedPrice: r.RetainedPrice, migration: r.Migration,
	}
	for _, a := range r.Addresses {
		if t.addrs[a] != nil {
			return fmt.Errorf("%s is in two records", a)
		}
		c.addrs[c.naddrs].addr = a
		c.naddrs++
		t.addrs[a] = c
	}
	if r.Name != "" {
		if t.claims[c.id] != nil {
			return fmt.Errorf("%s is in two records", c.id)
		}
		t.claims[c.id] = c
	}
	t.own(c, r.Owner)
	switch {
	case r.State == Reserved || c.backs():
		chain(t.orders, c.order, c)
	case r.State == Bound:
		chain(t.holders, c.holder, c)
	}
	t.schedule(c, r.Until)
	if c.retained {
		t.watchRetained(c)
	}
	if c.migration != nil {
		t.moves[c] = struct{}{}
	}
	t.revision = max(t.revision, c.revision)
	return nil
}

// validate checks that a record says what its state calls for.
func (r Record) validate() error {
	if n := len(r.Addresses); n < 1 || n > 2 || n == 2 && (!r.Addresses[0].Is4() || r.Addresses[1].Is4()) || !r.Addresses[0].IsValid() {
		return fmt.Errorf("want an address, or an IPv4 and an IPv6 one")
	}
	ok := false
	switch r.State {
	case Reserved:
		ok = r.Name == "" && r.Order != market.OrderID{} && r.Ports == nil
	case Bound:
		ok = r.Name != "" && r.Holder.Owner == r.Owner && len(r.Ports) > 0
	case Parked:
		ok = r.Name != "" && r.Retained && r.Ports == nil
	case Cooling:
		ok = !r.Until.IsZero() && r.Ports == nil
	case Free:
	}
	if !ok {
		return fmt.Errorf("not as a claim in state %s is", r.State)
	}
	if r.Migration != nil && (r.State != Bound || len(r.Migration.Ports) == 0) {
		return fmt.Errorf("a migration of a claim in state %s", r.State)
	}
	return nil
}
