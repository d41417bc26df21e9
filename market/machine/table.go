package machine

import (
	"errors"
	"iter"

	"github.com/moorage-dev/moorage/market"
)

// lookup returns a row and whether it is there.
func lookup[K Key, V any](t Table[K, V], k K) (V, bool, error) {
	v, err := t.Get(k)
	if errors.Is(err, market.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

// collect reads a scan to its end.
func collect[V any](rows iter.Seq2[V, error]) ([]V, error) {
	var out []V
	for v, err := range rows {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
