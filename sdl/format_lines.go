package sdl

import "strings"

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func isBlank(line string) bool { return strings.TrimLeft(line, " ") == "" }

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " "), "#") }

// blockEnd returns the last line of a literal or folded block that starts on a
// line, inside a block at column parent. Empty lines after it belong to it only
// when it keeps them ("|+").
func (l *layout) blockEnd(line, parent, col int) int {
	header, _, _ := strings.Cut(l.lines[line][col:], "#")
	keep := strings.Contains(header, "+")
	if parent == 0 && l.t.at(l.t.root).kind == scalarNode {
		l.fail() // a block at the top has no block around it
	}
	last := line
	for i := line + 1; i < len(l.lines); i++ {
		if isBlank(l.lines[i]) {
			if keep {
				last = i
			}
			continue
		}
		if indentOf(l.lines[i]) <= parent {
			break
		}
		last = i
	}
	return last
}

// plainEnd returns the last line of a plain scalar: those after it that are
// indented deeper than the block around.
func (l *layout) plainEnd(n int32, line, parent int) int {
	if !strings.ContainsAny(l.t.at(n).value, " \n") {
		return line
	}
	last := line
	for i := line + 1; i < len(l.lines); i++ {
		if isBlank(l.lines[i]) {
			continue
		}
		if indentOf(l.lines[i]) <= parent || isComment(l.lines[i]) {
			break
		}
		last = i
	}
	return last
}

// quoteEnd returns the line of the closing quote.
func (l *layout) quoteEnd(line, col int) int {
	end, _ := l.skipQuote(line, col)
	return end
}

// skipQuote returns the place after a quoted text.
func (l *layout) skipQuote(line, col int) (int, int) {
	q := l.lines[line][col]
	for col++; line < len(l.lines); line, col = line+1, 0 {
		text := l.lines[line]
		for ; col < len(text); col++ {
			switch {
			case text[col] == '\\' && q == '"':
				col++
			case text[col] == q && q == '\'' && col+1 < len(text) && text[col+1] == q:
				col++
			case text[col] == q:
				return line, col + 1
			}
		}
	}
	l.fail()
	return len(l.lines) - 1, 0
}

// flowEnd returns the line of the bracket that closes the one at a place.
func (l *layout) flowEnd(line, col int) int {
	depth := 0
	for line < len(l.lines) && !l.failed {
		if col >= len(l.lines[line]) {
			line, col = line+1, 0
			continue
		}
		switch c := l.lines[line][col]; c {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return line
			}
		case '"', '\'':
			if col == 0 || strings.IndexByte(" ,[{:", l.lines[line][col-1]) >= 0 {
				line, col = l.skipQuote(line, col)
				continue
			}
		case '#':
			if col == 0 || l.lines[line][col-1] == ' ' {
				line, col = line+1, 0
				continue
			}
		}
		col++
	}
	l.fail()
	return len(l.lines) - 1
}

// emit writes the lines as planned.
func (l *layout) emit() (string, bool) {
	var b strings.Builder
	var open []column // blocks that the last block line is inside of
	following := l.followingBlocks()
	blank := false
	for i, line := range l.lines {
		p := &l.plan[i]
		if p.kind == otherLine && isBlank(line) {
			blank = b.Len() > 0
			continue
		}
		if blank {
			b.WriteByte('\n')
			blank = false
		}
		switch p.kind {
		case blockLine:
			open = openAt(open, line, p)
			b.WriteString(strings.TrimRight(l.blockText(line, p), " "))
		case opaqueLine:
			text, ok := shift(line, p.shift)
			if !ok {
				return "", false
			}
			b.WriteString(text)
		default:
			b.WriteString(l.commentText(i, open, following[i]))
		}
		b.WriteByte('\n')
	}
	return b.String(), true
}

// followingBlocks gives for each line the next block line after it.
func (l *layout) followingBlocks() []int {
	next := make([]int, len(l.plan))
	last := len(l.plan)
	for i := len(l.plan) - 1; i >= 0; i-- {
		next[i] = last
		if l.plan[i].kind == blockLine {
			last = i
		}
	}
	return next
}

// openAt returns the blocks that are open after a block line: those before it
// that are further out, and those it starts.
func openAt(open []column, line string, p *linePlan) []column {
	for len(open) > 0 && open[len(open)-1].old >= p.old {
		open = open[:len(open)-1]
	}
	open = append(open, column{p.old, p.indent})
	indent := p.indent
	for at := p.old; at < len(line) && line[at] == '-' && (at+1 == len(line) || line[at+1] == ' '); {
		for at++; at < len(line) && line[at] == ' '; at++ {
		}
		indent += 2
		if at < len(line) {
			open = append(open, column{at, indent})
		}
	}
	return open
}

// blockText writes a block line: indent, dashes with one space, key, colon, one
// space, the rest.
func (l *layout) blockText(line string, p *linePlan) string {
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", p.indent))
	at := p.old
	for at < len(line) && line[at] == '-' && (at+1 == len(line) || line[at+1] == ' ') && (p.key < 0 || at < p.key) {
		b.WriteString("- ")
		for at++; at < len(line) && line[at] == ' '; at++ {
		}
	}
	if p.key >= at && p.value > p.key {
		if key := strings.TrimRight(line[at:p.value], " "); strings.HasSuffix(key, ":") {
			b.WriteString(strings.TrimRight(strings.TrimSuffix(key, ":"), " ") + ": ")
			at = p.value
		}
	}
	b.WriteString(line[at:])
	return b.String()
}

func shift(line string, by int) (string, bool) {
	switch {
	case isBlank(line):
		if by < 0 {
			return line[min(len(line), -by):], true
		}
		if line == "" {
			return "", true
		}
		return strings.Repeat(" ", by) + line, true
	case by >= 0:
		return strings.Repeat(" ", by) + line, true
	case indentOf(line) >= -by:
		return line[-by:], true
	}
	return "", false
}

// commentText indents a comment like the block that it stood under: one of the
// open ones, or the one of the next block line.
func (l *layout) commentText(i int, open []column, following int) string {
	was := indentOf(l.lines[i])
	best, found := column{}, false
	consider := func(c column) {
		if c.old <= was && (!found || c.old >= best.old) {
			best, found = c, true
		}
	}
	for _, c := range open {
		consider(c)
	}
	if following < len(l.plan) {
		consider(column{l.plan[following].old, l.plan[following].indent})
	}
	return strings.Repeat(" ", best.indent) + strings.TrimRight(strings.TrimLeft(l.lines[i], " "), " ")
}
