package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"cosmossdk.io/collections"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// table is a collection bound to the context of a block or a query.
type table[K machine.Key, V any] struct {
	ctx  context.Context //nolint:containedctx // the table lives as long as the call
	rows collections.Map[K, V]
}

// Get implements machine.Table.
func (t table[K, V]) Get(k K) (V, error) {
	v, err := t.rows.Get(t.ctx, k)
	return v, notFound(t.rows.GetName(), k, err)
}

// Set implements machine.Table.
func (t table[K, V]) Set(k K, v V) error { return t.rows.Set(t.ctx, k, v) }

// Delete implements machine.Table.
func (t table[K, V]) Delete(k K) error { return t.rows.Remove(t.ctx, k) }

// Scan implements machine.Table.
func (t table[K, V]) Scan(prefix, after []byte) iter.Seq2[V, error] {
	return scan(t.ctx, t.rows, prefix, after, collections.Iterator[K, V].Value)
}

// keyTable is a collection whose rows are their own keys.
type keyTable[K machine.Key] struct {
	ctx  context.Context //nolint:containedctx // the table lives as long as the call
	keys collections.KeySet[K]
}

// Get implements machine.Table.
func (t keyTable[K]) Get(k K) (K, error) {
	has, err := t.keys.Has(t.ctx, k)
	if err == nil && !has {
		err = collections.ErrNotFound
	}
	return k, notFound("index", k, err)
}

// Set implements machine.Table. The row is the key.
func (t keyTable[K]) Set(k, _ K) error { return t.keys.Set(t.ctx, k) }

// Delete implements machine.Table.
func (t keyTable[K]) Delete(k K) error { return t.keys.Remove(t.ctx, k) }

// Scan implements machine.Table.
func (t keyTable[K]) Scan(prefix, after []byte) iter.Seq2[K, error] {
	m := collections.Map[K, collections.NoValue](t.keys)
	return scan(t.ctx, m, prefix, after, collections.Iterator[K, collections.NoValue].Key)
}

// scan yields what read makes of each row whose key begins with prefix and is
// greater than after.
func scan[K, V, R any](
	ctx context.Context, m collections.Map[K, V], prefix, after []byte,
	read func(collections.Iterator[K, V]) (R, error),
) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		start, end := bounds(prefix, after)
		it, err := m.IterateRaw(ctx, start, end, collections.OrderAscending)
		if errors.Is(err, collections.ErrInvalidIterator) {
			return // after lies behind the prefix
		} else if err != nil {
			var zero R
			yield(zero, err)
			return
		}
		defer func() { _ = it.Close() }() // frees memory; there is nothing to lose
		for ; it.Valid(); it.Next() {
			row, err := read(it)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// bounds returns the half-open range of keys that begin with prefix and are
// greater than after.
func bounds(prefix, after []byte) (start, end []byte) {
	start = prefix
	if bytes.Compare(after, prefix) >= 0 && len(after) > 0 {
		start = append(bytes.Clone(after), 0)
	}
	return start, prefixEnd(prefix)
}

// prefixEnd returns the smallest key that is greater than all with the prefix,
// nil when there is none.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// notFound translates the error for an absent row.
func notFound(table string, k any, err error) error {
	if errors.Is(err, collections.ErrNotFound) {
		return fmt.Errorf("market: %s %v: %w", table, k, market.ErrNotFound)
	}
	return err
}
