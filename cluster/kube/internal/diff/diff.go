// Package diff compares what was rendered with what a cluster has. It is pure.
package diff

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Result says how an object differs from what is wanted.
type Result struct {
	// Differs: a wanted field is missing or has another value; the first is named.
	Differs string
	// Extra are JSON pointers to items of wanted lists that somebody added, last
	// first, so that they can be removed one after the other.
	Extra []string
}

// Clean reports whether there is nothing to do.
func (r Result) Clean() bool { return r.Differs == "" && len(r.Extra) == 0 }

// Compare looks whether live has every field of want. Fields that want does not
// name are not looked at: the cluster fills in defaults, and others have fields
// of their own. Lists must have no other items. Both are JSON values with int64
// or float64 numbers.
func Compare(want, live any) Result {
	var r Result
	r.compare("", want, live)
	slices.Reverse(r.Extra)
	return r
}

func (r *Result) differ(path string) {
	if r.Differs == "" {
		r.Differs = path
	}
}

func (r *Result) compare(path string, want, live any) {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			if len(w) > 0 || live != nil {
				r.differ(path)
			}
			return
		}
		for k, v := range w {
			r.compare(path+"/"+escape(k), v, l[k])
		}
	case []any:
		l, ok := live.([]any)
		if !ok {
			if len(w) > 0 {
				r.differ(path)
			}
			return
		}
		r.list(path, w, l)
	default:
		if !equal(want, live) {
			r.differ(path)
		}
	}
}

// list compares item by item those that belong together: by their key, or by
// their place in lists whose items have none.
func (r *Result) list(path string, want, live []any) {
	key := keyOf(want)
	if key == "" {
		if len(want) != len(live) {
			r.differ(path)
			return
		}
		for i := range want {
			r.compare(path+"/"+strconv.Itoa(i), want[i], live[i])
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
		at := path + "/" + strconv.Itoa(i)
		w, ok := wanted[item[key]]
		if !ok {
			r.Extra = append(r.Extra, at)
			continue
		}
		found++
		r.compare(at, w, l)
	}
	if found != len(want) {
		r.differ(path)
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

// equal compares scalars; numbers by value.
func equal(a, b any) bool {
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
