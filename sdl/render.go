package sdl

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxRenderedLine bounds the source line under a problem.
const maxRenderedLine = 120

// Render writes the problems for a terminal, each with its line of the source
// and a marker under the place:
//
//	deploy.yaml:17:17: error: profiles.compute.web.resources.memory.size: ...
//	   17 |           size: 4GB
//	      |                 ^~~
//
// src is the text that was compiled. Lines that hold an environment, arguments,
// commands or credentials are left out, and values of lines that could not be
// read are masked, for they may be secrets.
func (ds Diagnostics) Render(src []byte) string {
	var b strings.Builder
	lines := newLineIndex(src)
	for _, d := range ds {
		b.WriteString(d.Error() + "\n")
		if text, ok := lines.text(d.Line); ok && !secretPath(d.Path) {
			if d.Rule == ruleYAMLSyntax {
				text = maskValue(text)
			}
			renderLine(&b, d, text)
		}
	}
	return b.String()
}

// maskValue hides what follows the first colon or dash of a line whose place in
// the document is not known: it may be a secret.
func maskValue(text string) string {
	trimmed := strings.TrimLeft(text, " -")
	head := text[:len(text)-len(trimmed)]
	if key, _, ok := strings.Cut(trimmed, ":"); ok && plainKey(strings.TrimSpace(key)) {
		return head + key + ": …"
	}
	return head + "…"
}

// secretPath reports whether what stands at a path may be a secret.
func secretPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "services")
	if !ok {
		return false
	}
	for _, key := range [...]string{".env", ".args", ".command", ".credentials"} {
		if strings.Contains(rest, key) {
			return true
		}
	}
	return false
}

func renderLine(b *strings.Builder, d *Error, text string) {
	column := d.Column - 1
	runes := []rune(text)
	if column < 0 || column > len(runes) {
		return
	}
	from := 0
	if len(runes) > maxRenderedLine {
		from = max(0, min(column-maxRenderedLine/4, len(runes)-maxRenderedLine))
		runes = runes[from : from+maxRenderedLine]
	}
	fmt.Fprintf(b, "%5d | %s\n", d.Line, string(runes))
	fmt.Fprintf(b, "      | %s^%s\n", strings.Repeat(" ", column-from), strings.Repeat("~", max(0, wordLength(runes, column-from)-1)))
}

// wordLength counts the runes of the value at a column: up to a space before a
// comment, or up to the closing quote.
func wordLength(runes []rune, column int) int {
	if column >= len(runes) {
		return 1
	}
	end := column + 1
	if q := runes[column]; q == '"' || q == '\'' {
		for end < len(runes) && runes[end] != q {
			end++
		}
		return min(end+1, len(runes)) - column
	}
	for end < len(runes) && !strings.ContainsRune(" ,:]}", runes[end]) {
		end++
	}
	return end - column
}

// lineIndex finds lines of a text in one pass when asked in any order.
type lineIndex struct {
	src    []byte
	starts []int
}

func newLineIndex(src []byte) *lineIndex {
	x := &lineIndex{src: src, starts: []int{0}}
	for at := 0; ; {
		i := bytes.IndexByte(src[at:], '\n')
		if i < 0 {
			return x
		}
		at += i + 1
		x.starts = append(x.starts, at)
	}
}

// text returns a line without its end, control characters shown as spaces.
func (x *lineIndex) text(line int) (string, bool) {
	if line < 1 || line > len(x.starts) {
		return "", false
	}
	end := len(x.src)
	if line < len(x.starts) {
		end = x.starts[line] - 1
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, string(x.src[x.starts[line-1]:end]))
	return text, strings.TrimSpace(text) != ""
}
