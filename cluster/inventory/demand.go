package inventory

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// MaxReplicas bounds the replicas of one group that is placed.
const MaxReplicas = 10_000

// Names in the attributes of units.
const (
	classRAM     = "ram"
	classDefault = "default"
	archKey      = "arch"
)

// classNeed is storage of a class.
type classNeed struct {
	class int // number in the layout, -1 when no node has it
	name  string
	bytes uint64
}

// demand is what one replica of a unit needs, in the numbers of a layout, and
// how many replicas there are to place.
type demand struct {
	amounts
	classes []classNeed // sorted by name
	gpus    uint64
	kinds   []int // acceptable kinds of cards that exist, sorted
	// eligible says which nodes have the architecture and attributes; nil is all.
	eligible []bool
	arch     string
	wanted   market.Attributes // other processor and memory attributes
	count    uint64
	unit     int    // place in the group spec
	id       uint32 // ID of the unit
	// scarcest is the resource the demand takes the largest part of, and share
	// that part.
	scarcest resource
	share    uint64
}

// resource numbers what a demand may take most of.
type resource uint8

const (
	resCPU resource = iota
	resMem
	resEph
	resClass
	resGPU
)

// newDemand translates a unit. The reason is about faults of form alone.
func newDemand(l *layout, i int, u market.ResourceUnit) (demand, *Reason) {
	d := demand{unit: i, id: u.ID, count: uint64(u.Count), gpus: u.GPU.Units}
	d.cpu, d.mem = u.CPU.MilliCores, u.Memory.Bytes
	for _, v := range u.Storage {
		d.addVolume(l, v)
	}
	slices.SortFunc(d.classes, func(a, b classNeed) int { return cmp.Compare(a.name, b.name) })
	for _, a := range slices.Concat(u.CPU.Attributes, u.Memory.Attributes) {
		if a.Key == archKey {
			d.arch = goarch(a.Value)
		} else {
			d.wanted = append(d.wanted, a)
		}
	}
	d.wanted = d.wanted.Sorted()
	d.eligible = l.eligible(d.arch, d.wanted)
	if d.gpus == 0 {
		return d, nil
	}
	patterns, err := parseGPUPatterns(u.GPU.Attributes)
	if err != nil {
		return d, &Reason{Invalid, u.ID, err.Error()}
	}
	for k, kind := range l.kinds {
		if slices.ContainsFunc(patterns, func(p gpuPattern) bool { return p.matches(kind) }) {
			d.kinds = append(d.kinds, k)
		}
	}
	return d, nil
}

// addVolume enters a volume where it is taken from.
func (d *demand) addVolume(l *layout, v market.Volume) {
	name := v.Class()
	switch {
	case name == classRAM:
		d.mem = satAdd(d.mem, v.Bytes)
		return
	case !v.Persistent() && (name == "" || name == classDefault):
		d.eph = satAdd(d.eph, v.Bytes)
		return
	case name == "":
		name = classDefault
	}
	for i := range d.classes {
		if d.classes[i].name == name {
			d.classes[i].bytes = satAdd(d.classes[i].bytes, v.Bytes)
			return
		}
	}
	c, ok := slices.BinarySearch(l.classes, name)
	if !ok {
		c = -1
	}
	d.classes = append(d.classes, classNeed{c, name, v.Bytes})
}

// goarch translates the usual names of architectures.
func goarch(name string) string {
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return name
}

// eligible lists which nodes have an architecture and attributes; nil is all.
func (l *layout) eligible(arch string, wanted market.Attributes) []bool {
	if arch == "" && len(wanted) == 0 {
		return nil
	}
	out := make([]bool, len(l.nodes))
	for i := range l.nodes {
		out[i] = (arch == "" || l.nodes[i].Architecture == arch) && l.nodes[i].hasAll(wanted)
	}
	return out
}

func (n *Node) hasAll(wanted market.Attributes) bool {
	for _, w := range wanted {
		if v, ok := n.Attributes.Get(w.Key); !ok || v != w.Value {
			return false
		}
	}
	return true
}

// demands translates a group, in the order in which it is placed.
func demands(l *layout, spec market.GroupSpec) ([]demand, []Reason) {
	var out []demand
	var bad []Reason
	var replicas uint64
	for i, u := range spec.Units {
		d, reason := newDemand(l, i, u)
		if reason != nil {
			bad = append(bad, *reason)
		}
		if slices.ContainsFunc(out, func(o demand) bool { return o.id == d.id }) {
			bad = append(bad, Reason{Invalid, u.ID, "two units have this ID"})
		}
		replicas += d.count
		out = append(out, d)
	}
	if replicas > MaxReplicas {
		bad = append(bad, Reason{Invalid, 0, fmt.Sprintf("%d replicas, at most %d can be placed", replicas, MaxReplicas)})
	}
	return out, bad
}

// order finds what each demand takes most of, and sorts: what is hardest to
// place comes first. The order does not depend on that of the units.
func order(l *layout, f *free, ds []demand) {
	total := f.total(l)
	for i := range ds {
		ds[i].weigh(total)
	}
	slices.SortFunc(ds, compareDemands)
}

// totals are free resources summed over nodes.
type totals struct {
	amounts
	class []uint64
}

func (f *free) total(l *layout) totals {
	t := totals{class: make([]uint64, len(l.classes))}
	for n, a := range f.amounts {
		t.cpu, t.mem, t.eph = satAdd(t.cpu, a.cpu), satAdd(t.mem, a.mem), satAdd(t.eph, a.eph)
		for c := range t.class {
			t.class[c] = satAdd(t.class[c], f.class[n*len(t.class)+c])
		}
	}
	return t
}

// weigh finds the resource of which the demand takes the largest part.
func (d *demand) weigh(t totals) {
	d.scarcest, d.share = resCPU, part(d.cpu, t.cpu)
	better := func(r resource, share uint64) {
		if share > d.share {
			d.scarcest, d.share = r, share
		}
	}
	better(resMem, part(d.mem, t.mem))
	better(resEph, part(d.eph, t.eph))
	for _, c := range d.classes {
		if c.class >= 0 {
			better(resClass, part(c.bytes, t.class[c.class]))
		}
	}
	if d.gpus > 0 {
		d.scarcest = resGPU
	}
}

// part returns n/of as a number of 2^-32, at most 1.
func part(n, of uint64) uint64 {
	const one = 1 << 32
	if n >= of {
		if n == 0 {
			return 0
		}
		return one
	}
	q, _ := bits.Div64(n>>32, n<<32, of)
	return q
}

// compareDemands puts the hardest first.
func compareDemands(a, b demand) int {
	return cmp.Or(
		cmp.Compare(b.gpus, a.gpus),
		cmp.Compare(len(a.kinds), len(b.kinds)),
		cmp.Compare(flag(b.eligible != nil), flag(a.eligible != nil)),
		cmp.Compare(b.share, a.share),
		cmp.Compare(b.cpu, a.cpu), cmp.Compare(b.mem, a.mem), cmp.Compare(b.eph, a.eph),
		cmp.Compare(a.id, b.id),
		cmp.Compare(b.count, a.count),
	)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
