package sdl

import (
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

func (d *decoder) profiles(n int32, doc *Document) {
	it, ok := d.fields(n, profilesKeys, "a mapping with compute and placement")
	if !ok {
		return
	}
	for it.next() {
		switch it.key {
		case "compute":
			d.computeProfiles(it.value, doc)
		case "placement":
			d.placements(it.value, doc)
		}
	}
}

func (d *decoder) computeProfiles(n int32, doc *Document) {
	it, ok := d.fields(n, "", "a mapping of profile names")
	if !ok {
		return
	}
	doc.Compute = growTo(doc.Compute, int(d.t.at(it.node).count))
	for it.next() {
		p := ComputeProfile{Name: it.key, Pos: d.pos(it.keyNode)}
		if f, ok := d.fields(it.value, computeKeys, "a mapping with resources"); ok {
			for f.next() {
				d.resources(f.value, &p)
			}
		}
		doc.Compute = append(doc.Compute, p)
	}
}

func (d *decoder) resources(n int32, p *ComputeProfile) {
	it, ok := d.fields(n, resourcesKeys, "a mapping with cpu, memory, gpu and storage")
	if !ok {
		return
	}
	p.Resources, p.node = true, it.node
	for it.next() {
		switch it.key {
		case "cpu":
			p.CPU = d.cpu(it.value)
		case "memory":
			p.Memory = d.memory(it.value)
		case "gpu":
			p.GPU = d.gpu(it.value)
		case "storage":
			d.volumes(it.value, &p.Storage)
		}
	}
}

func (d *decoder) cpu(n int32) *CPU {
	it, ok := d.fields(n, cpuKeys, "a mapping with units")
	if !ok {
		return d.unlessNull(n, &CPU{MilliCores: MinMilliCores})
	}
	c := &CPU{node: it.node}
	for it.next() {
		switch it.key {
		case "units":
			d.milliCores(it.value, &c.MilliCores)
		case "attributes":
			d.cpuAttributes(it.value, c)
		}
	}
	return c
}

// unlessNull returns nil for nothing and the harmless stand-in for what was
// reported as malformed.
func (d *decoder) unlessNull(n int32, standIn *CPU) *CPU {
	if d.null(n) {
		return nil
	}
	return standIn
}

// cpuAttributes reads the one attribute there is. The reference does not merge
// mappings here, and takes a value that is no mapping for an empty one.
func (d *decoder) cpuAttributes(n int32, c *CPU) {
	for _, e := range d.rawEntries(n, "a mapping with arch") {
		if e.value == 0 {
			continue
		}
		if !isWord(e.key, cpuAttributes) {
			d.add(problem{
				rule: ruleCPUAttribute, pos: d.pos(e.keyNode), path: d.pathString() + "." + clip(e.key),
				msg: "unknown CPU attribute " + quote(e.key), words: cpuAttributes, suggestion: suggestKey(e.key, cpuAttributes),
			})
			continue
		}
		var v string
		d.push(e.key)
		d.text(e.value, &v)
		d.pop()
		c.Attributes = append(c.Attributes, market.Attribute{Key: e.key, Value: v})
	}
}

// rawEntry is a key and value that were read without merging.
type rawEntry struct {
	key            string
	keyNode, value int32
}

// rawEntries lists the keys of a mapping as written. Keys that come twice are
// the caller's to judge. What is no mapping is reported with lax severity.
func (d *decoder) rawEntries(n int32, want string) []rawEntry {
	n, leave := d.enter(n)
	defer d.leave(leave)
	if n == 0 || d.t.null(n) {
		return nil
	}
	if nd := d.t.at(n); nd.kind != mappingNode {
		d.warn(ruleWrongType, n, "want "+want+", got "+d.kindName(n)+"; it is read as empty, or its items in pairs")
		return d.pairs(n)
	}
	out := make([]rawEntry, 0, d.t.at(n).count)
	for c := d.t.at(n).first; c != 0; c = d.t.at(c).next {
		k := d.t.at(c).key
		out = append(out, rawEntry{d.t.at(k).value, k, c})
	}
	return out
}

// pairs lists the items of a list as keys and values, as the reference reads
// them here. The value of an odd last one is 0.
func (d *decoder) pairs(n int32) []rawEntry {
	if d.t.at(n).kind != sequenceNode {
		return nil
	}
	var out []rawEntry
	for c := d.t.at(n).first; c != 0; {
		value := d.t.at(c).next
		out = append(out, rawEntry{d.t.at(c).value, c, value})
		if value == 0 {
			break
		}
		c = d.t.at(value).next
	}
	return out
}

func (d *decoder) memory(n int32) *Memory {
	it, ok := d.fields(n, memoryKeys, "a mapping with size")
	if !ok {
		if d.null(n) {
			return nil
		}
		return &Memory{Bytes: MinMemoryBytes}
	}
	m := &Memory{node: it.node}
	for it.next() {
		if !d.bytes(it.value, &m.Bytes, byteSuffixes) {
			m.Bytes = MinMemoryBytes
		}
	}
	return m
}

// gpu reads the cards. As in the reference keys are not merged, unknown ones
// are errors, and the last of two equal ones counts.
func (d *decoder) gpu(n int32) *GPU {
	if d.null(n) {
		return nil
	}
	g := &GPU{node: d.t.deref(n)}
	malformed := false
	for _, e := range d.rawEntries(n, "a mapping with units and attributes") {
		d.push(e.key)
		switch {
		case e.value == 0 && isWord(e.key, gpuKeys):
			d.wrongType(e.keyNode, "a value after the key")
		case e.key == "units":
			malformed = !d.gpuUnits(e.value, &g.Units) || malformed
		case e.key == "attributes":
			g.Attributes = d.gpuAttributes(e.value)
		default:
			d.unknownKey(e.keyNode, e.key, gpuKeys, false)
		}
		d.pop()
	}
	if malformed {
		g.Units = 1
		if g.Attributes == nil {
			g.Attributes = &GPUAttributes{}
		}
	}
	return g
}

func (d *decoder) gpuAttributes(n int32) *GPUAttributes {
	if d.null(n) {
		return nil
	}
	a := &GPUAttributes{node: d.t.deref(n)}
	vendor := false
	for _, e := range d.rawEntries(n, "a mapping with vendor") {
		d.push(e.key)
		if e.key == "vendor" && e.value == 0 {
			d.wrongType(e.keyNode, "a value after the key")
			vendor = true
		} else if e.key == "vendor" {
			vendor = d.gpuVendor(e.value, a) || vendor
		} else {
			d.unknownKey(e.keyNode, e.key, gpuAttributes, false)
			vendor = true
		}
		d.pop()
	}
	if !vendor {
		d.add(problem{
			rule: ruleGPUVendorMissing, pos: d.pos(d.t.deref(n)), path: d.pathString(),
			msg: "attributes of a GPU need a vendor", words: "vendor",
		})
	}
	return a
}

// gpuVendor reads the models of the one vendor there is. It reports whether a
// vendor is named.
func (d *decoder) gpuVendor(n int32, a *GPUAttributes) bool {
	it, ok := d.fields(n, "", "a mapping with nvidia")
	if !ok {
		return !d.null(n)
	}
	count := 0
	for it.next() {
		count++
		if it.key == gpuVendors {
			d.gpuModels(it.value, &a.Nvidia)
			continue
		}
		d.add(problem{
			rule: ruleGPUVendorUnknown, pos: d.pos(it.keyNode), path: d.pathString(), lax: true,
			msg:   "the vendor " + quote(it.key) + " is ignored: without a model of nvidia any nvidia card is asked for",
			words: gpuVendors, suggestion: suggestKey(it.key, gpuVendors),
		})
	}
	if count == 0 {
		d.warn(ruleGPUVendorUnknown, it.node, "no vendor is named: any nvidia card is asked for")
	}
	return true
}

func (d *decoder) gpuModels(n int32, dst *[]GPUModel) {
	it, ok := d.items(n, "a list of models")
	if !ok {
		return
	}
	*dst = make([]GPUModel, 0, it.count)
	for it.next() {
		m := GPUModel{Pos: d.pos(it.value)}
		d.gpuModel(it.value, &m)
		*dst = append(*dst, m)
	}
}

func (d *decoder) gpuModel(n int32, m *GPUModel) {
	it, ok := d.fields(n, gpuModelKeys, "a mapping with model")
	if !ok {
		return
	}
	m.node = it.node
	for it.next() {
		switch it.key {
		case "model":
			d.text(it.value, &m.Model)
		case "ram":
			if d.null(it.value) {
				continue
			}
			m.RAM = new(uint64)
			if !d.bytes(it.value, m.RAM, binarySuffixes) {
				m.RAM = nil
			}
		case "interface":
			d.text(it.value, &m.Interface)
			if m.Interface == "" && !d.null(it.value) {
				m.Interface = " " // an empty text is not an absent one
			}
		}
	}
}

func (d *decoder) volumes(n int32, dst *[]Volume) {
	target := d.t.deref(n)
	switch nd := d.t.at(target); {
	case nd.kind == mappingNode:
		v := Volume{Pos: d.pos(target)}
		d.volume(n, &v)
		if v.Name != "" && v.Name != defaultVolume {
			d.push("name")
			d.warn(ruleVolumeNameIgnored, d.t.child(target, "name"), "the name of a single volume is ignored: it is called default")
			d.pop()
		}
		v.Name = defaultVolume
		*dst = []Volume{v}
		return
	case nd.kind == scalarNode && !d.t.null(target):
		d.warn(ruleWrongType, target, "want a list of volumes, got "+d.kindName(target)+"; it is read as none")
		return
	}
	it, ok := d.items(n, "a list of volumes")
	if !ok || it.count == 0 {
		if ok {
			it.next()
		}
		return
	}
	*dst = make([]Volume, 0, it.count)
	it.keepNull = true
	for it.next() {
		v := Volume{Pos: d.pos(it.value)}
		d.volume(it.value, &v)
		if v.Name == "" {
			v.Name = defaultVolume
		}
		*dst = append(*dst, v)
	}
}

// defaultVolume is the name of a volume without one.
const defaultVolume = "default"

func (d *decoder) volume(n int32, v *Volume) {
	it, ok := d.fields(n, volumeKeys, "a mapping with size")
	if !ok {
		return
	}
	v.node = it.node
	for it.next() {
		switch it.key {
		case "name":
			d.text(it.value, &v.Name)
		case "size":
			if !d.bytes(it.value, &v.Bytes, byteSuffixes) {
				v.Bytes = MinVolumeBytes
			}
		case "attributes":
			v.Attributes = d.volumeAttributes(it.value)
		}
	}
}

func (d *decoder) placements(n int32, doc *Document) {
	it, ok := d.fields(n, "", "a mapping of placement names")
	if !ok {
		return
	}
	doc.Placement = growTo(doc.Placement, int(d.t.at(it.node).count))
	for it.next() {
		p := PlacementProfile{Name: it.key, Pos: d.pos(it.keyNode)}
		d.placement(it.value, &p)
		doc.Placement = append(doc.Placement, p)
	}
}

func (d *decoder) placement(n int32, p *PlacementProfile) {
	it, ok := d.fields(n, placementKeys, "a mapping with pricing, attributes or signedBy")
	if !ok {
		return
	}
	p.node = it.node
	for it.next() {
		switch it.key {
		case "attributes":
			d.attributes(it.value, &p.Attributes)
		case "signedBy":
			d.signedBy(it.value, &p.SignedBy)
		case "pricing":
			d.pricing(it.value, &p.Pricing)
		}
	}
}

// attributes reads a mapping of text to text, sorted by key.
func (d *decoder) attributes(n int32, dst *market.Attributes) {
	it, ok := d.fields(n, "", "a mapping of text")
	if !ok {
		return
	}
	var list market.Attributes
	if count := d.t.at(it.node).count; count > 0 {
		list = make(market.Attributes, 0, count)
	}
	for it.next() {
		a := market.Attribute{Key: it.key}
		d.text(it.value, &a.Value)
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b market.Attribute) int { return strings.Compare(a.Key, b.Key) })
	if len(list) > 0 {
		*dst = list
	}
}

func (d *decoder) signedBy(n int32, dst *market.SignedBy) {
	it, ok := d.fields(n, signedByKeys, "a mapping with allOf or anyOf")
	if !ok {
		return
	}
	for it.next() {
		switch it.key {
		case "allOf":
			d.addresses(it.value, &dst.AllOf)
		case "anyOf":
			d.addresses(it.value, &dst.AnyOf)
		}
	}
}

func (d *decoder) addresses(n int32, dst *[]market.Address) {
	it, ok := d.items(n, "a list of addresses")
	if !ok {
		return
	}
	list := make([]market.Address, 0, it.count)
	for it.next() {
		var s string
		d.text(it.value, &s)
		list = append(list, market.Address(s))
	}
	*dst = list
}

func (d *decoder) pricing(n int32, dst *[]ProfilePrice) {
	it, ok := d.fields(n, "", "a mapping of profile names")
	if !ok {
		return
	}
	*dst = make([]ProfilePrice, 0, d.t.at(it.node).count)
	for it.next() {
		p := ProfilePrice{Profile: it.key, Pos: d.pos(it.keyNode)}
		d.price(it.value, &p)
		*dst = append(*dst, p)
	}
}

func (d *decoder) price(n int32, p *ProfilePrice) {
	it, ok := d.fields(n, priceKeys, "a mapping with denom and amount")
	if !ok {
		if p.unset = d.null(n); !p.unset {
			p.Price = market.Price{Denom: "none", AmountPerBlock: market.NewDecimal(1)}
		}
		return
	}
	p.node = it.node
	amount, amountNode := "", it.node
	for it.next() {
		switch it.key {
		case "denom":
			d.text(it.value, &p.Price.Denom)
		case "amount":
			amountNode = d.t.deref(it.value)
			d.text(it.value, &amount)
		}
	}
	d.push("amount")
	d.amount(amountNode, amount, &p.Price.AmountPerBlock)
	d.pop()
}
