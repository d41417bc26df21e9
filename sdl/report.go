package sdl

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// reporter collects problems.
type reporter struct {
	file   string
	mode   Mode
	list   Diagnostics
	errors int
	full   bool
}

// problem is what a check says about one place.
type problem struct {
	rule Rule
	pos  Pos
	path string
	msg  string
	// words is an enumeration parted by spaces, allowed prose parted by " | ".
	words, allowed string
	suggestion     string
	// lax marks what the reference lets pass: a warning in compatible mode.
	lax bool
}

func (r *reporter) add(p problem) {
	sev := SeverityError
	if p.lax && r.mode == ModeCompatible {
		sev = SeverityWarning
	}
	if sev == SeverityError {
		r.errors++
	}
	if len(r.list) >= MaxDiagnostics {
		r.overflow(sev)
		return
	}
	r.list = append(r.list, &Error{
		File: r.file, Line: max(p.pos.Line, 0), Column: max(p.pos.Column, 0), Path: p.path, Rule: p.rule,
		Message: p.msg, Allowed: p.list(), Suggestion: p.suggestion, Severity: sev,
	})
}

// list returns what would be right, nil when nothing is said about that.
func (p *problem) list() []string {
	list := strings.Fields(p.words)
	if p.allowed != "" {
		list = append(list, strings.Split(p.allowed, " | ")...)
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

// overflow notes once that there are more problems than are kept. The note is
// an error as soon as one of those left out is.
func (r *reporter) overflow(sev Severity) {
	last := r.list[len(r.list)-1]
	if !r.full {
		r.full = true
		last.Rule, last.Path, last.Allowed, last.Suggestion = ruleTooManyProblems, "", nil, ""
		last.Message = "more than " + strconv.Itoa(MaxDiagnostics-1) + " problems; the rest is not shown"
	}
	last.Severity = max(last.Severity, sev)
}

// limit reports a problem of the text as a whole.
func (r *reporter) limit(rule Rule, line, col int, msg string) {
	r.add(problem{rule: rule, pos: Pos{line, max(col, 1)}, msg: msg})
}

// sorted returns the problems by place, each once.
func (r *reporter) sorted() Diagnostics {
	slices.SortStableFunc(r.list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(r.list, func(a, b *Error) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Path == b.Path && a.Rule == b.Rule && a.Message == b.Message
	})
}

// joinPath renders a path of keys (strings) and list positions (ints).
func joinPath(parts ...any) string {
	var b strings.Builder
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			writeKey(&b, p)
		case int:
			b.WriteString("[" + strconv.Itoa(p) + "]")
		}
	}
	return b.String()
}

// writeKey appends a key to a path: ".name", or ["odd name"].
func writeKey(b *strings.Builder, key string) {
	if !plainKey(key) {
		b.WriteString("[" + strconv.Quote(clip(key)) + "]")
		return
	}
	if b.Len() > 0 {
		b.WriteByte('.')
	}
	b.WriteString(clip(key))
}

func plainKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && (c >= '0' && c <= '9' || c == '-')
		if !ok {
			return false
		}
	}
	return key != ""
}
