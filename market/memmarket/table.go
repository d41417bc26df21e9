package memmarket

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// maxChunk bounds a chunk of a table: an insertion moves at most so many rows.
const maxChunk = 256

// table is a [machine.Table]: rows in key order, cut into chunks. Changes are
// noted in the journal so that they can be undone.
type table[K machine.Key, V any] struct {
	name    string
	chunks  [][]entry[V]
	journal *journal
	scratch []byte
}

type entry[V any] struct {
	key   string
	value V
}

func newTable[K machine.Key, V any](name string, j *journal) *table[K, V] {
	return &table[K, V]{name: name, journal: j}
}

// find returns where a key is, or where it would be inserted.
func (t *table[K, V]) find(k []byte) (chunk, at int, found bool) {
	chunk = sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i][0].key > string(k) }) - 1
	if chunk < 0 {
		return 0, 0, false
	}
	c := t.chunks[chunk]
	at = sort.Search(len(c), func(i int) bool { return c[i].key >= string(k) })
	return chunk, at, at < len(c) && c[at].key == string(k)
}

func (t *table[K, V]) key(k K) []byte {
	t.scratch = k.AppendKey(t.scratch[:0])
	return t.scratch
}

// Get implements [machine.Table].
func (t *table[K, V]) Get(k K) (V, error) {
	chunk, at, found := t.find(k.AppendKey(nil)) // readers run side by side: no scratch
	if !found {
		var zero V
		return zero, fmt.Errorf("memmarket: %s %v: %w", t.name, k, market.ErrNotFound)
	}
	return t.chunks[chunk][at].value, nil
}

// Set implements [machine.Table].
func (t *table[K, V]) Set(k K, v V) error {
	raw := t.key(k)
	chunk, at, found := t.find(raw)
	if found {
		e := &t.chunks[chunk][at]
		old, name := e.value, e.key
		t.journal.note(func() { t.put(name, old) })
		e.value = v
		return nil
	}
	name := string(raw)
	t.journal.note(func() { t.remove([]byte(name)) })
	t.put(name, v)
	return nil
}

// Delete implements [machine.Table].
func (t *table[K, V]) Delete(k K) error {
	raw := t.key(k)
	if chunk, at, found := t.find(raw); found {
		e := t.chunks[chunk][at]
		t.journal.note(func() { t.put(e.key, e.value) })
		t.remove(raw)
	}
	return nil
}

// put writes a row without a note.
func (t *table[K, V]) put(k string, v V) {
	chunk, at, found := t.find([]byte(k))
	switch {
	case found:
		t.chunks[chunk][at].value = v
		return
	case len(t.chunks) == 0:
		t.chunks = append(t.chunks, []entry[V]{{k, v}})
		return
	}
	c := slices.Insert(t.chunks[chunk], at, entry[V]{k, v})
	t.chunks[chunk] = c
	if len(c) > maxChunk {
		half := len(c) / 2
		t.chunks = slices.Insert(t.chunks, chunk+1, slices.Clone(c[half:]))
		clear(c[half:])
		t.chunks[chunk] = c[:half]
	}
}

// remove deletes a row without a note.
func (t *table[K, V]) remove(k []byte) {
	chunk, at, found := t.find(k)
	if !found {
		return
	}
	c := slices.Delete(t.chunks[chunk], at, at+1)
	t.chunks[chunk] = c
	if len(c) == 0 {
		t.chunks = slices.Delete(t.chunks, chunk, chunk+1)
	}
}

// Scan implements [machine.Table].
func (t *table[K, V]) Scan(prefix, after []byte) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		from := prefix
		if bytes.Compare(after, from) > 0 {
			from = after
		}
		chunk, at, _ := t.find(from)
		for ; chunk < len(t.chunks); chunk, at = chunk+1, 0 {
			for _, e := range t.chunks[chunk][at:] {
				if !strings.HasPrefix(e.key, string(prefix)) {
					if e.key > string(prefix) {
						return
					}
					continue
				}
				if len(after) > 0 && e.key <= string(after) {
					continue
				}
				if !yield(e.value, nil) {
					return
				}
			}
		}
	}
}

// journal remembers how to undo what was done since the last mark.
type journal struct{ undo []func() }

func (j *journal) note(undo func()) { j.undo = append(j.undo, undo) }

// mark forgets what was noted: it stays done.
func (j *journal) mark() {
	clear(j.undo)
	j.undo = j.undo[:0]
}

// rollback undoes everything since the mark.
func (j *journal) rollback() {
	for _, undo := range slices.Backward(j.undo) {
		undo()
	}
	j.mark()
}
