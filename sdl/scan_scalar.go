package sdl

import (
	"strings"
)

// quotedEnd returns the offset after the closing quote of a scalar on the
// current line, or -1.
func (s *scanner) quotedEnd(at int) int {
	q := s.src[at]
	for i := at + 1; i < s.end; i++ {
		switch {
		case s.src[i] == '\\' && q == '"':
			i++
		case s.src[i] == q:
			if q == '\'' && i+1 < s.end && s.src[i+1] == q {
				i++
				continue
			}
			return i + 1
		}
	}
	return -1
}

// quoted reads a quoted scalar of one line.
func (s *scanner) quoted(at int) (n int32, end int) {
	end = s.quotedEnd(at)
	if end < 0 {
		return s.stop(), at
	}
	text := s.src[at+1 : end-1]
	if s.src[at] == '\'' {
		if strings.IndexByte(text, '\'') >= 0 {
			text = strings.ReplaceAll(text, "''", "'")
		}
	} else if strings.IndexByte(text, '\\') >= 0 {
		var ok bool
		if text, ok = unescape(text); !ok {
			return s.stop(), at
		}
	}
	n = s.node(scalarNode, at)
	s.t.at(n).value, s.t.at(n).quoted = text, true
	return n, end
}

// unescape resolves the common escapes; ok is false for others.
func unescape(s string) (text string, ok bool) {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", false
		}
		switch s[i] {
		case '"', '\\', ' ':
			b.WriteByte(s[i])
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		default:
			return "", false
		}
	}
	return b.String(), true
}

// flow reads a list or mapping in brackets that ends on the current line.
func (s *scanner) flow(at, depth int) (n int32, end int) {
	if depth > MaxDepth {
		return s.stop(), at
	}
	isMap := s.src[at] == '{'
	kind, closing := sequenceNode, byte(']')
	if isMap {
		kind, closing = mappingNode, '}'
	}
	n, last := s.node(kind, at), int32(0)
	for i := s.spaces(at + 1); !s.bail && i < s.end; {
		if s.src[i] == closing {
			return n, i + 1
		}
		key := int32(0)
		if isMap {
			if key, i = s.flowKey(i); s.bail {
				break
			}
		}
		var child int32
		if child, i = s.flowValue(i, depth); s.bail {
			break
		}
		s.t.at(child).key = key
		s.t.appendChild(n, last, child)
		last = child
		i = s.spaces(i)
		if i < s.end && s.src[i] == ',' {
			i = s.spaces(i + 1)
		} else if i >= s.end || s.src[i] != closing {
			break
		}
	}
	return s.stop(), at
}

func (s *scanner) spaces(at int) int {
	for at < s.end && s.src[at] == ' ' {
		at++
	}
	return at
}

// flowKey reads a key in braces and the colon and space after it.
func (s *scanner) flowKey(at int) (key int32, value int) {
	if c := s.src[at]; c == '[' || c == '{' {
		return s.stop(), at
	}
	key, end := s.flowValue(at, 0)
	if s.bail || end+1 >= s.end || s.src[end] != ':' || s.src[end+1] != ' ' || end-at > maxKeyLength || s.t.at(key).value == "<<" {
		return s.stop(), at
	}
	return key, s.spaces(end + 1)
}

// flowValue reads one value inside brackets.
func (s *scanner) flowValue(at, depth int) (n int32, end int) {
	if at >= s.end {
		return s.stop(), at
	}
	switch s.src[at] {
	case '"', '\'':
		return s.quoted(at)
	case '[', '{':
		return s.flow(at, depth+1)
	}
	if !flowPlain(s.src[at]) || s.src[at] == '-' && (at+1 >= s.end || !flowPlain(s.src[at+1])) {
		return s.stop(), at
	}
	end = at
	for i := at; i < s.end; i++ {
		if flowPlain(s.src[i]) {
			end = i + 1
		} else if s.src[i] != ' ' {
			break
		}
	}
	if rest := s.spaces(end); rest < s.end && strings.IndexByte(",]}:", s.src[rest]) < 0 {
		return s.stop(), at
	}
	n = s.node(scalarNode, at)
	s.t.at(n).value = s.src[at:end]
	return n, end
}

// flowPlain reports whether a byte means only itself inside brackets.
func flowPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-./=+$()~;^", c) >= 0
}

// blockScalar reads a literal ("|") or folded (">") text whose sign is at the
// offset, inside a block indented by indent.
func (s *scanner) blockScalar(at, indent int) int32 {
	n := s.node(scalarNode, at)
	header, chomp := at+1, byte(0)
	if header < s.end && (s.src[header] == '-' || s.src[header] == '+') {
		chomp = s.src[header]
		header++
	}
	if s.bail || s.blankFrom(header) < 0 {
		return s.stop()
	}
	b := blockText{folded: s.src[at] == '>', width: -1}
	end, line := s.blockLines(&b, s.end+1, indent)
	if s.bail {
		return 0
	}
	s.t.at(n).value, s.t.at(n).quoted = b.close(chomp), true
	s.seek(end, line)
	if !s.eof && s.column() > indent {
		return s.stop()
	}
	return n
}

// blockLines reads the lines of a block text from the offset. It returns where
// and with which number the next line starts.
func (s *scanner) blockLines(b *blockText, at, indent int) (end int, line int32) {
	line = s.line + 1
	for at < len(s.src) {
		stop := strings.IndexByte(s.src[at:], '\n')
		if stop < 0 {
			s.bail = true // the text ends without a line break: leave the fine points alone
			return at, line
		}
		stop += at
		first := s.spacesTo(at, stop)
		switch {
		case first == stop && (b.width < 0 && stop > at || b.width >= 0 && stop-at > b.width):
			s.bail = true // spaces that may count
			return at, line
		case first == stop:
			b.empty++
		default:
			if b.width < 0 && first-at > indent {
				b.width = first - at
			}
			if b.width < 0 || first-at < b.width {
				s.bail = s.bail || b.width < 0
				return at, line
			}
			b.add(s.src[at+b.width : stop])
		}
		at, line = stop+1, line+1
	}
	s.bail = s.bail || b.width < 0
	return at, line
}

// blockText puts the lines of a block scalar together.
type blockText struct {
	strings.Builder
	folded bool
	// width is the indent of the lines, -1 before the first.
	width int
	// started is set after the first line; spaced when the last one started
	// with a space; empty counts the empty lines since.
	started, spaced bool
	empty           int
}

// add appends a line. Folding makes a space of the break between two lines that
// neither start with a space nor have empty lines between them.
func (b *blockText) add(line string) {
	spaced := line[0] == ' '
	if b.started {
		switch {
		case !b.folded || b.spaced || spaced:
			b.WriteByte('\n')
		case b.empty == 0:
			b.WriteByte(' ')
		}
	}
	b.breaks()
	b.WriteString(line)
	b.started, b.spaced = true, spaced
}

func (b *blockText) breaks() {
	for ; b.empty > 0; b.empty-- {
		b.WriteByte('\n')
	}
}

// close ends the text: one line break, none ("-") or all ("+").
func (b *blockText) close(chomp byte) string {
	if chomp != '-' {
		b.WriteByte('\n')
	}
	if chomp == '+' {
		b.breaks()
	}
	return b.String()
}

func (s *scanner) spacesTo(at, end int) int {
	for at < end && s.src[at] == ' ' {
		at++
	}
	return at
}
