package sdl

import (
	"fmt"
	"math"
	"strings"
)

// decoder turns a tree into a [Document]. It reports what does not have the
// right shape and leaves a harmless value in its place, so that one mistake is
// reported once.
type decoder struct {
	*reporter
	t    *tree
	path []segment
	// expanded counts nodes read through aliases; inAlias is how many aliases
	// the decoder is inside of.
	expanded, inAlias int
	stopped           bool
}

// segment is a key, or a position when key is "" and index not negative.
type segment struct {
	key   string
	index int
}

func (d *decoder) push(key string)   { d.path = append(d.path, segment{key: key, index: -1}) }
func (d *decoder) pushIndex(i int)   { d.path = append(d.path, segment{index: i}) }
func (d *decoder) pop()              { d.path = d.path[:len(d.path)-1] }
func (d *decoder) pos(n int32) Pos   { return d.t.pos(n) }
func (t *tree) pos(n int32) Pos      { return Pos{int(t.nodes[n].line), int(t.nodes[n].col)} }
func (d *decoder) null(n int32) bool { return d.t.null(d.t.deref(n)) }

func (d *decoder) pathString() string {
	var b strings.Builder
	for _, s := range d.path {
		if s.index >= 0 {
			fmt.Fprintf(&b, "[%d]", s.index)
		} else {
			writeKey(&b, s.key)
		}
	}
	return b.String()
}

// fail reports an error at a node, under the path being read.
func (d *decoder) fail(rule Rule, n int32, msg string) {
	d.add(problem{rule: rule, pos: d.pos(n), path: d.pathString(), msg: msg})
}

// warn reports what the reference lets pass.
func (d *decoder) warn(rule Rule, n int32, msg string) {
	d.add(problem{rule: rule, pos: d.pos(n), path: d.pathString(), msg: msg, lax: true})
}

// enter follows aliases and counts what is read through them. It returns the
// node meant, or 0 when the bound on expansions is passed.
func (d *decoder) enter(n int32) (node int32, leave int) {
	if d.t.nodes[n].kind == aliasNode {
		leave = 1
		d.inAlias++
		n = d.t.deref(n)
	}
	if d.inAlias > 0 {
		d.expanded++
		if d.expanded > MaxExpansions {
			if !d.stopped {
				d.fail(ruleLimitExpansions, n, fmt.Sprintf("aliases stand for more than %d values", MaxExpansions))
			}
			d.stopped = true
			return 0, leave
		}
	}
	return n, leave
}

func (d *decoder) leave(n int) { d.inAlias -= n }

// kindName names what a node is, for a person.
func (d *decoder) kindName(n int32) string {
	nd := d.t.at(d.t.deref(n))
	switch nd.kind {
	case mappingNode:
		return "a mapping"
	case sequenceNode:
		return "a list"
	case scalarNode, aliasNode:
	}
	s, _ := nd.resolve()
	switch s.typ {
	case nullScalar:
		return "nothing"
	case boolScalar:
		return "a boolean"
	case intScalar, floatScalar:
		return "a number"
	case timeScalar:
		return "a date"
	case textScalar:
	}
	return "text"
}

func (d *decoder) wrongType(n int32, want string) {
	d.fail(ruleWrongType, n, "want "+want+", got "+d.kindName(n))
}

// text reads a scalar of any type as text. Nothing leaves dst as it is.
func (d *decoder) text(n int32, dst *string) {
	n, leave := d.enter(n)
	defer d.leave(leave)
	if n == 0 || d.t.null(n) {
		return
	}
	nd := d.t.at(n)
	if nd.kind != scalarNode {
		d.wrongType(n, "text")
		return
	}
	if nd.tag != "" {
		if _, ok := nd.resolve(); !ok {
			d.fail(ruleYAMLTag, n, "the text does not fit the tag "+quote(nd.tag))
			return
		}
	}
	s, ok := nd.text()
	if !ok {
		d.fail(ruleYAMLTag, n, "the text of a !!binary value is not base64")
		return
	}
	*dst = s
}

// uint32 reads a whole number. A fraction is cut off with a warning, as the
// reference does silently.
func (d *decoder) uint32(n int32, dst *uint32) {
	n, leave := d.enter(n)
	defer d.leave(leave)
	if n == 0 || d.t.null(n) {
		return
	}
	s, ok := d.t.at(n).resolve()
	if d.t.at(n).kind != scalarNode || !ok || s.typ != intScalar && s.typ != floatScalar {
		p := problem{rule: ruleWrongType, pos: d.pos(n), path: d.pathString(), msg: "want a whole number, got " + d.kindName(n)}
		if nd := d.t.at(n); nd.kind == scalarNode && digitsFrom(nd.value, 0) == len(nd.value) && nd.value != "" {
			p.msg, p.suggestion = "want a whole number, got text", nd.value+" without quotes"
		}
		d.add(p)
		*dst = 1
		return
	}
	v, fraction, ok := s.uint32()
	if !ok {
		d.add(problem{rule: ruleNumberRange, pos: d.pos(n), path: d.pathString(), msg: "the number is negative or too large", allowed: "0..4294967295"})
		v = 1
	} else if fraction {
		d.warn(ruleNumberTruncated, n, fmt.Sprintf("the fraction is cut off: read as %d", v))
	}
	*dst = v
}

// uint32 converts as the reference does: fractions are cut off.
func (s scalar) uint32() (v uint32, fraction, ok bool) {
	if s.typ == intScalar {
		return uint32(s.abs), false, (!s.neg || s.abs == 0) && s.abs <= math.MaxUint32
	}
	if !(s.real > -1 && s.real < math.MaxUint32+1) {
		return 0, false, false
	}
	whole := math.Trunc(s.real)
	return uint32(whole), whole != s.real, true
}

// boolean reads true or false. Words of YAML 1.1 count too, quoted or not.
func (d *decoder) boolean(n int32, dst *bool) {
	n, leave := d.enter(n)
	defer d.leave(leave)
	if n == 0 || d.t.null(n) {
		return
	}
	nd := d.t.at(n)
	s, ok := nd.resolve()
	if nd.kind == scalarNode && ok {
		switch {
		case s.typ == boolScalar:
			*dst = s.abs == 1
			return
		case s.typ != textScalar:
		case isWord(nd.value, "y Y yes Yes YES on On ON"):
			*dst = true
			return
		case isWord(nd.value, "n N no No NO off Off OFF"):
			*dst = false
			return
		}
	}
	d.add(problem{
		rule: ruleWrongType, pos: d.pos(n), path: d.pathString(),
		msg: "want true or false, got " + d.kindName(n), words: "true false",
	})
}

// isWord reports whether s is one of the words parted by single spaces.
func isWord(s, words string) bool {
	for len(words) > 0 {
		w, rest, _ := strings.Cut(words, " ")
		if w == s {
			return true
		}
		words = rest
	}
	return false
}

// texts reads a list of text. Nothing is nil; items that are nothing are left
// out with a warning, as the reference leaves them out silently.
func (d *decoder) texts(n int32, dst *[]string) {
	it, ok := d.items(n, "a list of text")
	if !ok {
		return
	}
	list := make([]string, 0, it.count)
	for it.next() {
		var s string
		d.text(it.value, &s)
		list = append(list, s)
	}
	*dst = list
}

// items walks a list. ok is false when n is nothing or no list.
func (d *decoder) items(n int32, want string) (it itemIter, ok bool) {
	n, leave := d.enter(n)
	if n == 0 || d.t.null(n) {
		d.leave(leave)
		return it, false
	}
	if d.t.at(n).kind != sequenceNode {
		d.wrongType(n, want)
		d.leave(leave)
		return it, false
	}
	it = itemIter{d: d, leave: leave, value: 0, rest: d.t.at(n).first, count: int(d.t.at(n).count), index: -1}
	d.pushIndex(0)
	return it, true
}

// itemIter walks the items of a list that are something.
type itemIter struct {
	d           *decoder
	value, rest int32
	leave       int
	count       int
	index       int
	// keepNull returns items that are nothing instead of leaving them out.
	keepNull bool
}

// next moves to the next item; after the last it leaves the list.
func (it *itemIter) next() bool {
	for it.rest != 0 && !it.d.stopped {
		it.value = it.rest
		it.rest = it.d.t.at(it.value).next
		it.index++
		it.d.path[len(it.d.path)-1].index = it.index
		if !it.keepNull && it.d.null(it.value) {
			it.d.warn(ruleNullItem, it.value, "an empty item is left out of the list")
			continue
		}
		return true
	}
	it.d.pop()
	it.d.leave(it.leave)
	return false
}
