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
		case '"', '\\', '/', ' ':
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

// literal reads a block scalar after "|" at the offset, inside a block indented
// by indent.
func (s *scanner) literal(at, indent int) int32 {
	n := s.node(scalarNode, at)
	header, chomp := at+1, byte(0)
	if header < s.end && (s.src[header] == '-' || s.src[header] == '+') {
		chomp = s.src[header]
		header++
	}
	if s.bail || s.blankFrom(header) < 0 {
		return s.stop()
	}
	text, end, line := s.literalText(s.end+1, indent, chomp)
	if s.bail {
		return 0
	}
	s.t.at(n).value, s.t.at(n).quoted = text, true
	s.seek(end, line)
	if !s.eof && s.column() > indent {
		return s.stop()
	}
	return n
}

// literalText reads the lines of a literal from the offset. It returns the text
// and where and with which number the next line starts.
func (s *scanner) literalText(at, indent int, chomp byte) (text string, end int, line int32) {
	var b strings.Builder
	line = s.line + 1
	width, breaks := -1, 0
	for at < len(s.src) {
		stop := strings.IndexByte(s.src[at:], '\n')
		if stop < 0 {
			s.bail = true // the text ends without a line break: leave the fine points alone
			return "", at, line
		}
		stop += at
		first := s.spacesTo(at, stop)
		if first == stop {
			if width < 0 && stop > at || width >= 0 && stop-at > width {
				s.bail = true // spaces that may count
				return "", at, line
			}
			breaks++
			at, line = stop+1, line+1
			continue
		}
		if width < 0 && first-at > indent {
			width = first - at
		}
		if width < 0 || first-at < width {
			break
		}
		for ; breaks > 0; breaks-- {
			b.WriteByte('\n')
		}
		b.WriteString(s.src[at+width : stop])
		breaks = 1
		at, line = stop+1, line+1
	}
	if width < 0 {
		s.bail = true
	}
	switch chomp {
	case '+':
		for ; breaks > 0; breaks-- {
			b.WriteByte('\n')
		}
	case 0:
		b.WriteByte('\n')
	}
	return b.String(), at, line
}

func (s *scanner) spacesTo(at, end int) int {
	for at < end && s.src[at] == ' ' {
		at++
	}
	return at
}
