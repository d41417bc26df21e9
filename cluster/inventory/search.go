package inventory

import "math"

// searchBudget bounds how many nodes are looked at in all, after the first
// attempt has failed: a few milliseconds.
const searchBudget = 1 << 20

// noKind is the kind of a replica without cards.
const noKind = -1

// take is a number of replicas of a demand on a node.
type take struct {
	demand, node, kind int
	count              uint64
}

// key orders the nodes for a demand: best first.
type key struct {
	// avoid is 1 for a node whose cards would be wasted; for a demand of cards it
	// is the number of the least valuable kind.
	avoid uint64
	// left is what would be left of the scarcest resource.
	left uint64
	node int
}

func (k key) less(o key) bool {
	if k.avoid != o.avoid {
		return k.avoid < o.avoid
	}
	if k.left != o.left {
		return k.left < o.left
	}
	return k.node < o.node
}

// before is less than every key.
func before() key { return key{node: -1} }

// candidate is a node, and a kind of cards on it, that has room.
type candidate struct {
	key
	kind int
}

// search places demands on a private copy of what is free. It goes depth first:
// per demand it takes the best node and puts as many replicas there as fit,
// then the next best. When it gets stuck it goes back and puts fewer, until the
// budget is spent.
type search struct {
	l       *layout
	free    free
	demands []demand
	takes   []take
	stuck   bool // the first attempt has failed
	budget  int
}

// run places the demands; it reports whether all found room.
func (s *search) run(l *layout, f *free, ds []demand) bool {
	s.l, s.demands, s.takes = l, ds, s.takes[:0]
	s.stuck, s.budget = false, searchBudget
	s.free.copyFrom(f)
	return s.demand(0)
}

// demand places all demands from number i on.
func (s *search) demand(i int) bool {
	for i < len(s.demands) && s.demands[i].count == 0 {
		i++
	}
	if i == len(s.demands) {
		return true
	}
	if s.stuck && !s.hopeful(i) {
		return false
	}
	return s.replicas(i, s.demands[i].count, candidate{key: before(), kind: noKind})
}

// hopeful reports whether each demand from i on, alone, still has room.
func (s *search) hopeful(i int) bool {
	for ; i < len(s.demands); i++ {
		if s.room(&s.demands[i], before()) < s.demands[i].count {
			return false
		}
	}
	return true
}

// replicas places what is left of demand i on nodes after last.
func (s *search) replicas(i int, left uint64, last candidate) bool {
	if left == 0 {
		return s.demand(i + 1)
	}
	d := &s.demands[i]
	c, ok := s.next(d, last)
	if !ok {
		s.stuck = true
		return false
	}
	most, least := min(s.fit(d, c.node, c.kind), left), uint64(0)
	for n := most; ; n-- {
		s.take(i, c, n)
		if s.replicas(i, left-n, c) {
			return true
		}
		s.undo(i, c, n)
		if n == most {
			least = left - min(left, s.room(d, c.key))
		}
		if n <= least || s.budget <= 0 {
			return false
		}
	}
}

// take uses resources for n replicas.
func (s *search) take(i int, c candidate, n uint64) {
	if n == 0 {
		return
	}
	s.takes = append(s.takes, take{i, c.node, c.kind, n})
	d := &s.demands[i]
	a := &s.free.amounts[c.node]
	a.cpu, a.mem, a.eph = a.cpu-n*d.cpu, a.mem-n*d.mem, a.eph-n*d.eph
	for _, need := range d.classes {
		s.free.class[c.node*len(s.l.classes)+need.class] -= n * need.bytes
	}
	if c.kind != noKind {
		s.free.kind[c.node*len(s.l.kinds)+c.kind] -= n * d.gpus
	}
}

// undo gives back what take used.
func (s *search) undo(i int, c candidate, n uint64) {
	if n == 0 {
		return
	}
	s.takes = s.takes[:len(s.takes)-1]
	d := &s.demands[i]
	a := &s.free.amounts[c.node]
	a.cpu, a.mem, a.eph = a.cpu+n*d.cpu, a.mem+n*d.mem, a.eph+n*d.eph
	for _, need := range d.classes {
		s.free.class[c.node*len(s.l.classes)+need.class] += n * need.bytes
	}
	if c.kind != noKind {
		s.free.kind[c.node*len(s.l.kinds)+c.kind] += n * d.gpus
	}
}

// next finds the best candidate after last. The kinds of one node follow one
// another; nodes that the demand has not touched keep their keys.
func (s *search) next(d *demand, last candidate) (candidate, bool) {
	if last.node >= 0 && d.gpus > 0 {
		for _, k := range d.kinds {
			if k > last.kind && s.fits(d, last.node, k) {
				return candidate{last.key, k}, true
			}
		}
	}
	if s.stuck {
		s.budget -= len(s.l.nodes)
	}
	best := key{avoid: math.MaxUint64, node: -1}
	for n := range s.free.amounts {
		if !s.free.roomy(s.l, d, n) {
			continue
		}
		if k, ok := s.score(d, n); ok && last.less(k) && (best.node < 0 || k.less(best)) {
			best = k
		}
	}
	if best.node < 0 {
		return candidate{}, false
	}
	return candidate{best, s.kind(d, best.node)}, true
}

// roomy reports whether one replica fits on node n, cards aside.
func (f *free) roomy(l *layout, d *demand, n int) bool {
	a := &f.amounts[n]
	if a.cpu < d.cpu || a.mem < d.mem || a.eph < d.eph {
		return false
	}
	if d.eligible != nil && !d.eligible[n] {
		return false
	}
	for _, need := range d.classes {
		if need.class < 0 || f.class[n*len(l.classes)+need.class] < need.bytes {
			return false
		}
	}
	return true
}

// score computes the key of a node that is roomy; false when cards are missing.
func (s *search) score(d *demand, n int) (key, bool) {
	if d.gpus > 0 {
		k := s.kind(d, n)
		if k == noKind {
			return key{}, false
		}
		return key{uint64(k), s.free.kind[n*len(s.l.kinds)+k] - d.gpus, n}, true
	}
	k := key{node: n}
	if s.l.gpuNode[n] {
		k.avoid = 1
	}
	a := &s.free.amounts[n]
	switch d.scarcest {
	case resCPU:
		k.left = a.cpu - d.cpu
	case resMem:
		k.left = a.mem - d.mem
	case resEph:
		k.left = a.eph - d.eph
	default:
		need := d.classes[0]
		k.left = s.free.class[n*len(s.l.classes)+need.class] - need.bytes
	}
	return k, true
}

// kind returns the least valuable kind of which node n has enough cards.
func (s *search) kind(d *demand, n int) int {
	if d.gpus == 0 {
		return noKind
	}
	for _, k := range d.kinds {
		if s.free.kind[n*len(s.l.kinds)+k] >= d.gpus {
			return k
		}
	}
	return noKind
}

// fits reports whether one replica with cards of kind k fits on node n.
func (s *search) fits(d *demand, n, k int) bool {
	return s.free.roomy(s.l, d, n) && s.free.kind[n*len(s.l.kinds)+k] >= d.gpus
}

// fit returns how many replicas fit on node n with cards of kind k.
func (s *search) fit(d *demand, n, k int) uint64 {
	m := s.free.fit(s.l, d, n)
	if k != noKind {
		m = min(m, s.free.kind[n*len(s.l.kinds)+k]/d.gpus)
	}
	return m
}

// fit returns how many replicas fit on a roomy node, cards aside.
func (f *free) fit(l *layout, d *demand, n int) uint64 {
	a := &f.amounts[n]
	m := min(times(a.cpu, d.cpu), times(a.mem, d.mem), times(a.eph, d.eph))
	for _, need := range d.classes {
		m = min(m, times(f.class[n*len(l.classes)+need.class], need.bytes))
	}
	return m
}

// times says how often need goes into has.
func times(has, need uint64) uint64 {
	if need == 0 {
		return math.MaxUint64
	}
	return has / need
}

// room is an upper bound of the replicas that fit on nodes not before after, at
// most the demand's count.
func (s *search) room(d *demand, after key) uint64 {
	s.budget -= len(s.l.nodes)
	var sum uint64
	for n := range s.free.amounts {
		if sum >= d.count {
			return d.count
		}
		if !s.free.roomy(s.l, d, n) {
			continue
		}
		if n == after.node && d.gpus == 0 {
			continue
		}
		if k, ok := s.score(d, n); !ok || n != after.node && !after.less(k) {
			continue
		}
		m := s.free.fit(s.l, d, n)
		if d.gpus > 0 {
			m = min(m, s.cards(d, n)/d.gpus)
		}
		sum = satAdd(sum, m)
	}
	return min(sum, d.count)
}

// cards counts the acceptable free cards of node n.
func (s *search) cards(d *demand, n int) uint64 {
	var sum uint64
	for _, k := range d.kinds {
		sum += s.free.kind[n*len(s.l.kinds)+k]
	}
	return sum
}
