package sdl

import (
	"strings"
	"unicode/utf8"
)

// Most documents are plain: block mappings and lists, scalars of one line,
// literal and folded blocks, short lists in brackets, comments. The scanner reads
// those in one pass without copying text. Whatever else comes up (anchors, tags,
// other scalars of several lines, tabs, errors) it leaves to the YAML library: it
// never guesses. For what it does read it makes the same tree as the library,
// which FuzzScannerAgrees holds.

// scanner walks the lines of a text that have content.
type scanner struct {
	src string
	t   *tree
	// begin, text and end are where the current line starts, where its first
	// character that is no space is, and where it ends.
	begin, text, end int
	line             int32
	eof              bool
	// wide is set when the text is not all ASCII, so that columns are counted.
	wide bool
	// bail is set when the text is none for the scanner.
	bail bool
	// most is the bound on nodes.
	most int
}

// scanPlain reads a text into a tree. ok is false when the library has to.
func scanPlain(src []byte, most int) (t *tree, ok bool) {
	wide, nodes, ok := printable(src)
	if !ok {
		return nil, false
	}
	s := scanner{src: string(src), wide: wide, most: most}
	s.t = &tree{nodes: make([]node, 1, 4+min(nodes, most))}
	s.seek(0, 1)
	if !s.eof && s.marker("---") {
		if s.blankFrom(s.begin+3) < 0 {
			return nil, false
		}
		s.next()
	}
	if s.eof || s.column() != 0 || s.src[s.text] == '%' {
		return nil, false
	}
	s.t.root = s.block(0, 0)
	if s.bail || !s.eof {
		return nil, false
	}
	return s.t, true
}

// printable reports whether the text has only characters that the scanner
// knows how to count: no tabs, no carriage returns, no unusual breaks. It also
// says how many nodes there will be, about.
func printable(src []byte) (wide bool, nodes int, ok bool) {
	for i := 0; i < len(src); {
		c := src[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(src[i:])
			if r < 0xA0 || r == utf8.RuneError || r == 0xFEFF || r == 0x2028 || r == 0x2029 || r == 0xFFFE || r == 0xFFFF {
				return false, 0, false
			}
			wide = true
			i += size
			continue
		}
		i++
		switch {
		case c >= 'a' && c <= 'z' || c == ' ' || c == '\n':
		case c < ' ' || c == 0x7f:
			return false, 0, false
		case c == ':' && (i == len(src) || src[i] == ' ' || src[i] == '\n'):
			nodes += 2
		case c == '-' && (i == len(src) || src[i] == ' '), c == ',', c == '[':
			nodes++
		}
	}
	return wide, nodes, true
}

// seek moves to the first line with content at or after the offset, where line
// number line starts.
func (s *scanner) seek(at int, line int32) {
	for {
		if at >= len(s.src) {
			s.eof, s.begin, s.text, s.end = true, len(s.src), len(s.src), len(s.src)
			s.line = line
			return
		}
		end := strings.IndexByte(s.src[at:], '\n')
		if end < 0 {
			end = len(s.src)
		} else {
			end += at
		}
		text := at
		for text < end && s.src[text] == ' ' {
			text++
		}
		if text < end && s.src[text] != '#' {
			s.begin, s.text, s.end, s.line = at, text, end, line
			return
		}
		at, line = end+1, line+1
	}
}

func (s *scanner) next() { s.seek(s.end+1, s.line+1) }

// column is the indent of the current line.
func (s *scanner) column() int { return s.text - s.begin }

// marker reports whether the line starts with a document marker.
func (s *scanner) marker(m string) bool {
	return strings.HasPrefix(s.src[s.begin:s.end], m) && (s.begin+3 == s.end || s.src[s.begin+3] == ' ')
}

// dash reports whether the offset, on the current line, starts a list item.
func (s *scanner) dash(at int) bool {
	return s.src[at] == '-' && (at+1 == s.end || s.src[at+1] == ' ')
}

func (s *scanner) stop() int32 {
	s.bail = true
	return 0
}

// node adds a node that starts at an offset of the current line.
func (s *scanner) node(kind nodeKind, at int) int32 {
	if len(s.t.nodes) > s.most {
		return s.stop()
	}
	return s.t.add(node{kind: kind, line: s.line, col: s.columnOf(at)})
}

// columnOf counts the runes before an offset of the current line, from 1.
func (s *scanner) columnOf(at int) int32 {
	if s.wide {
		return int32(utf8.RuneCountInString(s.src[s.begin:at]) + 1)
	}
	return int32(at - s.begin + 1)
}

// blankFrom returns the end of the line when nothing but space and a comment
// follows the offset, else -1.
func (s *scanner) blankFrom(at int) int {
	i := at
	for i < s.end && s.src[i] == ' ' {
		i++
	}
	if i == s.end || s.src[i] == '#' && i > at {
		return s.end
	}
	return -1
}

// block reads the collection whose first line is the current one, indented by
// indent.
func (s *scanner) block(indent, depth int) int32 {
	if depth > MaxDepth || indent == 0 && (s.marker("---") || s.marker("...")) {
		return s.stop()
	}
	if s.dash(s.text) {
		return s.sequence(indent, s.text, depth)
	}
	return s.mapping(indent, s.text, depth)
}

// mapping reads a block mapping whose first key is at the offset.
func (s *scanner) mapping(indent, at, depth int) int32 {
	if depth > MaxDepth {
		return s.stop()
	}
	m, last := s.node(mappingNode, at), int32(0)
	for !s.bail {
		key, colon := s.key(at)
		if s.bail {
			return 0
		}
		value := s.value(colon+1, indent, depth, true)
		if s.bail || s.t.at(m).count >= MaxKeys {
			return s.stop()
		}
		s.t.at(value).key = key
		s.t.appendChild(m, last, value)
		last = value
		if s.eof || s.column() < indent || s.dash(s.text) {
			break
		}
		if s.column() > indent || indent == 0 && (s.marker("---") || s.marker("...")) {
			return s.stop()
		}
		at = s.text
	}
	return m
}

// maxKeyLength is the longest key that the library takes on one line, with some
// to spare.
const maxKeyLength = 1000

// key reads a key at the offset and returns where its colon is.
func (s *scanner) key(at int) (key int32, colon int) {
	if c := s.src[at]; c == '"' || c == '\'' {
		n, end := s.quoted(at)
		for end < s.end && s.src[end] == ' ' {
			end++
		}
		if s.bail || end >= s.end || s.src[end] != ':' || end+1 < s.end && s.src[end+1] != ' ' || end-at > maxKeyLength {
			return s.stop(), 0
		}
		return n, end
	}
	end, colon := s.plainEnd(at)
	if s.bail || colon < 0 || colon-at > maxKeyLength {
		return s.stop(), 0
	}
	text := s.src[at:end]
	if text == "<<" {
		return s.stop(), 0
	}
	n := s.node(scalarNode, at)
	s.t.at(n).value = text
	return n, colon
}

// plainEnd finds the end of a plain scalar at the offset: at a comment, at the
// end of the line, or at a colon that makes it a key; colon is -1 else.
func (s *scanner) plainEnd(at int) (end, colon int) {
	if !s.plainStart(at) {
		s.bail = true
		return at, -1
	}
	end = at
	for i := at; i < s.end; i++ {
		switch s.src[i] {
		case ' ':
			continue
		case '#':
			if s.src[i-1] == ' ' {
				return end, -1
			}
		case ':':
			if i+1 == s.end || s.src[i+1] == ' ' {
				return end, i
			}
		}
		end = i + 1
	}
	return end, -1
}

// plainStart reports whether a plain scalar can start at the offset. Those that
// start with an odd sign are left to the library.
func (s *scanner) plainStart(at int) bool {
	switch s.src[at] {
	case '-':
		return at+1 < s.end && s.src[at+1] != ' '
	case '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`':
		return false
	}
	return true
}

// sequence reads a block list whose first dash is at the offset.
func (s *scanner) sequence(indent, at, depth int) int32 {
	if depth > MaxDepth {
		return s.stop()
	}
	q, last := s.node(sequenceNode, at), int32(0)
	for !s.bail {
		item := s.item(at, indent, depth)
		if s.bail {
			return 0
		}
		s.t.appendChild(q, last, item)
		last = item
		if s.eof || s.column() != indent || !s.dash(s.text) {
			break
		}
		at = s.text
	}
	return q
}

// item reads what follows a dash at the offset.
func (s *scanner) item(dash, indent, depth int) int32 {
	at := dash + 1
	for at < s.end && s.src[at] == ' ' {
		at++
	}
	if at == s.end || s.src[at] == '#' {
		return s.value(dash+1, indent, depth, false)
	}
	column := at - s.begin
	if s.dash(at) {
		return s.sequence(column, at, depth+1)
	}
	if s.isKey(at) {
		return s.mapping(column, at, depth+1)
	}
	return s.value(dash+1, indent, depth, false)
}

// isKey reports whether the text at the offset is the key of a mapping.
func (s *scanner) isKey(at int) bool {
	switch s.src[at] {
	case '"', '\'':
		end := s.quotedEnd(at)
		for end > 0 && end < s.end && s.src[end] == ' ' {
			end++
		}
		return end > 0 && end < s.end && s.src[end] == ':'
	}
	if !s.plainStart(at) {
		return false
	}
	_, colon := s.plainEnd(at)
	return colon >= 0
}

// value reads what follows a colon or a dash, on the same line or below, and
// moves to the next line with content.
func (s *scanner) value(from, indent, depth int, inMapping bool) int32 {
	at := from
	for at < s.end && s.src[at] == ' ' {
		at++
	}
	if at == s.end || s.src[at] == '#' && at > from {
		return s.below(from, indent, depth, inMapping)
	}
	var n int32
	var end int
	switch s.src[at] {
	case '"', '\'':
		n, end = s.quoted(at)
	case '[', '{':
		n, end = s.flow(at, depth+1)
	case '|', '>':
		return s.blockScalar(at, indent)
	default:
		var colon int
		end, colon = s.plainEnd(at)
		if s.bail || colon >= 0 {
			return s.stop()
		}
		n = s.node(scalarNode, at)
		s.t.at(n).value = s.src[at:end]
	}
	if s.bail || s.blankFrom(end) < 0 {
		return s.stop()
	}
	s.next()
	if !s.eof && s.column() > indent {
		return s.stop() // more of the same scalar, or an error
	}
	return n
}

// below reads a value that starts on a later line, or nothing. from is the end
// of the colon or dash.
func (s *scanner) below(from, indent, depth int, inMapping bool) int32 {
	nothing := node{kind: scalarNode, line: s.line, col: s.columnOf(from)}
	s.next()
	switch {
	case s.eof || s.column() < indent:
	case s.column() > indent:
		return s.block(s.column(), depth+1)
	case inMapping && s.dash(s.text):
		return s.sequence(indent, s.text, depth+1)
	}
	if len(s.t.nodes) > s.most {
		return s.stop()
	}
	return s.t.add(nothing)
}
