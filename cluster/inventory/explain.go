package inventory

import (
	"fmt"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// explain says why demands were not placed: what each unit alone lacks; else
// what the group as a whole lacks; else that it does not fit together. It is
// sorted by unit.
func explain(l *layout, f *free, spec market.GroupSpec, ds []demand) []Reason {
	if len(l.nodes) == 0 {
		return []Reason{{NoNodes, 0, "the cluster has no nodes"}}
	}
	var out []Reason
	slices.SortFunc(ds, func(a, b demand) int { return a.unit - b.unit })
	for i := range ds {
		out = append(out, explainUnit(l, f, spec.Units[ds[i].unit], &ds[i])...)
	}
	if len(out) == 0 {
		out = explainGroup(l, f, ds)
	}
	if len(out) == 0 {
		out = []Reason{{Fragmented, 0, "each unit fits alone, but not all of them together on the nodes there are"}}
	}
	return out
}

// explainUnit says what a unit alone lacks.
func explainUnit(l *layout, f *free, u market.ResourceUnit, d *demand) []Reason {
	if d.count == 0 {
		return nil
	}
	if out := missing(l, u, d); len(out) > 0 {
		return out
	}
	var out []Reason
	short := func(code Code, what string, need uint64, has func(n int) uint64) {
		if need == 0 {
			return
		}
		if fit := sumFit(l, d, need, has); fit < d.count {
			out = append(out, Reason{code, d.id, fmt.Sprintf("%d × %d %s wanted, room for %d", d.count, need, what, fit)})
		}
	}
	short(InsufficientCPU, "thousandths of a core", d.cpu, func(n int) uint64 { return f.amounts[n].cpu })
	short(InsufficientMemory, "bytes of memory", d.mem, func(n int) uint64 { return f.amounts[n].mem })
	short(InsufficientEphemeral, "bytes of ephemeral storage", d.eph, func(n int) uint64 { return f.amounts[n].eph })
	for _, need := range d.classes {
		short(InsufficientPersistent, "bytes of class "+need.name, need.bytes,
			func(n int) uint64 { return f.class[n*len(l.classes)+need.class] })
	}
	short(InsufficientGPU, "matching cards", d.gpus, func(n int) uint64 { return cardSets(l, f, d, n) })
	if len(out) > 0 || fitAlone(l, f, d) {
		return out
	}
	return []Reason{{Fragmented, d.id, fmt.Sprintf("too few nodes have all of it at once for %d replicas", d.count)}}
}

// missing says what no node has, free or not.
func missing(l *layout, u market.ResourceUnit, d *demand) []Reason {
	var out []Reason
	if d.eligible != nil && !slices.Contains(d.eligible, true) {
		out = append(out, missingAttribute(l, d))
	}
	for _, need := range d.classes {
		if need.class < 0 {
			out = append(out, Reason{NoStorageClass, d.id, fmt.Sprintf("no node has storage of class %.60q", need.name)})
		}
	}
	if d.gpus > 0 && len(d.kinds) == 0 {
		out = append(out, Reason{NoGPU, d.id, "no node has a card " + patternText(u.GPU.Attributes)})
	}
	return out
}

func missingAttribute(l *layout, d *demand) Reason {
	if d.arch != "" && !slices.ContainsFunc(l.nodes, func(n Node) bool { return n.Architecture == d.arch }) {
		return Reason{NoArchitecture, d.id, fmt.Sprintf("no node has architecture %.60q", d.arch)}
	}
	text := ""
	for _, a := range d.wanted {
		text += fmt.Sprintf(" %.60s=%.60s", a.Key, a.Value)
	}
	return Reason{NoAttribute, d.id, "no node has all of:" + text}
}

func patternText(as market.Attributes) string {
	if len(as) == 0 {
		return "of any kind"
	}
	text := "matching"
	for i, a := range as {
		if i > 0 {
			text += " or"
		}
		text += fmt.Sprintf(" %.100s", a.Key)
	}
	return text
}

// sumFit counts the replicas for which one resource alone would do.
func sumFit(l *layout, d *demand, need uint64, has func(n int) uint64) uint64 {
	var sum uint64
	for n := range l.nodes {
		if d.eligible == nil || d.eligible[n] {
			sum = satAdd(sum, has(n)/need)
		}
	}
	return sum
}

// cardSets returns the acceptable free cards of a node that make up whole sets
// of one kind.
func cardSets(l *layout, f *free, d *demand, n int) uint64 {
	var sum uint64
	for _, k := range d.kinds {
		free := f.kind[n*len(l.kinds)+k]
		sum += free - free%d.gpus
	}
	return sum
}

// fitAlone reports whether the demand would fit if it were the only one.
func fitAlone(l *layout, f *free, d *demand) bool {
	var sum uint64
	for n := range l.nodes {
		if !f.roomy(l, d, n) {
			continue
		}
		m := f.fit(l, d, n)
		if d.gpus > 0 {
			m = min(m, cardSets(l, f, d, n)/d.gpus)
		}
		sum = satAdd(sum, m)
	}
	return sum >= d.count
}

// explainGroup compares the sum of all demands with all that is free.
func explainGroup(l *layout, f *free, ds []demand) []Reason {
	var need totals
	need.class = make([]uint64, len(l.classes))
	for _, d := range ds {
		for range d.count {
			need.cpu, need.mem, need.eph = satAdd(need.cpu, d.cpu), satAdd(need.mem, d.mem), satAdd(need.eph, d.eph)
			for _, c := range d.classes {
				need.class[c.class] = satAdd(need.class[c.class], c.bytes)
			}
		}
	}
	var out []Reason
	short := func(code Code, what string, need, has uint64) {
		if need > has {
			out = append(out, Reason{code, 0, fmt.Sprintf("%d %s wanted in all, %d free", need, what, has)})
		}
	}
	has := f.total(l)
	short(InsufficientCPU, "thousandths of a core", need.cpu, has.cpu)
	short(InsufficientMemory, "bytes of memory", need.mem, has.mem)
	short(InsufficientEphemeral, "bytes of ephemeral storage", need.eph, has.eph)
	for c, name := range l.classes {
		short(InsufficientPersistent, "bytes of class "+name, need.class[c], has.class[c])
	}
	short(InsufficientGPU, "cards", cardsWanted(ds), cardsFree(f))
	return out
}

func cardsWanted(ds []demand) uint64 {
	var sum uint64
	for _, d := range ds {
		sum = satAdd(sum, d.gpus*d.count)
	}
	return sum
}

func cardsFree(f *free) uint64 {
	var sum uint64
	for _, n := range f.kind {
		sum += n
	}
	return sum
}
