package inventory

import (
	"cmp"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// Assignment is one replica on one node.
type Assignment struct {
	// Unit is the ID of the resource unit, Replica the number among its replicas
	// from 0.
	Unit    uint32 `json:"unit"`
	Replica uint32 `json:"replica"`
	Node    string `json:"node"`
	// Resources is what the replica uses; GPUs are the very cards. Volumes of
	// class "ram" are in MemoryBytes.
	Resources Quantities `json:"resources"`
}

// Placement says where each replica of a group goes, sorted by unit, then
// replica.
type Placement struct {
	Assignments []Assignment `json:"assignments"`
}

// clone copies the placement deeply.
func (p Placement) clone() Placement {
	out := slices.Clone(p.Assignments)
	for i := range out {
		out[i].Resources = out[i].Resources.clone()
	}
	return Placement{out}
}

// sort establishes the documented order.
func (p Placement) sort() {
	slices.SortFunc(p.Assignments, func(a, b Assignment) int {
		return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Replica, b.Replica))
	})
}

// NodeState is a node with what is promised on it. Available is allocatable
// with over-commit less reserved, and never below 0.
type NodeState struct {
	Node
	Reserved, Available Quantities
}

// Totals are sums over all nodes. Allocatable has over-commit applied.
type Totals struct {
	Nodes                            int
	Allocatable, Reserved, Available Quantities
}

// Snapshot is an immutable picture of a [Ledger]. It is safe for concurrent
// use. The zero value is a cluster without nodes.
type Snapshot struct {
	l *layout
	u *usage
}

// Place looks where a group would go, promising nothing. Either the reasons are
// empty and the placement has every replica, or there is at least one reason.
// spec is not retained.
func (s Snapshot) Place(spec market.GroupSpec) (Placement, []Reason) {
	if s.l == nil {
		return Placement{}, []Reason{{NoNodes, 0, "the cluster has no nodes"}}
	}
	var p planner
	return p.place(s.l, s.u, spec, nil)
}

// Nodes returns every node with what is promised on it, sorted by name.
func (s Snapshot) Nodes() []NodeState {
	if s.l == nil {
		return nil
	}
	out := make([]NodeState, 0, len(s.l.nodes))
	for n := range s.l.nodes {
		out = append(out, NodeState{
			Node:      s.l.nodes[n].clone(),
			Reserved:  s.quantities(n, s.u.used[n], s.u.classUsed, true),
			Available: s.quantities(n, s.u.amounts[n], s.u.class, false),
		})
	}
	return out
}

// Totals returns sums over all nodes.
func (s Snapshot) Totals() Totals {
	var t Totals
	if s.l == nil {
		return t
	}
	t.Nodes = len(s.l.nodes)
	for n := range s.l.nodes {
		s.addTo(&t.Reserved, n, s.u.used[n], s.u.classUsed)
		s.addTo(&t.Available, n, s.u.amounts[n], s.u.class)
		s.addTo(&t.Allocatable, n, s.l.caps[n], s.l.classCap)
	}
	for c := range s.l.cards {
		gpu := s.l.cards[c].gpu
		t.Allocatable.GPUs = append(t.Allocatable.GPUs, gpu)
		if s.u.cardUsed[c] {
			t.Reserved.GPUs = append(t.Reserved.GPUs, gpu)
		} else {
			t.Available.GPUs = append(t.Available.GPUs, gpu)
		}
	}
	return t
}

// addTo adds the numbers of node n.
func (s Snapshot) addTo(q *Quantities, n int, a amounts, class []uint64) {
	q.MilliCores = satAdd(q.MilliCores, a.cpu)
	q.MemoryBytes = satAdd(q.MemoryBytes, a.mem)
	q.EphemeralBytes = satAdd(q.EphemeralBytes, a.eph)
	for c, name := range s.l.classes {
		if b := class[n*len(s.l.classes)+c]; b > 0 {
			if q.PersistentBytes == nil {
				q.PersistentBytes = make(map[string]uint64)
			}
			q.PersistentBytes[name] = satAdd(q.PersistentBytes[name], b)
		}
	}
}

// quantities renders numbers of node n, with the cards that are used or not.
func (s Snapshot) quantities(n int, a amounts, class []uint64, used bool) Quantities {
	q := Quantities{MilliCores: a.cpu, MemoryBytes: a.mem, EphemeralBytes: a.eph}
	for c, name := range s.l.classes {
		if b := class[n*len(s.l.classes)+c]; b > 0 {
			if q.PersistentBytes == nil {
				q.PersistentBytes = make(map[string]uint64)
			}
			q.PersistentBytes[name] = b
		}
	}
	for c := s.l.cardBase[n]; c < s.l.cardBase[n+1]; c++ {
		if s.u.cardUsed[c] == used {
			q.GPUs = append(q.GPUs, s.l.cards[c].gpu)
		}
	}
	return q
}

// planner places groups; it keeps its buffers from one group to the next.
type planner struct{ s search }

// place places what of spec is not among kept, and returns all of it.
func (p *planner) place(l *layout, u *usage, spec market.GroupSpec, kept []Assignment) (Placement, []Reason) {
	ds, bad := demands(l, spec)
	if len(bad) > 0 {
		return Placement{}, bad
	}
	for _, a := range kept {
		i := slices.IndexFunc(ds, func(d demand) bool { return d.id == a.Unit })
		ds[i].count--
	}
	order(l, &u.free, ds)
	if !p.s.run(l, &u.free, ds) {
		return Placement{}, explain(l, &u.free, spec, ds)
	}
	out := Placement{slices.Clone(kept)}
	names := newNumbering(kept)
	cards := make(map[int]bool)
	for _, t := range p.s.takes {
		d := &ds[t.demand]
		for range t.count {
			out.Assignments = append(out.Assignments, Assignment{
				Unit: d.id, Replica: names.next(d.id), Node: l.nodes[t.node].Name,
				Resources: d.quantities(l, u, t, cards),
			})
		}
	}
	out.sort()
	return out, nil
}

// quantities is what one replica of a take uses. Cards are taken in the order
// of their IDs and noted in taken.
func (d *demand) quantities(l *layout, u *usage, t take, taken map[int]bool) Quantities {
	q := Quantities{MilliCores: d.cpu, MemoryBytes: d.mem, EphemeralBytes: d.eph}
	for _, c := range d.classes {
		if q.PersistentBytes == nil {
			q.PersistentBytes = make(map[string]uint64, len(d.classes))
		}
		q.PersistentBytes[c.name] = c.bytes
	}
	for c := l.cardBase[t.node]; c < l.cardBase[t.node+1] && uint64(len(q.GPUs)) < d.gpus; c++ {
		if l.cards[c].kind == t.kind && !u.cardUsed[c] && !taken[c] {
			taken[c] = true
			q.GPUs = append(q.GPUs, l.cards[c].gpu)
		}
	}
	return q
}

// numbering hands out the replica numbers that are not in use.
type numbering struct {
	used map[[2]uint32]bool
	low  map[uint32]uint32
}

func newNumbering(kept []Assignment) numbering {
	n := numbering{used: make(map[[2]uint32]bool, len(kept)), low: make(map[uint32]uint32)}
	for _, a := range kept {
		n.used[[2]uint32{a.Unit, a.Replica}] = true
	}
	return n
}

func (n numbering) next(unit uint32) uint32 {
	i := n.low[unit]
	for n.used[[2]uint32{unit, i}] {
		i++
	}
	n.low[unit] = i + 1
	return i
}
