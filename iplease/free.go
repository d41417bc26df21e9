package iplease

import "math/bits"

// freeSet is the set of free numbers from 0 to some last number. It is a tree of
// nodes of 64 bits, 6 bits of the number per level, in which only the parts that
// were touched exist: finding the lowest free number, taking one and giving one
// back each cost one step per level, 3 for 2^16 numbers and 11 for 2^64, however
// many are taken. Nodes are kept for reuse, so the tree is as large as the most
// numbers that were taken at a time.
type freeSet struct {
	root  *freeNode
	shift uint // of the root's 6 bits
}

// freeNode has a bit per child, or per number in the lowest level.
type freeNode struct {
	// full has a bit for each child without a free number.
	full uint64
	kids *[64]*freeNode
}

const (
	nodeBits = 6
	nodeMask = 1<<nodeBits - 1
	allFull  = ^uint64(0)
)

// newFreeSet has the numbers 0 to last, all free.
func newFreeSet(last uint64) *freeSet {
	s := &freeSet{root: &freeNode{}}
	for last>>s.shift > nodeMask {
		s.shift += nodeBits
	}
	// What is beyond last is full from the start.
	n := s.root
	for shift := s.shift; ; shift -= nodeBits {
		i := last >> shift & nodeMask
		if i < nodeMask {
			n.full = allFull << (i + 1)
		}
		if shift == 0 || last&(1<<shift-1) == 1<<shift-1 {
			return s
		}
		n = n.kid(i)
	}
}

// kid returns the child i, making it if it is not there.
func (n *freeNode) kid(i uint64) *freeNode {
	if n.kids == nil {
		n.kids = new([64]*freeNode)
	}
	if n.kids[i] == nil {
		n.kids[i] = &freeNode{}
		if n.full>>i&1 == 1 {
			n.kids[i].full = allFull
		}
	}
	return n.kids[i]
}

// lowest returns the lowest free number.
func (s *freeSet) lowest() (uint64, bool) {
	n, at := s.root, uint64(0)
	for shift := s.shift; ; shift -= nodeBits {
		if n.full == allFull {
			return 0, false
		}
		i := uint64(bits.TrailingZeros64(^n.full))
		at |= i << shift
		if shift == 0 || n.kids == nil || n.kids[i] == nil {
			return at, true
		}
		n = n.kids[i]
	}
}

// has reports whether the number is free.
func (s *freeSet) has(v uint64) bool {
	n := s.root
	for shift := s.shift; ; shift -= nodeBits {
		i := v >> shift & nodeMask
		if n.full>>i&1 == 1 {
			return false
		}
		if shift == 0 || n.kids == nil || n.kids[i] == nil {
			return true
		}
		n = n.kids[i]
	}
}

// take makes the number not free.
func (s *freeSet) take(v uint64) {
	var path [11]*freeNode
	n, depth := s.root, 0
	for shift := s.shift; shift > 0; shift -= nodeBits {
		path[depth] = n
		depth++
		n = n.kid(v >> shift & nodeMask)
	}
	n.full |= 1 << (v & nodeMask)
	for shift := uint(nodeBits); n.full == allFull && depth > 0; shift += nodeBits {
		depth--
		n = path[depth]
		n.full |= 1 << (v >> shift & nodeMask)
	}
}

// give makes the number free.
func (s *freeSet) give(v uint64) {
	n := s.root
	for shift := s.shift; shift > 0; shift -= nodeBits {
		i := v >> shift & nodeMask
		kid := n.kid(i)
		n.full &^= 1 << i
		n = kid
	}
	n.full &^= 1 << (v & nodeMask)
}

// takeRun makes all numbers from first to last not free and returns how many
// were free, at most 2^64-1.
func (s *freeSet) takeRun(first, last uint64) uint64 {
	return s.root.takeRun(s.shift, first, last)
}

// takeRun takes first to last, counted from the node's own first number.
func (n *freeNode) takeRun(shift uint, first, last uint64) (taken uint64) {
	for i := first >> shift & nodeMask; i <= last>>shift&nodeMask; i++ {
		if n.full>>i&1 == 1 {
			continue
		}
		from, to := uint64(0), uint64(1)<<shift-1
		if i == first>>shift&nodeMask {
			from = first & to
		}
		if i == last>>shift&nodeMask {
			to = last & to
		}
		whole := from == 0 && to == 1<<shift-1
		if shift == 0 || whole && (n.kids == nil || n.kids[i] == nil) {
			taken += to - from + 1
			n.full |= 1 << i
			continue
		}
		kid := n.kid(i)
		taken += kid.takeRun(shift-nodeBits, from, to)
		if kid.full == allFull {
			n.full |= 1 << i
		}
	}
	return taken
}
