package sdl

import "strconv"

// fieldIter walks the keys of a mapping, those of merged mappings included, in
// the order of the text. Keys outside the known ones are reported and skipped.
type fieldIter struct {
	d     *decoder
	leave int
	// node is the mapping, after aliases.
	node int32
	// keys are the known keys parted by spaces, "" for any.
	keys string
	// key and value are the current entry.
	key     string
	keyNode int32
	value   int32

	rest   int32
	merged []int32 // values to walk when there are merges
	flat   bool
	strict bool // unknown keys are errors also in compatible mode
}

// fields walks a mapping. ok is false when n is nothing or no mapping.
func (d *decoder) fields(n int32, keys, want string) (it fieldIter, ok bool) {
	n, leave := d.enter(n)
	if n == 0 || d.t.null(n) {
		d.leave(leave)
		return it, false
	}
	if d.t.at(n).kind != mappingNode {
		d.wrongType(n, want)
		d.leave(leave)
		return it, false
	}
	it = fieldIter{d: d, leave: leave, node: n, keys: keys, rest: d.t.at(n).first}
	d.unique(n)
	if d.hasMerge(n) {
		it.flat = true
		it.merged = d.flatten(n)
	}
	d.push("")
	return it, true
}

// next moves to the next key; after the last it leaves the mapping.
func (it *fieldIter) next() bool {
	d := it.d
	for !d.stopped && it.step() {
		k := d.t.deref(it.keyNode)
		nd := d.t.at(k)
		d.path[len(d.path)-1].key = ""
		switch {
		case nd.kind != scalarNode:
			d.wrongType(k, "text as a key")
			continue
		case d.t.null(k):
			d.warn(ruleNullKey, k, "an entry with an empty key is ignored")
			continue
		}
		it.key = nd.value
		d.path[len(d.path)-1].key = it.key
		if it.keys != "" && !isWord(it.key, it.keys) {
			d.unknownKey(k, it.key, it.keys, !it.strict)
			continue
		}
		return true
	}
	d.pop()
	d.leave(it.leave)
	return false
}

func (it *fieldIter) step() bool {
	if it.flat {
		if len(it.merged) == 0 {
			return false
		}
		it.value, it.merged = it.merged[0], it.merged[1:]
	} else {
		if it.rest == 0 {
			return false
		}
		it.value = it.rest
		it.rest = it.d.t.at(it.value).next
	}
	it.keyNode = it.d.t.at(it.value).key
	return true
}

// unknownKey reports a key that the grammar does not have.
func (d *decoder) unknownKey(k int32, key, keys string, lax bool) {
	p := problem{
		rule: ruleUnknownKey, pos: d.pos(k), path: d.pathString(), lax: lax,
		msg: "unknown key " + quote(key), words: keys,
	}
	if !d.full {
		p.suggestion = suggestKey(key, keys)
	}
	if keys == computeKeys && isWord(key, resourcesKeys) {
		p.suggestion = computeKeys + "." + key
	}
	d.add(p)
}

// smallMapping is up to how many keys are compared pair by pair.
const smallMapping = 12

// unique reports keys that a mapping has twice.
func (d *decoder) unique(n int32) {
	if d.t.at(n).count <= smallMapping {
		d.uniqueSmall(n)
		return
	}
	type name struct {
		kind  nodeKind
		value string
	}
	seen := make(map[name]int32, d.t.at(n).count)
	for c := d.t.at(n).first; c != 0; c = d.t.at(c).next {
		k := d.t.at(c).key
		id := name{d.t.at(k).kind, d.t.at(k).value}
		if first, dup := seen[id]; dup {
			d.duplicate(first, k)
			continue
		}
		seen[id] = k
	}
}

func (d *decoder) uniqueSmall(n int32) {
	for c := d.t.at(n).first; c != 0; c = d.t.at(c).next {
		k := d.t.at(d.t.at(c).key)
		for e := d.t.at(n).first; e != c; e = d.t.at(e).next {
			o := d.t.at(d.t.at(e).key)
			if len(o.value) == len(k.value) && o.value == k.value && o.kind == k.kind {
				d.duplicate(d.t.at(e).key, d.t.at(c).key)
				break
			}
		}
	}
}

func (d *decoder) duplicate(first, again int32) {
	key := d.t.at(again).value
	d.push(key)
	d.fail(ruleDuplicateKey, again, "the key "+quote(key)+" is already there in line "+strconv.Itoa(int(d.t.at(first).line)))
	d.pop()
}

func (d *decoder) hasMerge(n int32) bool {
	for c := d.t.at(n).first; c != 0; c = d.t.at(c).next {
		if k := d.t.at(c).key; len(d.t.at(k).value) == 2 && d.t.isMerge(k) {
			return true
		}
	}
	return false
}

// flatten lists the values of a mapping with merged mappings resolved: what is
// written in the mapping itself wins, then the mappings merged, first to last.
func (d *decoder) flatten(n int32) []int32 {
	seen := make(map[string]bool)
	var out []int32
	d.flattenInto(n, seen, &out, 0)
	return out
}

func (d *decoder) flattenInto(n int32, seen map[string]bool, out *[]int32, depth int) {
	if depth > MaxDepth {
		d.fail(ruleLimitDepth, n, "merged mappings nest too deep")
		d.stopped = true
		return
	}
	if depth > 0 {
		d.unique(n)
	}
	merge := int32(0)
	for c := d.t.at(n).first; c != 0 && !d.stopped; c = d.t.at(c).next {
		k := d.t.at(c).key
		if d.t.isMerge(k) {
			merge = c
			continue
		}
		if depth > 0 {
			d.countExpansion(c)
		}
		name := d.t.at(d.t.deref(k)).value
		if depth > 0 && seen[name] {
			continue
		}
		seen[name] = true
		*out = append(*out, c)
	}
	if merge != 0 {
		d.flattenMerge(merge, seen, out, depth)
	}
}

func (d *decoder) flattenMerge(merge int32, seen map[string]bool, out *[]int32, depth int) {
	m := d.t.deref(merge)
	switch d.t.at(m).kind {
	case mappingNode:
		d.flattenInto(m, seen, out, depth+1)
		return
	case sequenceNode:
		if d.t.at(merge).kind == aliasNode {
			break
		}
		for c := d.t.at(m).first; c != 0 && !d.stopped; c = d.t.at(c).next {
			e := d.t.deref(c)
			if d.t.at(e).kind != mappingNode {
				d.wrongType(c, "mappings to merge")
				continue
			}
			d.flattenInto(e, seen, out, depth+1)
		}
		return
	case scalarNode, aliasNode:
	}
	d.wrongType(merge, "a mapping or a list of mappings to merge")
}

func (d *decoder) countExpansion(n int32) {
	d.expanded++
	if d.expanded > MaxExpansions && !d.stopped {
		d.fail(ruleLimitExpansions, n, "aliases stand for too many values")
		d.stopped = true
	}
}
