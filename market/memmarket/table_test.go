package memmarket

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
)

// name is a key whose binary key is its text.
type name string

func (n name) AppendKey(b []byte) []byte { return append(b, n...) }

// A table must behave like a sorted map, before and after a rollback.
func TestATableIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := &journal{}
		tab := newTable[name, int]("row", j)
		model, marked := map[name]int{}, map[name]int{}
		draw := func(t *rapid.T) name { return name(rapid.StringMatching(`[ab]{0,4}`).Draw(t, "key")) }
		copyOf := func(m map[name]int) map[name]int {
			out := map[name]int{}
			for k, v := range m {
				out[k] = v
			}
			return out
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := draw(t), rapid.Int().Draw(t, "value")
				require.NoError(t, tab.Set(k, v))
				model[k] = v
			},
			"delete": func(t *rapid.T) {
				k := draw(t)
				require.NoError(t, tab.Delete(k))
				delete(model, k)
			},
			"mark":     func(*rapid.T) { j.mark(); marked = copyOf(model) },
			"rollback": func(*rapid.T) { j.rollback(); model = copyOf(marked) },
			"": func(t *rapid.T) {
				k := draw(t)
				v, err := tab.Get(k)
				want, ok := model[k]
				require.Equal(t, want, v)
				if !ok {
					require.ErrorIs(t, err, market.ErrNotFound)
				}
				prefix, after := draw(t), draw(t)
				require.Equal(t, scanModel(model, prefix, after), scanTable(t, tab, prefix, after), "prefix %q after %q", prefix, after)
			},
		})
	})
}

func scanTable(t *rapid.T, tab *table[name, int], prefix, after name) (out []int) {
	for v, err := range tab.Scan([]byte(prefix), []byte(after)) {
		require.NoError(t, err)
		out = append(out, v)
	}
	return out
}

func scanModel(model map[name]int, prefix, after name) (out []int) {
	var keys []name
	for k := range model {
		if strings.HasPrefix(string(k), string(prefix)) && (after == "" || k > after) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, cmp.Compare[name])
	for _, k := range keys {
		out = append(out, model[k])
	}
	return out
}

// Chunks split and vanish: many rows in an order that touches all of them.
func TestATableOfManyRowsStaysSorted(t *testing.T) {
	tab := newTable[market.DeploymentID, uint64]("row", &journal{})
	const n = 20_000
	for i := range uint64(n) {
		dseq := i*7919%n + 1
		require.NoError(t, tab.Set(market.DeploymentID{Owner: "a", DSeq: dseq}, dseq))
	}
	next := uint64(1)
	for v, err := range tab.Scan(nil, nil) {
		require.NoError(t, err)
		require.Equal(t, next, v)
		next++
	}
	require.EqualValues(t, n+1, next)
	for i := range uint64(n) {
		require.NoError(t, tab.Delete(market.DeploymentID{Owner: "a", DSeq: i*6007%n + 1}))
	}
	require.Empty(t, tab.chunks)
}
