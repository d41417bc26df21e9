package inventory_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

const gi = 1 << 30

// node makes a node with cores, gibibytes of memory and 100 Gi of disk.
func node(name string, cores, memGi uint64, gpus ...inventory.GPU) inventory.Node {
	return inventory.Node{
		Name: name, Architecture: "amd64",
		Allocatable: inventory.Quantities{MilliCores: cores * 1000, MemoryBytes: memGi * gi, EphemeralBytes: 100 * gi, GPUs: gpus},
	}
}

func gpu(id, model string, memGi uint64, iface string) inventory.GPU {
	return inventory.GPU{ID: id, Vendor: "nvidia", Model: model, MemoryBytes: memGi * gi, Interface: iface}
}

// unit makes a resource unit.
func unit(id, count uint32, cores, memGi uint64, vols ...market.Volume) market.ResourceUnit {
	return market.ResourceUnit{
		Resources: market.Resources{
			ID: id, CPU: market.CPU{MilliCores: cores * 1000}, Memory: market.Memory{Bytes: memGi * gi}, Storage: vols,
		},
		Count: count,
	}
}

func withGPU(u market.ResourceUnit, n uint64, keys ...string) market.ResourceUnit {
	u.GPU.Units = n
	for _, k := range keys {
		u.GPU.Attributes = append(u.GPU.Attributes, market.Attribute{Key: k, Value: "true"})
	}
	return u
}

func volume(memGi uint64, class, persistent string) market.Volume {
	v := market.Volume{Name: "v" + class, Bytes: memGi * gi}
	if class != "" {
		v.Attributes = append(v.Attributes, market.Attribute{Key: "class", Value: class})
	}
	if persistent != "" {
		v.Attributes = append(v.Attributes, market.Attribute{Key: "persistent", Value: persistent})
	}
	return v
}

func group(units ...market.ResourceUnit) market.GroupSpec {
	return market.GroupSpec{Name: "g", Units: units}
}

func ledger(tb testing.TB, nodes ...inventory.Node) *inventory.Ledger {
	tb.Helper()
	l, err := inventory.New(nodes, inventory.Overcommit{})
	require.NoError(tb, err)
	return l
}

func withArch(u market.ResourceUnit, arch string) market.ResourceUnit {
	u.CPU.Attributes = market.Attributes{{Key: "arch", Value: arch}}
	return u
}

func codes(rs []inventory.Reason) []inventory.Code {
	var out []inventory.Code
	for _, r := range rs {
		out = append(out, r.Code)
	}
	return out
}

func TestPlacement(t *testing.T) {
	disk := node("d", 8, 16)
	disk.Allocatable.PersistentBytes = map[string]uint64{"beta2": 50 * gi, "default": 10 * gi}
	arm := node("r", 8, 16)
	arm.Architecture = "arm64"
	h100, a100 := gpu("0", "h100", 80, "sxm"), gpu("1", "a100", 80, "pcie")
	two := []inventory.Node{node("a", 4, 16), node("b", 2, 16)}
	cards := []inventory.Node{node("g", 16, 64, h100, a100)}
	rows := map[string]struct {
		nodes []inventory.Node
		spec  market.GroupSpec
		want  []inventory.Code
	}{
		"the large unit listed first finds room":              {two, group(unit(1, 1, 3, 1), unit(2, 1, 2, 1)), nil},
		"the large unit listed last finds room":               {two, group(unit(1, 1, 2, 1), unit(2, 1, 3, 1)), nil},
		"replicas spread over nodes":                          {two, group(unit(1, 6, 1, 1)), nil},
		"more replicas than cores are refused":                {two, group(unit(1, 7, 1, 1)), []inventory.Code{inventory.InsufficientCPU}},
		"a replica larger than any node is refused":           {two, group(unit(1, 1, 5, 1)), []inventory.Code{inventory.InsufficientCPU}},
		"every short resource is named":                       {two, group(unit(1, 1, 5, 99)), []inventory.Code{inventory.InsufficientCPU, inventory.InsufficientMemory}},
		"units that fit alone but not together are refused":   {two, group(unit(1, 1, 4, 1), unit(2, 1, 3, 1)), []inventory.Code{inventory.InsufficientCPU}},
		"enough in all but in pieces is fragmented":           {[]inventory.Node{node("a", 3, 16), node("b", 3, 16)}, group(unit(1, 2, 2, 1), unit(2, 1, 2, 1)), []inventory.Code{inventory.Fragmented}},
		"three of two cores on four and two fit":              {two, group(unit(1, 3, 2, 1)), nil},
		"two of three cores on four and two are refused":      {two, group(unit(1, 2, 3, 1)), []inventory.Code{inventory.InsufficientCPU}},
		"a unit without replicas needs nothing":               {two, group(unit(1, 0, 99, 99)), nil},
		"an empty group needs nothing":                        {two, group(), nil},
		"no nodes is said":                                    {nil, group(unit(1, 1, 1, 1)), []inventory.Code{inventory.NoNodes}},
		"a volume without attributes is ephemeral":            {two, group(unit(1, 2, 1, 1, volume(100, "", ""))), nil},
		"ephemeral storage runs out":                          {two, group(unit(1, 3, 1, 1, volume(100, "", ""))), []inventory.Code{inventory.InsufficientEphemeral}},
		"a ram volume is memory":                              {two, group(unit(1, 1, 1, 1, volume(16, "ram", "false"))), []inventory.Code{inventory.InsufficientMemory}},
		"a ram volume beside memory fits":                     {two, group(unit(1, 1, 1, 1, volume(15, "ram", "false"))), nil},
		"a class is taken where it is":                        {[]inventory.Node{disk, node("e", 8, 16)}, group(unit(1, 1, 1, 1, volume(50, "beta2", "true"))), nil},
		"a class runs out":                                    {[]inventory.Node{disk}, group(unit(1, 2, 1, 1, volume(30, "beta2", "true"))), []inventory.Code{inventory.InsufficientPersistent}},
		"persistent without class is the default class":       {[]inventory.Node{disk}, group(unit(1, 1, 1, 1, volume(11, "", "true"))), []inventory.Code{inventory.InsufficientPersistent}},
		"a class nobody has is said":                          {two, group(unit(1, 1, 1, 1, volume(1, "beta3", "true"))), []inventory.Code{inventory.NoStorageClass}},
		"an architecture is honoured":                         {[]inventory.Node{node("a", 8, 16), arm}, group(withArch(unit(1, 1, 8, 1), "arm64")), nil},
		"an architecture by its other name is honoured":       {[]inventory.Node{arm}, group(withArch(unit(1, 1, 8, 1), "aarch64")), nil},
		"an architecture nobody has is said":                  {two, group(withArch(unit(1, 1, 1, 1), "arm64")), []inventory.Code{inventory.NoArchitecture}},
		"a model is matched":                                  {cards, group(withGPU(unit(1, 1, 1, 1), 1, "vendor/nvidia/model/h100")), nil},
		"a model with memory and interface is matched":        {cards, group(withGPU(unit(1, 1, 1, 1), 1, "vendor/nvidia/model/h100/ram/80Gi/interface/sxm")), nil},
		"a model with other memory is not":                    {cards, group(withGPU(unit(1, 1, 1, 1), 1, "vendor/nvidia/model/h100/ram/40Gi")), []inventory.Code{inventory.NoGPU}},
		"a model with other interface is not":                 {cards, group(withGPU(unit(1, 1, 1, 1), 1, "vendor/nvidia/model/h100/interface/pcie")), []inventory.Code{inventory.NoGPU}},
		"any of several patterns will do":                     {cards, group(withGPU(unit(1, 2, 1, 1), 1, "vendor/nvidia/model/h100", "vendor/nvidia/model/a100")), nil},
		"a wildcard matches every model":                      {cards, group(withGPU(unit(1, 2, 1, 1), 1, "vendor/nvidia/model/*")), nil},
		"another vendor is not matched":                       {cards, group(withGPU(unit(1, 1, 1, 1), 1, "vendor/amd/model/*")), []inventory.Code{inventory.NoGPU}},
		"no attribute is any card":                            {cards, group(withGPU(unit(1, 2, 1, 1), 1)), nil},
		"one card is not promised twice in a group":           {cards, group(withGPU(unit(1, 2, 1, 1), 1, "vendor/nvidia/model/h100")), []inventory.Code{inventory.InsufficientGPU}},
		"a replica does not mix kinds of cards":               {cards, group(withGPU(unit(1, 1, 1, 1), 2, "vendor/nvidia/model/*")), []inventory.Code{inventory.InsufficientGPU}},
		"a wildcard leaves the card another unit names":       {cards, group(withGPU(unit(1, 1, 1, 1), 1, "vendor/nvidia/model/*"), withGPU(unit(2, 1, 1, 1), 1, "vendor/nvidia/model/a100")), nil},
		"a malformed pattern is invalid":                      {cards, group(withGPU(unit(1, 1, 1, 1), 1, "model/h100")), []inventory.Code{inventory.Invalid}},
		"two units of one ID are invalid":                     {two, group(unit(1, 1, 1, 1), unit(1, 1, 1, 1)), []inventory.Code{inventory.Invalid}},
		"too many replicas are invalid":                       {two, group(unit(1, 10_001, 0, 0)), []inventory.Code{inventory.Invalid}},
		"a card on a node without memory does not narrow it":  {[]inventory.Node{node("a", 8, 1, h100), node("b", 8, 64, a100)}, group(withGPU(unit(1, 1, 1, 8), 1, "vendor/nvidia/model/*")), nil},
		"memory and cores on different nodes do not add up":   {[]inventory.Node{node("a", 8, 1), node("b", 1, 64)}, group(unit(1, 1, 8, 8)), []inventory.Code{inventory.Fragmented}},
		"reference table: two large on four nodes":            {reference(), milli(2, 100_000), nil},
		"reference table: four of the smallest":               {reference(), milli(4, 68_780), nil},
		"reference table: four just above":                    {reference(), milli(4, 70_000), []inventory.Code{inventory.InsufficientCPU}},
		"reference table: three large":                        {reference(), milli(3, 100_000), []inventory.Code{inventory.InsufficientCPU}},
		"reference table: two of the largest":                 {reference(), milli(2, 119_525), []inventory.Code{inventory.InsufficientCPU}},
		"a wildcard takes the card with less memory":          {[]inventory.Node{node("a", 8, 64, h100), node("b", 8, 64, gpu("0", "t4", 16, "pcie"))}, group(withGPU(unit(1, 1, 1, 1), 1), withGPU(unit(2, 1, 1, 1), 1, "vendor/nvidia/model/h100")), nil},
		"work without cards stays off the node with cards":    {[]inventory.Node{node("a", 4, 64, h100), node("b", 8, 64)}, group(unit(1, 1, 8, 1), withGPU(unit(2, 1, 4, 1), 1)), nil},
		"a placement that greed misses is found by searching": {[]inventory.Node{node("a", 6, 64), node("b", 6, 64)}, group(unit(1, 2, 3, 1), unit(2, 3, 2, 1)), nil},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			l := ledger(t, row.nodes...)
			p, reasons := l.Reserve("k", row.spec)
			require.Equal(t, row.want, codes(reasons), "%v", reasons)
			if row.want == nil {
				assert.Len(t, p.Assignments, int(row.spec.Totals().Replicas))
			} else {
				assert.Empty(t, l.Keys())
				assert.Empty(t, p.Assignments)
			}
		})
	}
}

// reference is the node table of the reference provider's tests.
func reference() []inventory.Node {
	var out []inventory.Node
	for i, m := range []uint64{68_780, 68_800, 119_525, 119_495} {
		n := node(string(rune('a'+i)), 0, 512)
		n.Allocatable.MilliCores = m
		out = append(out, n)
	}
	return out
}

func milli(count uint32, m uint64) market.GroupSpec {
	u := unit(1, count, 0, 1)
	u.CPU.MilliCores = m
	return group(u)
}

func TestOneCardIsNotPromisedToTwoReservations(t *testing.T) {
	l := ledger(t, node("g", 16, 64, gpu("0", "h100", 80, "sxm"), gpu("1", "a100", 80, "pcie")))
	want := group(withGPU(unit(1, 1, 1, 1), 1, "vendor/nvidia/model/h100"))
	p, reasons := l.Reserve("first", want)
	require.Empty(t, reasons)
	assert.Equal(t, "0", p.Assignments[0].Resources.GPUs[0].ID)
	_, reasons = l.Reserve("second", want)
	assert.Equal(t, []inventory.Code{inventory.InsufficientGPU}, codes(reasons))
	require.True(t, l.Release("first"))
	_, reasons = l.Reserve("second", want)
	assert.Empty(t, reasons)
}

func TestReserveAgainChangesNothing(t *testing.T) {
	l := ledger(t, node("a", 4, 16), node("b", 4, 16))
	spec := group(unit(1, 3, 1, 1), unit(2, 1, 2, 1))
	first, reasons := l.Reserve("k", spec)
	require.Empty(t, reasons)
	before := l.Totals()
	second, reasons := l.Reserve("k", spec)
	require.Empty(t, reasons)
	assert.Equal(t, first, second)
	assert.Equal(t, before, l.Totals())
}

func TestReserveOfMoreKeepsWhatIsThere(t *testing.T) {
	l := ledger(t, node("a", 4, 16), node("b", 4, 16))
	first, _ := l.Reserve("k", group(unit(1, 2, 1, 1)))
	grown, reasons := l.Reserve("k", group(unit(1, 5, 1, 1)))
	require.Empty(t, reasons)
	assert.Subset(t, grown.Assignments, first.Assignments)
	shrunk, reasons := l.Reserve("k", group(unit(1, 1, 1, 1)))
	require.Empty(t, reasons)
	assert.Len(t, shrunk.Assignments, 1)
	assert.EqualValues(t, 1000, l.Totals().Reserved.MilliCores)
}

func TestReserveThatNoLongerFitsKeepsTheOldReservation(t *testing.T) {
	l := ledger(t, node("a", 4, 16))
	first, _ := l.Reserve("k", group(unit(1, 2, 1, 1)))
	_, reasons := l.Reserve("k", group(unit(1, 9, 1, 1)))
	require.NotEmpty(t, reasons)
	still, ok := l.Placement("k")
	require.True(t, ok)
	assert.Equal(t, first, still)
	assert.EqualValues(t, 2000, l.Totals().Reserved.MilliCores)
}

func TestReleaseTwiceIsHarmless(t *testing.T) {
	l := ledger(t, node("a", 4, 16))
	l.Reserve("k", group(unit(1, 2, 1, 1)))
	assert.True(t, l.Release("k"))
	assert.False(t, l.Release("k"))
	assert.False(t, l.Release("never"))
	assert.EqualValues(t, 4000, l.Totals().Available.MilliCores)
}

func TestOvercommitScalesWhatMayBePromised(t *testing.T) {
	for percent, most := range map[uint32]int{0: 4, 50: 2, 80: 3, 100: 4, 150: 6, 199: 7, 200: 8} {
		l, err := inventory.New([]inventory.Node{node("a", 4, 64)}, inventory.Overcommit{CPUPercent: percent})
		require.NoError(t, err)
		n := 0
		for ; n < 20; n++ {
			if _, reasons := l.Reserve(string(rune('a'+n)), group(unit(1, 1, 1, 1))); len(reasons) > 0 {
				break
			}
		}
		assert.Equal(t, most, n, "at %d %%", percent)
	}
}

func TestFaultsOfNodesAreRefused(t *testing.T) {
	rows := map[string][]inventory.Node{
		"two nodes of one name": {node("a", 1, 1), node("a", 1, 1)},
		"a node without a name": {node("", 1, 1)},
		"two cards of one ID":   {node("a", 1, 1, gpu("0", "t4", 16, ""), gpu("0", "t4", 16, ""))},
	}
	for name, nodes := range rows {
		t.Run(name, func(t *testing.T) {
			_, err := inventory.New(nodes, inventory.Overcommit{})
			require.ErrorIs(t, err, market.ErrInvalid)
			l := ledger(t, node("z", 1, 1))
			require.ErrorIs(t, l.SetNodes(nodes), market.ErrInvalid)
			assert.Len(t, l.Available(), 1)
		})
	}
	_, err := inventory.New(nil, inventory.Overcommit{CPUPercent: 10_001})
	require.ErrorIs(t, err, market.ErrInvalid)
}

func TestReservationsOnALostNodeAreDisplacedAndFindANewOne(t *testing.T) {
	l := ledger(t, node("a", 4, 16), node("b", 2, 16))
	spec := group(unit(1, 1, 2, 1))
	p, _ := l.Reserve("k", spec)
	require.Equal(t, "b", p.Assignments[0].Node)
	require.NoError(t, l.SetNodes([]inventory.Node{node("a", 4, 16)}))
	assert.Equal(t, []string{"k"}, l.Displaced())
	p, reasons := l.Reserve("k", spec)
	require.Empty(t, reasons)
	assert.Equal(t, "a", p.Assignments[0].Node)
	assert.Empty(t, l.Displaced())
}

func TestAShrunkNodePromisesNoMoreAndRecovers(t *testing.T) {
	l := ledger(t, node("a", 4, 16))
	l.Reserve("k", group(unit(1, 3, 1, 1)))
	require.NoError(t, l.SetNodes([]inventory.Node{node("a", 2, 16)}))
	assert.Equal(t, []string{"k"}, l.Displaced())
	assert.Zero(t, l.Totals().Available.MilliCores)
	_, reasons := l.Reserve("other", group(unit(1, 1, 1, 1)))
	assert.NotEmpty(t, reasons)
	l.Release("k")
	assert.EqualValues(t, 2000, l.Totals().Available.MilliCores)
}

func TestExportSurvivesJSONAndImport(t *testing.T) {
	n := node("a", 8, 64, gpu("0", "h100", 80, "sxm"))
	n.Allocatable.PersistentBytes = map[string]uint64{"beta2": 50 * gi}
	l := ledger(t, n, node("b", 4, 16))
	l.Reserve("one", group(withGPU(unit(1, 1, 1, 1, volume(5, "beta2", "true")), 1)))
	l.Reserve("two", group(unit(1, 2, 2, 1)))
	text, err := json.Marshal(l.Export())
	require.NoError(t, err)
	var back []inventory.Reservation
	require.NoError(t, json.Unmarshal(text, &back))

	fresh := ledger(t, node("b", 4, 16), n)
	require.NoError(t, fresh.Import(back))
	assert.Equal(t, l.Export(), fresh.Export())
	assert.Equal(t, l.Totals(), fresh.Totals())
	assert.Equal(t, l.Available(), fresh.Available())

	require.ErrorIs(t, fresh.Import(append(back, back[0])), market.ErrInvalid)
	back[1].Placement = back[0].Placement
	require.ErrorIs(t, fresh.Import(back), market.ErrInvalid, "one card twice")
	assert.Equal(t, l.Totals(), fresh.Totals(), "a refused import changes nothing")
}

func TestASnapshotDoesNotChange(t *testing.T) {
	l := ledger(t, node("a", 4, 16))
	s := l.Snapshot()
	l.Reserve("k", group(unit(1, 4, 1, 1)))
	assert.EqualValues(t, 4000, s.Totals().Available.MilliCores)
	_, reasons := s.Place(group(unit(1, 4, 1, 1)))
	assert.Empty(t, reasons)
	_, reasons = l.Snapshot().Place(group(unit(1, 1, 1, 1)))
	assert.NotEmpty(t, reasons)
	_, reasons = inventory.Snapshot{}.Place(group())
	assert.Equal(t, []inventory.Code{inventory.NoNodes}, codes(reasons))
}

func TestWhatTheLedgerReturnsIsACopy(t *testing.T) {
	l := ledger(t, node("a", 4, 16, gpu("0", "t4", 16, "")))
	p, _ := l.Reserve("k", group(withGPU(unit(1, 1, 1, 1), 1)))
	p.Assignments[0].Node, p.Assignments[0].Resources.GPUs[0].ID = "x", "x"
	got, _ := l.Placement("k")
	assert.Equal(t, "a", got.Assignments[0].Node)
	assert.Equal(t, "0", got.Assignments[0].Resources.GPUs[0].ID)
}
