package inventory

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// Ledger is what a cluster has and what is promised of it. A reservation for a
// bid and the placement of a lease are the same entry. It is not safe for
// concurrent use: one owner changes it, others read a [Snapshot].
type Ledger struct {
	over    Overcommit
	l       *layout
	u       *usage
	shared  bool // a snapshot has u
	entries map[string]Placement
	planner planner
}

// Reservation is an entry of a ledger, in the form in which it is kept.
type Reservation struct {
	Key       string    `json:"key"`
	Placement Placement `json:"placement"`
}

// MaxKeyLength bounds the key of a reservation in bytes. The text of a lease is
// shorter.
const MaxKeyLength = 512

// New makes a ledger for the nodes of a cluster, with nothing promised. nodes
// may be empty and is not retained. The error wraps [market.ErrInvalid]: two
// nodes of one name, two cards of one ID on a node, or a factor out of range.
func New(nodes []Node, o Overcommit) (*Ledger, error) {
	l, err := newLayout(nodes, o)
	if err != nil {
		return nil, err
	}
	return &Ledger{over: o, l: l, u: newUsage(l), entries: make(map[string]Placement)}, nil
}

// Reserve promises room for a group under a key. Either the reasons are empty
// and all of the group is placed, or there is at least one reason and nothing
// has changed.
//
// A key that is held already keeps the replicas that are still as they were and
// still fit where they are, and gets room for the rest (so the same call again
// changes nothing); if that does not fit, all is placed anew; if that does not
// fit either, the old reservation stays.
func (g *Ledger) Reserve(key string, spec market.GroupSpec) (Placement, []Reason) {
	if key == "" || len(key) > MaxKeyLength {
		return Placement{}, []Reason{{Invalid, 0, fmt.Sprintf("key of %d bytes, want 1 to %d", len(key), MaxKeyLength)}}
	}
	old, held := g.entries[key]
	if !held {
		return g.reserve(key, spec, nil)
	}
	kept := g.keep(old, spec)
	g.enter(old, false)
	delete(g.entries, key)
	g.enter(Placement{kept}, true)
	p, reasons := g.planner.place(g.l, g.u, spec, kept)
	g.enter(Placement{kept}, false)
	if len(reasons) == 0 {
		return g.commit(key, p), nil
	}
	if len(kept) > 0 {
		if p, reasons = g.reserve(key, spec, nil); len(reasons) == 0 {
			return p, nil
		}
	}
	g.commit(key, old)
	return Placement{}, reasons
}

// reserve places a group anew.
func (g *Ledger) reserve(key string, spec market.GroupSpec, kept []Assignment) (Placement, []Reason) {
	p, reasons := g.planner.place(g.l, g.u, spec, kept)
	if len(reasons) > 0 {
		return Placement{}, reasons
	}
	return g.commit(key, p), nil
}

// commit enters a placement and returns a copy of it.
func (g *Ledger) commit(key string, p Placement) Placement {
	g.enter(p, true)
	g.entries[key] = p
	return p.clone()
}

// enter adds the assignments to the usage or takes them out.
func (g *Ledger) enter(p Placement, in bool) {
	if len(p.Assignments) == 0 {
		return
	}
	if g.shared {
		g.u, g.shared = g.u.clone(), false
	}
	for _, a := range p.Assignments {
		g.u.add(g.l, a, in)
	}
}

// keep returns the assignments of a placement that a new spec can go on with.
func (g *Ledger) keep(old Placement, spec market.GroupSpec) []Assignment {
	ds, bad := demands(g.l, spec)
	if len(bad) > 0 {
		return nil
	}
	var kept []Assignment
	for _, a := range old.Assignments {
		i := slices.IndexFunc(ds, func(d demand) bool { return d.id == a.Unit })
		if i >= 0 && ds[i].count > 0 && g.holds(a) && ds[i].matches(g.l, a) {
			ds[i].count--
			kept = append(kept, a)
		}
	}
	return kept
}

// matches reports whether an assignment is what the demand asks for.
func (d *demand) matches(l *layout, a Assignment) bool {
	r := a.Resources
	n, ok := l.index[a.Node]
	if !ok || r.MilliCores != d.cpu || r.MemoryBytes != d.mem || r.EphemeralBytes != d.eph ||
		len(r.PersistentBytes) != len(d.classes) || uint64(len(r.GPUs)) != d.gpus {
		return false
	}
	if d.eligible != nil && !d.eligible[n] {
		return false
	}
	for _, c := range d.classes {
		if r.PersistentBytes[c.name] != c.bytes {
			return false
		}
	}
	for _, gpu := range r.GPUs {
		c := l.card(n, gpu.ID)
		if c < 0 || !slices.Contains(d.kinds, l.cards[c].kind) || kindOf(gpu) != kindOf(r.GPUs[0]) {
			return false
		}
	}
	return true
}

// holds reports whether the cluster still has what the assignment was promised.
func (g *Ledger) holds(a Assignment) bool {
	n, ok := g.l.index[a.Node]
	if !ok || g.u.over(g.l, n) {
		return false
	}
	for class, bytes := range a.Resources.PersistentBytes {
		if _, ok := slices.BinarySearch(g.l.classes, class); !ok && bytes > 0 {
			return false
		}
	}
	for _, gpu := range a.Resources.GPUs {
		c := g.l.card(n, gpu.ID)
		if c < 0 || kindOf(g.l.cards[c].gpu) != kindOf(gpu) {
			return false
		}
	}
	return true
}

// Release gives back what is promised under a key. It reports whether there was
// anything; releasing twice is no fault.
func (g *Ledger) Release(key string) bool {
	p, ok := g.entries[key]
	if ok {
		g.enter(p, false)
		delete(g.entries, key)
	}
	return ok
}

// Placement returns what is promised under a key.
func (g *Ledger) Placement(key string) (Placement, bool) {
	p, ok := g.entries[key]
	return p.clone(), ok
}

// Keys returns the keys of all reservations, sorted.
func (g *Ledger) Keys() []string { return slices.Sorted(maps.Keys(g.entries)) }

// SetNodes replaces the nodes. Reservations stay, also those on nodes that are
// gone or have shrunk: they are promises. [Ledger.Displaced] lists them, and
// nothing more is promised on such a node. The error is as in [New], and then
// nothing has changed.
func (g *Ledger) SetNodes(nodes []Node) error {
	l, err := newLayout(nodes, g.over)
	if err != nil {
		return err
	}
	g.l, g.u, g.shared = l, newUsage(l), false
	for _, key := range g.Keys() {
		g.enter(g.entries[key], true)
	}
	return nil
}

// Displaced returns the keys of reservations that the cluster cannot keep any
// more, sorted: a node, class or card is gone, or the node has shrunk below
// what is promised on it. [Ledger.Reserve] with such a key finds a new place.
func (g *Ledger) Displaced() []string {
	var out []string
	for _, key := range g.Keys() {
		broken := func(a Assignment) bool { return !g.holds(a) }
		if slices.ContainsFunc(g.entries[key].Assignments, broken) {
			out = append(out, key)
		}
	}
	return out
}

// Snapshot returns the state now. It costs nothing; the first change after it
// copies a few numbers per node.
func (g *Ledger) Snapshot() Snapshot {
	g.shared = true
	return Snapshot{g.l, g.u}
}

// Totals returns sums over all nodes.
func (g *Ledger) Totals() Totals { return Snapshot{g.l, g.u}.Totals() }

// Available returns every node with what is promised and left, sorted by name.
func (g *Ledger) Available() []NodeState { return Snapshot{g.l, g.u}.Nodes() }

// Export returns all reservations, sorted by key, for keeping.
func (g *Ledger) Export() []Reservation {
	out := make([]Reservation, 0, len(g.entries))
	for _, key := range g.Keys() {
		out = append(out, Reservation{key, g.entries[key].clone()})
	}
	return out
}

// Import replaces all reservations by those exported before. Reservations on
// nodes that are gone are kept, see [Ledger.Displaced]. The error wraps
// [market.ErrInvalid] (a key twice or malformed, a card promised twice), and
// then nothing has changed. rs is not retained.
func (g *Ledger) Import(rs []Reservation) error {
	entries := make(map[string]Placement, len(rs))
	cards := make(map[[2]string]bool)
	for _, r := range rs {
		if _, twice := entries[r.Key]; twice || r.Key == "" || len(r.Key) > MaxKeyLength {
			return fmt.Errorf("inventory: import: key %.80q: %w: empty, too long or twice", r.Key, market.ErrInvalid)
		}
		for _, a := range r.Placement.Assignments {
			for _, gpu := range a.Resources.GPUs {
				c := [2]string{a.Node, gpu.ID}
				if cards[c] {
					return fmt.Errorf("inventory: import: %.80q: %w: card %q of node %q promised twice", r.Key, market.ErrInvalid, gpu.ID, a.Node)
				}
				cards[c] = true
			}
		}
		entries[r.Key] = r.Placement.clone()
		entries[r.Key].sort()
	}
	g.entries, g.u, g.shared = entries, newUsage(g.l), false
	for _, key := range g.Keys() {
		g.enter(entries[key], true)
	}
	return nil
}
