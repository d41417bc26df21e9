package inventory

import "slices"

// usage is what is promised on the nodes of a layout, and what is left. used
// may pass the capacity when nodes shrink under reservations; free is then 0.
type usage struct {
	used      []amounts
	classUsed []uint64
	cardUsed  []bool
	free
}

// free is what is left, side by side for the scan.
type free struct {
	amounts []amounts
	class   []uint64 // as layout.classCap
	kind    []uint64 // free cards of node n, kind k at n*len(kinds)+k
}

// newUsage returns the usage of an empty cluster.
func newUsage(l *layout) *usage {
	u := &usage{
		used:      make([]amounts, len(l.nodes)),
		classUsed: make([]uint64, len(l.classCap)),
		cardUsed:  make([]bool, len(l.cards)),
		free: free{
			amounts: slices.Clone(l.caps),
			class:   slices.Clone(l.classCap),
			kind:    make([]uint64, len(l.nodes)*len(l.kinds)),
		},
	}
	for _, c := range l.cards {
		u.kind[c.node*len(l.kinds)+c.kind]++
	}
	return u
}

// clone copies the usage, so that a snapshot may keep the old one.
func (u *usage) clone() *usage {
	return &usage{
		used:      slices.Clone(u.used),
		classUsed: slices.Clone(u.classUsed),
		cardUsed:  slices.Clone(u.cardUsed),
		free: free{
			amounts: slices.Clone(u.amounts),
			class:   slices.Clone(u.class),
			kind:    slices.Clone(u.kind),
		},
	}
}

// copyFrom makes f equal to g without allocating when there is room.
func (f *free) copyFrom(g *free) {
	f.amounts = append(f.amounts[:0], g.amounts...)
	f.class = append(f.class[:0], g.class...)
	f.kind = append(f.kind[:0], g.kind...)
}

// add enters an assignment, or takes it out. What the layout does not have (a
// node, a class or a card that is gone) is passed over.
func (u *usage) add(l *layout, a Assignment, in bool) {
	n, ok := l.index[a.Node]
	if !ok {
		return
	}
	move := func(used *uint64, by uint64) {
		if in {
			*used = satAdd(*used, by)
		} else {
			*used = satSub(*used, by)
		}
	}
	used, has := &u.used[n], l.caps[n]
	move(&used.cpu, a.Resources.MilliCores)
	move(&used.mem, a.Resources.MemoryBytes)
	move(&used.eph, a.Resources.EphemeralBytes)
	u.amounts[n] = amounts{satSub(has.cpu, used.cpu), satSub(has.mem, used.mem), satSub(has.eph, used.eph)}
	for class, bytes := range a.Resources.PersistentBytes {
		if c, ok := slices.BinarySearch(l.classes, class); ok {
			i := n*len(l.classes) + c
			move(&u.classUsed[i], bytes)
			u.class[i] = satSub(l.classCap[i], u.classUsed[i])
		}
	}
	for _, g := range a.Resources.GPUs {
		u.addCard(l, l.card(n, g.ID), in)
	}
}

// addCard marks a card as used or not.
func (u *usage) addCard(l *layout, c int, in bool) {
	if c < 0 || u.cardUsed[c] == in {
		return
	}
	u.cardUsed[c] = in
	k := l.cards[c].node*len(l.kinds) + l.cards[c].kind
	if in {
		u.kind[k]--
	} else {
		u.kind[k]++
	}
}

// over reports whether node n is promised more than it has.
func (u *usage) over(l *layout, n int) bool {
	used, has := u.used[n], l.caps[n]
	if used.cpu > has.cpu || used.mem > has.mem || used.eph > has.eph {
		return true
	}
	for i := n * len(l.classes); i < (n+1)*len(l.classes); i++ {
		if u.classUsed[i] > l.classCap[i] {
			return true
		}
	}
	return false
}
