package inventory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

func oneUnit(u market.ResourceUnit) market.GroupSpec {
	return market.GroupSpec{Units: []market.ResourceUnit{u}}
}

func TestTheLedgerFollowsAClusterThatChoosesNodes(t *testing.T) {
	l := ledger(t, node("a", 4, 8), node("b", 4, 8))
	for _, key := range []string{"one", "two"} {
		p, reasons := l.Reserve(key, oneUnit(unit(7, 1, 2, 1)))
		require.Empty(t, reasons)
		require.Equal(t, "a", p.Assignments[0].Node, "the ledger fills one node")
	}
	whole := oneUnit(unit(1, 1, 4, 1))
	_, reasons := l.Snapshot().Place(whole)
	require.Empty(t, reasons, "so that another has room")

	before := l.Snapshot()
	require.True(t, l.Settle("two", []inventory.Seat{{Unit: 7, Node: "b"}})) // the cluster spreads
	p, _ := l.Placement("two")
	assert.Equal(t, "b", p.Assignments[0].Node)
	_, reasons = l.Snapshot().Place(whole)
	assert.Equal(t, []inventory.Code{inventory.InsufficientCPU}, codes(reasons), "there is no such room")
	_, reasons = before.Place(whole)
	assert.Empty(t, reasons, "a snapshot does not change")
	again, reasons := l.Reserve("two", oneUnit(unit(7, 1, 2, 1)))
	require.Empty(t, reasons)
	assert.Equal(t, p, again, "and there it stays")

	for name, seats := range map[string][]inventory.Seat{
		"nothing runs":     nil,
		"as it is":         {{Unit: 7, Node: "b"}},
		"another unit":     {{Unit: 8, Node: "a"}},
		"a node not known": {{Unit: 7, Node: "c"}},
		"one too many":     {{Unit: 7, Node: "b"}, {Unit: 7, Node: "a"}},
	} {
		assert.False(t, l.Settle("two", seats), name)
		got, _ := l.Placement("two")
		assert.Equal(t, p, got, name)
	}
	assert.False(t, l.Settle("three", []inventory.Seat{{Unit: 7, Node: "b"}}), "nothing is promised under that key")
}

func TestAReplicaThatMovesGetsCardsOfItsKind(t *testing.T) {
	gpus := func(name string, models ...string) inventory.Node {
		n := node(name, 8, 8)
		for i, m := range models {
			n.Allocatable.GPUs = append(n.Allocatable.GPUs, gpu(fmt.Sprint(name, i), m, 16, ""))
		}
		return n
	}
	l := ledger(t, gpus("a", "t4", "t4"), gpus("b", "h100", "t4", "t4"), gpus("c", "h100"))
	spec := oneUnit(withGPU(unit(1, 1, 1, 1), 2, "vendor/nvidia/model/t4"))
	p, reasons := l.Reserve("x", spec)
	require.Empty(t, reasons)
	require.Equal(t, "a", p.Assignments[0].Node)
	require.False(t, l.Settle("x", []inventory.Seat{{Unit: 1, Node: "c"}}), "c has none")
	require.True(t, l.Settle("x", []inventory.Seat{{Unit: 1, Node: "b"}}))
	p, _ = l.Placement("x")
	assert.Equal(t, []string{"b1", "b2"}, []string{p.Assignments[0].Resources.GPUs[0].ID, p.Assignments[0].Resources.GPUs[1].ID})
	require.NoError(t, l.Import(l.Export()))
	_, reasons = l.Reserve("y", spec)
	require.Empty(t, reasons, "those of a are free again")
	assert.False(t, l.Settle("y", []inventory.Seat{{Unit: 1, Node: "b"}}), "those of b are not")
}

func TestPropertyASettledLedgerPromisesTheSameAndNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := rapidWorld(t)
		nodes := w.nodes(4)
		l, err := inventory.New(nodes, inventory.Overcommit{})
		require.NoError(t, err)
		specs := map[string]market.GroupSpec{}
		for i := range 4 {
			key, spec := fmt.Sprint(i), w.group(2, 3)
			if _, reasons := l.Reserve(key, spec); len(reasons) == 0 {
				specs[key] = spec
			}
		}
		for range 8 {
			keys := l.Keys()
			if len(keys) == 0 {
				return
			}
			key := keys[w.intn(len(keys))]
			old, _ := l.Placement(key)
			var seats []inventory.Seat
			for range w.intn(5) {
				seats = append(seats, inventory.Seat{Unit: uint32(1 + w.intn(2)), Node: w.pick("a", "b", "c", "d")})
			}
			moved := l.Settle(key, seats)
			now, _ := l.Placement(key)
			checkPromises(t, nodes, l, 100)
			checkServes(t, specs[key], now)
			checkSettled(t, l, old, now, seats, moved)
		}
	})
}

// checkSettled checks that replicas moved to seats alone, that none left its seat,
// and that none stayed away from a seat with room.
func checkSettled(t *rapid.T, l *inventory.Ledger, old, now inventory.Placement, seats []inventory.Seat, moved bool) {
	open := map[inventory.Seat]int{}
	for _, s := range seats {
		open[s]++
	}
	take := func(a inventory.Assignment) bool {
		s := inventory.Seat{Unit: a.Unit, Node: a.Node}
		open[s]--
		return open[s] >= 0
	}
	var changed, astray []inventory.Assignment
	for i, a := range now.Assignments {
		if a.Node == old.Assignments[i].Node {
			require.Equal(t, old.Assignments[i], a)
			continue
		}
		changed = append(changed, a)
	}
	require.Equal(t, len(changed) > 0, moved)
	for i, a := range now.Assignments {
		if a.Node == old.Assignments[i].Node && !take(a) {
			astray = append(astray, a)
			open[inventory.Seat{Unit: a.Unit, Node: a.Node}]++
		}
	}
	for _, a := range changed {
		require.True(t, take(a), "%s moved to where it does not run", a.Node)
	}
	for _, a := range astray {
		for s, n := range open {
			if n > 0 && s.Unit == a.Unit {
				require.False(t, fits(l, s.Node, a.Resources), "unit %d could be on %s", a.Unit, s.Node)
			}
		}
	}
}

// fits reports whether a node has room, from what the ledger says of it.
func fits(l *inventory.Ledger, name string, q inventory.Quantities) bool {
	for _, n := range l.Available() {
		if n.Name != name {
			continue
		}
		has := n.Available
		for class, bytes := range q.PersistentBytes {
			if bytes > has.PersistentBytes[class] {
				return false
			}
		}
		for _, g := range q.GPUs {
			i := slices.IndexFunc(has.GPUs, func(h inventory.GPU) bool {
				return strings.EqualFold(h.Model, g.Model) && h.MemoryBytes == g.MemoryBytes && h.Interface == g.Interface
			})
			if i < 0 {
				return false
			}
			has.GPUs = slices.Delete(slices.Clone(has.GPUs), i, i+1)
		}
		return q.MilliCores <= has.MilliCores && q.MemoryBytes <= has.MemoryBytes && q.EphemeralBytes <= has.EphemeralBytes
	}
	return false
}
