package sdl

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Format lays out a document: two spaces for each level, list items indented
// under their key, one space after a colon and a dash, no space at the end of a
// line, no more than one empty line in a row. Nothing else changes: keys keep
// their order, values their spelling, and comments their place. The result
// compiles to the same as src, and formatting it again changes nothing. JSON is
// indented. The error is a [Diagnostics] when src is neither YAML nor JSON;
// what src says need not be valid.
//
// A layout that the formatter does not know how to move (keys marked with "?",
// several documents in one text, line ends of old systems) is returned with its
// lines as they are.
func Format(src []byte) ([]byte, error) {
	r := &reporter{}
	if len(src) > MaxBytes {
		r.limit(ruleLimitBytes, 1, 1, "the text is too large")
		return nil, r.sorted()
	}
	if _, ok := readJSON(src, MaxNodes); ok {
		return indentJSON(src), nil
	}
	text := strings.TrimPrefix(strings.ReplaceAll(string(src), "\r\n", "\n"), "\ufeff")
	if strings.ContainsAny(text, "\r\u0085\u2028\u2029") {
		text = string(src) // lines end in other ways
	}
	t := readTree([]byte(text), r, MaxNodes)
	if t == nil {
		return nil, r.sorted()
	}
	if strings.ContainsAny(text, "\r\u0085\u2028\u2029") {
		return []byte(text), nil
	}
	if out, ok := layOut(text, t); ok {
		if again, ok := sameTree(out, t); ok {
			if twice, ok := layOut(out, again); ok && twice == out {
				return []byte(out), nil
			}
		}
	}
	if !strings.HasSuffix(text, "\n") && text != "" {
		if _, ok := sameTree(text+"\n", t); ok {
			text += "\n"
		}
	}
	return []byte(text), nil
}

func indentJSON(src []byte) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(src), "", "  "); err != nil {
		return src // what readJSON takes is JSON
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// readTree reads YAML in whatever layout.
func readTree(src []byte, r *reporter, nodes int) *tree {
	if t, ok := scanPlain(src, nodes); ok {
		return t
	}
	return parseGeneral(src, r, nodes)
}

// sameTree reads a text and reports whether it says the same as t.
func sameTree(text string, t *tree) (*tree, bool) {
	u := readTree([]byte(text), &reporter{}, MaxNodes)
	if u == nil || u.more != t.more || len(u.nodes) != len(t.nodes) {
		return nil, false
	}
	return u, equalNodes(t, u, t.root, u.root)
}

// equalNodes compares everything but places. An alias equals an alias of the
// same name: the anchors before it are equal too.
func equalNodes(t, u *tree, a, b int32) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	x, y := t.at(a), u.at(b)
	if x.kind != y.kind || x.value != y.value || x.tag != y.tag || x.quoted != y.quoted || x.count != y.count {
		return false
	}
	if x.kind == aliasNode {
		return true
	}
	c, d := x.first, y.first
	for c != 0 && d != 0 {
		if !equalNodes(t, u, t.at(c).key, u.at(d).key) || !equalNodes(t, u, c, d) {
			return false
		}
		c, d = t.at(c).next, u.at(d).next
	}
	return c == d
}

// lineKind is what the formatter does with a line.
type lineKind uint8

const (
	otherLine  lineKind = iota // empty or a comment
	blockLine                  // starts a key or an item of a block
	opaqueLine                 // more of a scalar or of brackets: moved as a whole
)

// linePlan is where a line goes.
type linePlan struct {
	kind lineKind
	// old and indent are the columns, from 0, of a block line before and after.
	old, indent int
	// key and value are the columns of a key and of its value on the line, when
	// both are there.
	key, value int
	// shift moves an opaque line.
	shift int
}

// layout plans the lines of a text.
type layout struct {
	t      *tree
	lines  []string
	plan   []linePlan
	failed bool
}

// layOut formats a text that was read as t. ok is false when it does not know
// how.
func layOut(text string, t *tree) (out string, ok bool) {
	if t.more || t.root == 0 || strings.ContainsRune(text, '\t') && hasTabIndent(text) {
		return "", false
	}
	l := &layout{t: t, lines: strings.Split(strings.TrimRight(text, "\n"), "\n")}
	if strings.HasSuffix(text, "\n\n") {
		l.lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n") // empty lines may belong to a literal
	}
	l.plan = make([]linePlan, len(l.lines))
	l.value(t.root, column{}, 0)
	if l.failed {
		return "", false
	}
	return l.emit()
}

func hasTabIndent(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "\t") {
			return true
		}
	}
	return false
}

// column is an indent before and after.
type column struct{ old, indent int }

// fail gives up, so that the text stays as it is.
func (l *layout) fail() { l.failed = true }

// at returns the line and the byte column, from 0, of a node.
func (l *layout) at(n int32) (line, col int) {
	nd := l.t.at(n)
	line, col = int(nd.line)-1, int(nd.col)-1
	if line < 0 || line >= len(l.lines) {
		l.fail()
		return 0, 0
	}
	for i := range l.lines[line] {
		if col == 0 {
			return line, i
		}
		col--
	}
	return line, len(l.lines[line])
}

// mark is the first byte of what a node says, after its anchor and tag; 0 when
// that is on a later line.
func (l *layout) mark(n int32) (byte, int) {
	line, col := l.at(n)
	rest := l.lines[line][min(col, len(l.lines[line])):]
	for {
		trimmed := strings.TrimLeft(rest, " ")
		col += len(rest) - len(trimmed)
		if trimmed == "" || trimmed[0] == '#' {
			return 0, col
		}
		if trimmed[0] != '&' && trimmed[0] != '!' {
			return trimmed[0], col
		}
		_, rest, _ = strings.Cut(trimmed, " ")
		col += len(trimmed) - len(rest)
	}
}

// value plans what stands after a colon or dash, or at the top. parent is the
// block around it, indent where a block inside it goes.
func (l *layout) value(n int32, parent column, indent int) {
	if l.failed {
		return
	}
	nd := l.t.at(n)
	c, col := l.mark(n)
	line, _ := l.at(n)
	switch {
	case nd.kind == aliasNode:
	case nd.kind != scalarNode && (c == '[' || c == '{'):
		l.opaque(line, l.flowEnd(line, col), parent)
	case nd.kind == mappingNode:
		l.mapping(n, indent)
	case nd.kind == sequenceNode:
		l.sequence(n, indent)
	case c == '|' || c == '>':
		l.opaque(line, l.blockEnd(line, parent.old, col), parent)
	case c == '"' || c == '\'':
		l.opaque(line, l.quoteEnd(line, col), parent)
	case nd.value != "":
		l.opaque(line, l.plainEnd(n, line, parent.old), parent)
	}
}

// startsLine reports whether the column is the first of its line.
func (l *layout) startsLine(line, col int) bool {
	return strings.TrimLeft(l.lines[line][:col], " ") == ""
}

// set plans a block line once.
func (l *layout) set(line, old, indent int) {
	p := &l.plan[line]
	if p.kind != otherLine {
		l.fail()
		return
	}
	*p = linePlan{kind: blockLine, old: old, indent: indent, key: -1}
}

func (l *layout) mapping(n int32, indent int) {
	for c := l.t.at(n).first; c != 0 && !l.failed; c = l.t.at(c).next {
		k := l.t.at(c).key
		line, col := l.at(k)
		if l.failed || l.t.at(k).kind != scalarNode {
			l.fail()
			return
		}
		if l.startsLine(line, col) {
			l.set(line, col, indent)
		} else if strings.Trim(l.lines[line][:col], " -") != "" || l.plan[line].kind != blockLine {
			l.fail()
			return
		}
		if vline, vcol := l.at(c); vline == line && vcol < len(l.lines[line]) && !l.empty(c) {
			l.plan[line].key, l.plan[line].value = col, vcol
		}
		l.value(c, column{col, indent}, indent+2)
	}
}

// empty reports whether a value is not there at all.
func (l *layout) empty(n int32) bool {
	nd := l.t.at(n)
	if nd.kind != scalarNode || nd.value != "" || nd.quoted {
		return false
	}
	c, _ := l.mark(n)
	return c == 0 && nd.tag == ""
}

func (l *layout) sequence(n int32, indent int) {
	_, dash := l.mark(n)
	for c := l.t.at(n).first; c != 0 && !l.failed; c = l.t.at(c).next {
		line, col := l.at(c)
		if l.failed || strings.Trim(l.lines[line][:col], " -") != "" || len(l.lines[line]) <= dash || l.lines[line][dash] != '-' {
			l.fail()
			return
		}
		if l.startsLine(line, dash) {
			l.set(line, dash, indent)
		}
		l.value(c, column{dash, indent}, indent+2)
	}
}

// opaque plans the lines after first up to last as one with the block around.
func (l *layout) opaque(first, last int, parent column) {
	for i := first + 1; i <= last && i < len(l.lines); i++ {
		if l.plan[i].kind != otherLine {
			l.fail()
			return
		}
		l.plan[i] = linePlan{kind: opaqueLine, shift: parent.indent - parent.old}
	}
}
