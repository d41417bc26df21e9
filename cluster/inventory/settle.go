package inventory

import (
	"cmp"
	"maps"
	"slices"
)

// Seat is where one replica of a unit runs.
type Seat struct {
	Unit uint32
	Node string
}

// Settle moves what is promised under a key to where the cluster runs it, for
// clusters that choose nodes by themselves: one entry per running replica, in any
// order. A replica whose room is not free there stays where it is promised, so
// that no node is ever promised more than it has; so do replicas that do not run,
// and seats beyond those promised are passed over. A replica that moves gets cards
// of the same kind there. It reports whether anything moved.
func (g *Ledger) Settle(key string, seats []Seat) bool {
	old := g.entries[key]
	open := map[Seat]int{}
	for _, s := range seats {
		open[s]++
	}
	var astray []int
	for i, a := range old.Assignments {
		if s := (Seat{a.Unit, a.Node}); open[s] > 0 {
			open[s]--
		} else {
			astray = append(astray, i)
		}
	}
	if len(astray) == 0 {
		return false
	}
	free := slices.SortedFunc(maps.Keys(open), func(a, b Seat) int {
		return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Node, b.Node))
	})
	p := Placement{slices.Clone(old.Assignments)}
	all := len(astray)
	for before := -1; before != len(astray); { // one that moves may make room for another
		before = len(astray)
		astray = slices.DeleteFunc(astray, func(i int) bool { return g.seat(&p.Assignments[i], free, open) })
	}
	g.entries[key] = p
	return len(astray) < all
}

// seat moves an assignment to the first of the open seats with room for it.
func (g *Ledger) seat(a *Assignment, seats []Seat, open map[Seat]int) bool {
	for _, s := range seats {
		if s.Unit != a.Unit || open[s] == 0 {
			continue
		}
		if there, ok := g.moveTo(*a, s.Node); ok {
			*a = there
			open[s]--
			return true
		}
	}
	return false
}

// moveTo enters an assignment on another node instead of its own, if there is room.
func (g *Ledger) moveTo(a Assignment, node string) (Assignment, bool) {
	n, ok := g.l.index[node]
	if !ok || !g.u.fits(g.l, n, a.Resources) {
		return a, false
	}
	there := a
	there.Node, there.Resources = node, a.Resources.clone()
	for i, gpu := range a.Resources.GPUs {
		c := g.freeCard(n, kindOf(gpu), there.Resources.GPUs[:i])
		if c < 0 {
			return a, false
		}
		there.Resources.GPUs[i] = g.l.cards[c].gpu
	}
	g.enter(Placement{[]Assignment{a}}, false)
	g.enter(Placement{[]Assignment{there}}, true)
	return there, true
}

// freeCard finds a card of a kind on node n that is neither promised nor among
// taken, -1 if there is none.
func (g *Ledger) freeCard(n int, kind gpuKind, taken []GPU) int {
	for c := g.l.cardBase[n]; c < g.l.cardBase[n+1]; c++ {
		card := g.l.cards[c]
		sameID := func(t GPU) bool { return t.ID == card.gpu.ID }
		if kindOf(card.gpu) == kind && !g.u.cardUsed[c] && !slices.ContainsFunc(taken, sameID) {
			return c
		}
	}
	return -1
}

// fits reports whether node n has room for quantities, cards apart.
func (u *usage) fits(l *layout, n int, q Quantities) bool {
	has := u.amounts[n]
	if q.MilliCores > has.cpu || q.MemoryBytes > has.mem || q.EphemeralBytes > has.eph || u.over(l, n) {
		return false
	}
	for class, bytes := range q.PersistentBytes {
		c, ok := slices.BinarySearch(l.classes, class)
		if bytes > 0 && (!ok || bytes > u.class[n*len(l.classes)+c]) {
			return false
		}
	}
	return true
}
