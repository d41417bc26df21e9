package sdl

import (
	"fmt"
	"math/bits"
	"strings"
)

// groupTotals is what all replicas of a placement need. Sums stop at the
// largest number.
type groupTotals struct {
	used                            bool
	units                           int
	milliCores, memory, gpu, volume uint64
	// tee is the kind that a service asks for, teeService which one.
	tee, teeService string
	// incomplete is set when a profile lacks something that was reported.
	incomplete bool
	profiles   map[string]bool
}

func addTimes(sum *uint64, count uint32, each uint64) {
	hi, lo := bits.Mul64(uint64(count), each)
	total, carry := bits.Add64(*sum, lo, 0)
	if hi|carry != 0 {
		total = ^uint64(0)
	}
	*sum = total
}

// accumulate adds a service to the totals of its placement and checks its TEE.
func (c *checker) accumulate(svc *Service, p *ServicePlacement, pi int, cp *ComputeProfile) {
	t := &c.totals[pi]
	if c.doc.Dialect() == Dialect20 {
		t.units++
	} else if !t.profiles[cp.Name] {
		if t.profiles == nil {
			t.profiles = make(map[string]bool)
		}
		t.profiles[cp.Name] = true
		t.units++
	}
	if cp.CPU == nil || cp.Memory == nil {
		t.incomplete = true
	} else {
		addTimes(&t.milliCores, p.Count, uint64(cp.CPU.MilliCores))
		addTimes(&t.memory, p.Count, cp.Memory.Bytes)
	}
	if cp.GPU != nil {
		addTimes(&t.gpu, p.Count, cp.GPU.Units)
	}
	for i := range cp.Storage {
		addTimes(&t.volume, p.Count, cp.Storage[i].Bytes)
	}
	if svc != nil && svc.Params != nil && isWord(svc.Params.TEE, teeNames) {
		c.tee(svc, cp, pi)
	}
}

func (c *checker) tee(svc *Service, cp *ComputeProfile, pi int) {
	t, kind := &c.totals[pi], svc.Params.TEE
	pos, path := c.posOf(svc.Params.node, "tee", svc.Pos), joinPath("services", svc.Name, "params", "tee")
	if kind == "cpu-gpu" && (cp.GPU == nil || cp.GPU.Units == 0) {
		c.add(problem{rule: ruleTEENeedsGPU, pos: pos, path: path, msg: "cpu-gpu needs a GPU, but profile " + quote(cp.Name) + " has none", suggestion: "cpu"})
	}
	if t.tee != "" && t.tee != kind {
		c.add(problem{
			rule: ruleTEEConflict, pos: pos, path: path,
			msg: fmt.Sprintf("%s here, but service %s of the same placement has %s", kind, quote(t.teeService), t.tee), suggestion: t.tee,
		})
	}
	if t.tee != "" {
		return
	}
	t.tee, t.teeService = kind, svc.Name
	if _, dup := c.doc.Placement[pi].Attributes.Get(teeAttribute); dup {
		pl := &c.doc.Placement[pi]
		c.add(problem{
			rule: ruleTEEAttribute, lax: true, pos: c.posIn(pl.node, "attributes", teeAttribute, pl.Pos),
			path: joinPath("profiles", "placement", pl.Name, "attributes", teeAttribute), msg: "params.tee adds this attribute a second time",
		})
	}
}

// teeAttribute is what params.tee adds to the requirements of the placement.
const teeAttribute = "tee/type"

// groups checks the totals and the number of groups.
func (c *checker) groups() {
	used := 0
	for i := range c.totals {
		if !c.totals[i].used {
			continue
		}
		used++
		c.group(&c.doc.Placement[i], &c.totals[i])
	}
	if used > MaxGroups {
		c.add(problem{
			rule: ruleGroupsLimit, lax: true, pos: c.rootPos("deployment"), path: "deployment", allowed: rangeText(1, MaxGroups),
			msg: fmt.Sprintf("%d placements in use; the market names a limit that the reference does not enforce", used),
		})
	}
}

func (c *checker) group(p *PlacementProfile, t *groupTotals) {
	at := func() string { return joinPath("profiles", "placement", p.Name) }
	if p.Name == "" {
		c.add(problem{rule: rulePlacementName, pos: p.Pos, path: at(), msg: "a placement in use needs a name"})
	}
	if t.units > MaxUnits {
		c.add(problem{
			rule: ruleUnitsLimit, lax: true, pos: p.Pos, path: at(), allowed: rangeText(1, MaxUnits),
			msg: fmt.Sprintf("%d resource units in one placement; the market names a limit that the reference does not enforce", t.units),
		})
	}
	if t.incomplete {
		return
	}
	total := func(what string, sum, most uint64, unit string, zero, lax bool) {
		if sum <= most && (sum > 0 || zero) {
			return
		}
		c.add(problem{
			rule: ruleGroupTotal, lax: lax, pos: p.Pos, path: at(), allowed: rangeText(1, most),
			msg: fmt.Sprintf("all replicas of the placement together need %d %s of %s", sum, unit, what),
		})
	}
	total("CPU", t.milliCores, MaxGroupMilliCores, "thousandths of a core", false, false)
	if t.milliCores > 0 {
		total("memory", t.memory, MaxGroupMemoryBytes, "bytes", false, false)
	}
	total("GPU", t.gpu, MaxGroupGPUs, "cards", true, false)
	total("storage", t.volume, MaxGroupStorageBytes, "bytes", true, true)
}

// mounts checks the volumes of a service against its profile.
func (c *checker) mounts(s *Service, cp *ComputeProfile) {
	var mounted map[string]*Mount
	if s.Params != nil && len(s.Params.Storage) > 0 {
		mounted = make(map[string]*Mount, len(s.Params.Storage))
		volumes := indexNames(cp.Storage, func(v *Volume) string { return v.Name })
		for i := range s.Params.Storage {
			m := &s.Params.Storage[i]
			mounted[m.Volume] = m
			c.mount(s, m, cp, &volumes)
		}
	}
	for i := range cp.Storage {
		v := &cp.Storage[i]
		if v.Attributes == nil || !v.Attributes.Persistent || mounted[v.Name] != nil {
			continue
		}
		// Version 2.0 looks at the mounts of the service as a whole.
		lax := c.doc.Dialect() != Dialect20 || len(mounted) > 0
		c.add(problem{
			rule: ruleVolumeNotMounted, lax: lax, pos: v.Pos, path: joinPath("profiles", "compute", cp.Name, "resources", "storage", i),
			msg: "service " + quote(s.Name) + " does not mount the persistent volume " + quote(v.Name) +
				": add " + joinPath("services", s.Name, "params", "storage", v.Name, "mount"),
		})
	}
}

func (c *checker) mount(s *Service, m *Mount, cp *ComputeProfile, volumes *nameIndex) {
	if i, ok := volumes.find(m.Volume); ok {
		v := &cp.Storage[i]
		if m.ReadOnly && v.Attributes != nil && v.Attributes.Class == storageClassRAM {
			c.add(problem{
				rule: ruleRAMReadOnly, lax: c.doc.Dialect() == Dialect20, pos: c.posOf(m.node, "readOnly", m.Pos),
				path: joinPath("services", s.Name, "params", "storage", m.Volume, "readOnly"), msg: "a volume of class ram cannot be read-only", words: "false",
			})
		}
		return
	}
	if c.shapeErrors > 0 && len(cp.Storage) == 0 {
		return
	}
	p := problem{
		rule: ruleVolumeUndefined, pos: m.Pos, path: joinPath("services", s.Name, "params", "storage", m.Volume),
		msg: "profile " + quote(cp.Name) + " has no volume named " + quote(m.Volume), suggestion: c.near(m.Volume, volumes),
	}
	if len(cp.Storage) <= smallIndex {
		p.allowed = strings.Join(volumes.names, " | ")
	}
	c.add(p)
}
