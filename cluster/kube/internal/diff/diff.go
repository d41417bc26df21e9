// Package diff compares what was rendered with what a cluster has. It is pure.
package diff

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Result says how an object differs from what is wanted.
type Result struct {
	// Differs: a wanted field is missing or has another value; the first is named.
	Differs string
	// Extra are JSON pointers to what somebody added: items of wanted lists, and
	// fields where a [Shape] allows no others. They are in an order in which they can
	// be removed one after the other.
	Extra []string
}

// Clean reports whether there is nothing to do.
func (r Result) Clean() bool { return r.Differs == "" && len(r.Extra) == 0 }

// Shape says where an object must have what is wanted and nothing else. Paths
// are JSON pointers with "*" for every place in a list. The zero value closes
// nothing.
type Shape struct {
	// Closed are paths: at and below them there is no field that is not wanted.
	Closed []string
	// Filled are fields below Closed that the cluster fills in: the path, and the
	// value, or nil for any.
	Filled map[string]any
}

// Compare looks whether live has every field of want. Fields that want does not
// name are looked at only where the shape is closed: elsewhere the cluster fills
// in defaults, and others have fields of their own. Lists must have no other
// items. Both are JSON values with int64 or float64 numbers.
func Compare(want, live any, shape Shape) Result {
	c := comparer{shape: shape}
	c.compare(place{closed: slices.Contains(shape.Closed, "")}, want, live)
	slices.Reverse(c.Extra)
	return c.Result
}

// comparer is one comparison.
type comparer struct {
	Result
	shape Shape
}

// place is where in an object a comparison is: its path, the same with "*" for
// places in lists, and whether it is closed.
type place struct {
	path, pattern string
	closed        bool
}

// field is a field of the object at a place.
func (c *comparer) field(p place, key string) place {
	key = "/" + escape(key)
	p.path, p.pattern = p.path+key, p.pattern+key
	p.closed = p.closed || slices.Contains(c.shape.Closed, p.pattern)
	return p
}

// item is an item of the list at a place.
func (p place) item(i int) place {
	p.path, p.pattern = p.path+"/"+strconv.Itoa(i), p.pattern+"/*"
	return p
}

func (c *comparer) differ(p place) {
	if c.Differs == "" {
		c.Differs = p.path
	}
}

func (c *comparer) compare(p place, want, live any) {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			if len(w) > 0 || live != nil || p.closed { // an empty selector is not a missing one
				c.differ(p)
			}
			return
		}
		c.object(p, w, l)
	case []any:
		l, ok := live.([]any)
		if !ok {
			if len(w) > 0 {
				c.differ(p)
			}
			return
		}
		c.list(p, w, l)
	default:
		if !equal(want, live) {
			c.differ(p)
		}
	}
}

func (c *comparer) object(p place, want, live map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		c.compare(c.field(p, key), want[key], live[key])
	}
	if len(c.shape.Closed) == 0 {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(live)) {
		at := c.field(p, key)
		if _, wanted := want[key]; !wanted && at.closed && !c.filled(at, live[key]) {
			c.Extra = append(c.Extra, at.path)
		}
	}
}

// filled reports whether the cluster may have filled in a field by itself.
func (c *comparer) filled(at place, value any) bool {
	if list, ok := value.([]any); value == nil || ok && len(list) == 0 {
		return true // as good as missing
	}
	usual, ok := c.shape.Filled[at.pattern]
	return ok && (usual == nil || reflect.DeepEqual(usual, value))
}

// list compares item by item those that belong together: by their key, or by
// their place in lists whose items have none.
func (c *comparer) list(p place, want, live []any) {
	key := keyOf(want)
	if key == "" {
		if len(want) != len(live) {
			c.differ(p)
			return
		}
		for i := range want {
			c.compare(p.item(i), want[i], live[i])
		}
		return
	}
	wanted := make(map[any]any, len(want))
	for _, w := range want {
		wanted[w.(map[string]any)[key]] = w
	}
	found := 0
	for i, l := range live {
		item, _ := l.(map[string]any)
		w, ok := wanted[item[key]]
		if !ok {
			c.Extra = append(c.Extra, p.item(i).path)
			continue
		}
		found++
		c.compare(p.item(i), w, l)
	}
	if found != len(want) {
		c.differ(p)
	}
}

// keyOf finds the field by which items of a list are told apart: one that all
// have, with values that differ.
func keyOf(list []any) string {
	for _, key := range []string{"name", "mountPath", "topologyKey"} {
		if unique(list, key) {
			return key
		}
	}
	return ""
}

func unique(list []any, key string) bool {
	seen := make(map[any]bool, len(list))
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok || m[key] == nil || seen[m[key]] {
			return false
		}
		if _, text := m[key].(string); !text {
			return false
		}
		seen[m[key]] = true
	}
	return len(list) > 0
}

// equal compares scalars; numbers by value. An empty text is left out by the
// cluster.
func equal(a, b any) bool {
	if a == "" && b == nil {
		return true
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (string, bool) {
	switch n := v.(type) {
	case int64, int, int32, uint64:
		return fmt.Sprint(n), true
	case float64:
		return strconv.FormatFloat(n, 'f', -1, 64), true
	}
	return "", false
}

// escape makes a key part of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
