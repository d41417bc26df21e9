package inventory

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// Overcommit says how much of what nodes have may be promised, in whole
// percent: 150 promises half as much again, 80 keeps a fifth back. 0 means 100.
// What a tenant asks for is never scaled, so a price or a limit computed from a
// demand does not depend on it. Cards cannot be over-committed.
type Overcommit struct {
	CPUPercent        uint32 `json:"cpu_percent,omitempty"`
	MemoryPercent     uint32 `json:"memory_percent,omitempty"`
	EphemeralPercent  uint32 `json:"ephemeral_percent,omitempty"`
	PersistentPercent uint32 `json:"persistent_percent,omitempty"`
}

// MaxOvercommitPercent bounds each factor of [Overcommit].
const MaxOvercommitPercent = 10_000

// validate checks the bounds.
func (o Overcommit) validate() error {
	for _, p := range []uint32{o.CPUPercent, o.MemoryPercent, o.EphemeralPercent, o.PersistentPercent} {
		if p > MaxOvercommitPercent {
			return fmt.Errorf("inventory: over-commit %d %%: %w: at most %d %%", p, market.ErrInvalid, MaxOvercommitPercent)
		}
	}
	return nil
}

// scale returns n * percent / 100, rounded down, at most the largest number.
func scale(n uint64, percent uint32) uint64 {
	if percent == 0 || percent == 100 {
		return n
	}
	hi, lo := bits.Mul64(n, uint64(percent))
	if hi >= 100 {
		return ^uint64(0)
	}
	q, _ := bits.Div64(hi, lo, 100)
	return q
}

// amounts are the resources that every node has, side by side for the scan.
type amounts struct{ cpu, mem, eph uint64 }

// card is one card of one node.
type card struct {
	node, kind int
	gpu        GPU
}

// layout is what does not change between two [Ledger.SetNodes]: nodes, the
// numbering of classes and kinds of cards, and how much may be promised. It is
// immutable and shared by snapshots.
type layout struct {
	nodes   []Node         // sorted by name
	index   map[string]int // node name to place in nodes
	classes []string       // sorted
	kinds   []gpuKind      // sorted by compareKinds
	caps    []amounts      // per node, over-commit applied
	// classCap has the bytes of node n, class c at n*len(classes)+c.
	classCap []uint64
	cards    []card // sorted by node, then ID
	// cardBase[n] is where the cards of node n begin; one more entry at the end.
	cardBase []int
	// gpuNode tells nodes with cards.
	gpuNode []bool
}

// newLayout copies and numbers the nodes.
func newLayout(nodes []Node, o Overcommit) (*layout, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := &layout{nodes: make([]Node, 0, len(nodes)), index: make(map[string]int, len(nodes))}
	for _, n := range nodes {
		l.nodes = append(l.nodes, n.clone())
	}
	slices.SortFunc(l.nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	for i, n := range l.nodes {
		if _, twice := l.index[n.Name]; twice || n.Name == "" {
			return nil, fmt.Errorf("inventory: node %q: %w: names must be unique and not empty", n.Name, market.ErrInvalid)
		}
		l.index[n.Name] = i
	}
	l.number()
	for i := range l.nodes {
		if err := l.fill(i, o); err != nil {
			return nil, err
		}
	}
	l.cardBase = append(l.cardBase, len(l.cards))
	return l, nil
}

// number collects the classes and kinds that occur.
func (l *layout) number() {
	for _, n := range l.nodes {
		for class := range n.Allocatable.PersistentBytes {
			l.classes = append(l.classes, class)
		}
		for _, g := range n.Allocatable.GPUs {
			l.kinds = append(l.kinds, kindOf(g))
		}
	}
	slices.Sort(l.classes)
	l.classes = slices.Compact(l.classes)
	slices.SortFunc(l.kinds, compareKinds)
	l.kinds = slices.Compact(l.kinds)
	l.caps = make([]amounts, len(l.nodes))
	l.classCap = make([]uint64, len(l.nodes)*len(l.classes))
	l.gpuNode = make([]bool, len(l.nodes))
}

// fill enters the capacity of node i.
func (l *layout) fill(i int, o Overcommit) error {
	q := &l.nodes[i].Allocatable
	l.caps[i] = amounts{
		cpu: scale(q.MilliCores, o.CPUPercent),
		mem: scale(q.MemoryBytes, o.MemoryPercent),
		eph: scale(q.EphemeralBytes, o.EphemeralPercent),
	}
	for class, n := range q.PersistentBytes {
		c, _ := slices.BinarySearch(l.classes, class)
		l.classCap[i*len(l.classes)+c] = scale(n, o.PersistentPercent)
	}
	l.cardBase = append(l.cardBase, len(l.cards))
	slices.SortFunc(q.GPUs, func(a, b GPU) int { return cmp.Compare(a.ID, b.ID) })
	for j, g := range q.GPUs {
		if j > 0 && g.ID == q.GPUs[j-1].ID {
			return fmt.Errorf("inventory: node %q: card %q: %w: named twice", l.nodes[i].Name, g.ID, market.ErrInvalid)
		}
		k, _ := slices.BinarySearchFunc(l.kinds, kindOf(g), compareKinds)
		l.cards = append(l.cards, card{node: i, kind: k, gpu: g})
		l.gpuNode[i] = true
	}
	return nil
}

// card finds a card by its ID, -1 when the node has no such card.
func (l *layout) card(node int, id string) int {
	for c := l.cardBase[node]; c < l.cardBase[node+1]; c++ {
		if l.cards[c].gpu.ID == id {
			return c
		}
	}
	return -1
}
