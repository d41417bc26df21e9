package sdl

// nodeKind is the shape of a node of the YAML tree.
type nodeKind uint8

const (
	scalarNode nodeKind = iota + 1
	mappingNode
	sequenceNode
	aliasNode
)

// node is one value of a document. Nodes live in one slice and name each other
// by index; index 0 is no node.
type node struct {
	// value is the text of a scalar or the name of an alias.
	value string
	// tag is the explicit short tag of a scalar, "" for none.
	tag string
	// line and col are where the node starts, from 1; col counts runes.
	line, col int32
	// key is the key of a value inside a mapping.
	key int32
	// first is the first child of a collection, or the target of an alias.
	first int32
	// next is the following sibling.
	next int32
	// count is the number of children; a mapping counts its values.
	count int32
	kind  nodeKind
	// quoted marks a scalar whose text is never a number, boolean or null.
	quoted bool
}

// tree is a parsed document. Children of a mapping are its values; each names
// its key.
type tree struct {
	nodes []node
	root  int32
	// more reports that another document follows in the same text.
	more bool
}

func (t *tree) at(n int32) *node { return &t.nodes[n] }

func (t *tree) add(nd node) int32 {
	t.nodes = append(t.nodes, nd)
	return int32(len(t.nodes) - 1)
}

// appendChild links child as the last of parent; last is the one before it.
func (t *tree) appendChild(parent, last, child int32) {
	if last == 0 {
		t.nodes[parent].first = child
	} else {
		t.nodes[last].next = child
	}
	t.nodes[parent].count++
}

// deref follows aliases to the node they stand for.
func (t *tree) deref(n int32) int32 {
	for t.nodes[n].kind == aliasNode {
		n = t.nodes[n].first
	}
	return n
}

// isMerge reports whether k is the key "<<" that merges another mapping.
func (t *tree) isMerge(k int32) bool {
	nd := &t.nodes[k]
	return nd.value == "<<" && nd.kind == scalarNode && !nd.quoted && (nd.tag == "" || nd.tag == "!!merge")
}

// child returns the value under a key of a mapping, merged mappings included,
// or 0. It serves diagnostics, not decoding.
func (t *tree) child(n int32, key string) int32 { return t.find(n, key, MaxDepth) }

func (t *tree) find(n int32, key string, depth int) int32 {
	n = t.deref(n)
	if t.nodes[n].kind != mappingNode || depth == 0 {
		return 0
	}
	found, merged := int32(0), int32(0)
	for c := t.nodes[n].first; c != 0; c = t.nodes[c].next {
		k := t.deref(t.nodes[c].key)
		if t.nodes[k].value == key && t.nodes[k].kind == scalarNode && !t.isMerge(k) {
			found = c
		} else if t.isMerge(k) {
			merged = c
		}
	}
	if found != 0 || merged == 0 {
		return found
	}
	m := t.deref(merged)
	if t.nodes[m].kind == mappingNode {
		return t.find(m, key, depth-1)
	}
	for c := t.nodes[m].first; c != 0; c = t.nodes[c].next {
		if f := t.find(c, key, depth-1); f != 0 {
			return f
		}
	}
	return 0
}

// item returns the i-th child of a list, or 0.
func (t *tree) item(n int32, i int) int32 {
	n = t.deref(n)
	c := t.nodes[n].first
	for ; c != 0 && i > 0; i-- {
		c = t.nodes[c].next
	}
	return c
}
