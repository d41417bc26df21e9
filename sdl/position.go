package sdl

import (
	"strconv"
	"strings"
)

// Position returns where the value at a path stands in the text the document was
// parsed from. Paths are those of [Error.Path]: "services.web.expose[0].port",
// with keys that are no plain words in brackets and quotes: attributes["a b"].
// Aliases and merges are followed. ok is false when there is nothing there, or
// the document was built in Go.
func (d *Document) Position(path string) (pos Pos, ok bool) {
	if d.tree == nil {
		return Pos{}, false
	}
	n := d.tree.root
	for path != "" && n != 0 {
		n, path = d.step(n, path)
	}
	if n == 0 {
		return Pos{}, false
	}
	return d.tree.pos(n), true
}

// step follows the first part of a path. It returns 0 for a part that is not
// there or malformed.
func (d *Document) step(n int32, path string) (next int32, rest string) {
	if after, ok := strings.CutPrefix(path, `["`); ok {
		quoted, err := strconv.QuotedPrefix(path[1:])
		if err != nil || !strings.HasPrefix(after[len(quoted)-1:], "]") {
			return 0, ""
		}
		key, err := strconv.Unquote(quoted)
		if err != nil {
			return 0, ""
		}
		return d.tree.child(n, key), strings.TrimPrefix(after[len(quoted):], ".")
	}
	if after, ok := strings.CutPrefix(path, "["); ok {
		number, rest, ok := strings.Cut(after, "]")
		i, err := strconv.Atoi(number)
		if !ok || err != nil || i < 0 || d.tree.at(d.tree.deref(n)).kind != sequenceNode {
			return 0, ""
		}
		return d.tree.item(n, i), strings.TrimPrefix(rest, ".")
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	return d.tree.child(n, path[:end]), strings.TrimPrefix(path[end:], ".")
}
