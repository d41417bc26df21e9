package sdl

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads a document in JSON. JSON is nearly a part of YAML; what is
// different (tabs between values, pairs of surrogates, any line length) is why
// it has a reader of its own. Text that is no JSON is left to the YAML readers.
type jsonReader struct {
	src  string
	t    *tree
	at   int
	line int32
	// begin is where the line starts, cols the columns that its text before seen
	// takes less than bytes.
	begin, seen, wide int
	most              int
	bad               bool
}

// readJSON reads a text that is one JSON object. ok is false for any other.
func readJSON(src []byte, most int) (t *tree, ok bool) {
	i := 0
	for i < len(src) && isJSONSpace(src[i]) {
		i++
	}
	if i == len(src) || src[i] != '{' || !utf8.Valid(src) {
		return nil, false
	}
	r := jsonReader{src: string(src), line: 1, most: most, t: &tree{nodes: make([]node, 1, 16+min(len(src)/9, most))}}
	r.space()
	r.t.root = r.value(0)
	r.space()
	if r.bad || r.at != len(r.src) {
		return nil, false
	}
	return r.t, true
}

func isJSONSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (r *jsonReader) fail() int32 {
	r.bad = true
	return 0
}

func (r *jsonReader) space() {
	for r.at < len(r.src) && isJSONSpace(r.src[r.at]) {
		if r.src[r.at] == '\n' {
			r.line++
			r.begin, r.seen, r.wide = r.at+1, r.at+1, 0
		}
		r.at++
	}
}

// peek returns the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	if r.at < len(r.src) {
		return r.src[r.at]
	}
	return 0
}

// node adds a node at the current place. Columns are counted once along a line.
func (r *jsonReader) node(kind nodeKind) int32 {
	if len(r.t.nodes) > r.most {
		return r.fail()
	}
	for ; r.seen < r.at; r.seen++ {
		if r.src[r.seen]&0xC0 == 0x80 {
			r.wide++
		}
	}
	return r.t.add(node{kind: kind, line: r.line, col: int32(r.at - r.begin - r.wide + 1)})
}

func (r *jsonReader) value(depth int) int32 {
	if depth > MaxDepth {
		return r.fail()
	}
	switch c := r.peek(); c {
	case '{':
		return r.collection(mappingNode, '}', depth)
	case '[':
		return r.collection(sequenceNode, ']', depth)
	case '"':
		return r.text()
	default:
		return r.plain()
	}
}

func (r *jsonReader) collection(kind nodeKind, closing byte, depth int) int32 {
	n, last := r.node(kind), int32(0)
	r.at++
	r.space()
	if r.peek() == closing {
		r.at++
		return n
	}
	for !r.bad {
		key := int32(0)
		if kind == mappingNode {
			if key = r.key(); r.bad {
				break
			}
		}
		child := r.value(depth + 1)
		r.space()
		if r.bad || r.t.at(n).count >= MaxKeys && kind == mappingNode {
			break
		}
		r.t.at(child).key = key
		r.t.appendChild(n, last, child)
		last = child
		switch r.peek() {
		case closing:
			r.at++
			return n
		case ',':
			r.at++
			r.space()
			continue
		}
		break
	}
	return r.fail()
}

// key reads a key, the colon and the space around it.
func (r *jsonReader) key() int32 {
	if r.peek() != '"' {
		return r.fail()
	}
	k := r.text()
	r.space()
	if r.peek() != ':' {
		return r.fail()
	}
	r.at++
	r.space()
	return k
}

// plain reads a number, true, false or null.
func (r *jsonReader) plain() int32 {
	n, from := r.node(scalarNode), r.at
	for r.at < len(r.src) && isPlainJSON(r.src[r.at]) {
		r.at++
	}
	s := r.src[from:r.at]
	if s != "true" && s != "false" && s != "null" && !jsonNumber(s) || r.bad {
		return r.fail()
	}
	r.t.at(n).value = s
	return n
}

func isPlainJSON(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// jsonNumber matches -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?
func jsonNumber(s string) bool {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	whole := digitsFrom(s, i)
	if whole == 0 || whole > 1 && s[i] == '0' {
		return false
	}
	if i += whole; i < len(s) && s[i] == '.' {
		frac := digitsFrom(s, i+1)
		if frac == 0 {
			return false
		}
		i += 1 + frac
	}
	return i == len(s) || floatPattern(s) && (s[i] == 'e' || s[i] == 'E')
}

// text reads a string.
func (r *jsonReader) text() int32 {
	n := r.node(scalarNode)
	r.at++
	from := r.at
	for r.at < len(r.src) && r.src[r.at] != '"' && r.src[r.at] != '\\' && r.src[r.at] >= ' ' {
		r.at++
	}
	value := r.src[from:r.at]
	if r.peek() == '\\' {
		value = r.escaped([]byte(value))
	}
	if r.peek() != '"' || r.bad {
		return r.fail()
	}
	r.at++
	r.t.at(n).value, r.t.at(n).quoted = value, true
	return n
}

// escaped reads the rest of a string from its first escape on.
func (r *jsonReader) escaped(b []byte) string {
	for r.at < len(r.src) && r.src[r.at] != '"' {
		c := r.src[r.at]
		if c < ' ' {
			break
		}
		r.at++
		if c != '\\' {
			b = append(b, c)
			continue
		}
		const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		e := r.peek()
		r.at++
		if i := indexByte(from, e); i >= 0 {
			b = append(b, to[i])
			continue
		}
		if e != 'u' {
			r.bad = true
			break
		}
		b = utf8.AppendRune(b, r.unicode())
	}
	return string(b)
}

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// unicode reads the digits after \u, and the second half of a pair.
func (r *jsonReader) unicode() rune {
	first := r.hex4()
	if !utf16.IsSurrogate(first) {
		return first
	}
	if r.at+1 < len(r.src) && r.src[r.at] == '\\' && r.src[r.at+1] == 'u' {
		r.at += 2
		if both := utf16.DecodeRune(first, r.hex4()); both != utf8.RuneError {
			return both
		}
	}
	r.bad = true
	return 0
}

func (r *jsonReader) hex4() rune {
	if r.at+4 > len(r.src) {
		r.bad = true
		return 0
	}
	v, err := strconv.ParseUint(r.src[r.at:r.at+4], 16, 16)
	r.at += 4
	r.bad = r.bad || err != nil
	return rune(v)
}
