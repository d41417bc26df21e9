package markettest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/markettest"
	"github.com/moorage-dev/moorage/market/memmarket"
)

// world is a market in memory that makes a block with each submission.
type world struct {
	market *memmarket.Market
	next   int
	// wrap, if set, makes the clients worse.
	wrap func(market.Client) market.Client
}

func newWorld(t *testing.T, change func(*memmarket.Config)) *world {
	t.Helper()
	cfg := memmarket.Config{Params: markettest.Params(), BlockPerSubmit: true}
	if change != nil {
		change(&cfg)
	}
	m, err := memmarket.New(cfg)
	require.NoError(t, err)
	return &world{market: m}
}

func (w *world) Client(context.Context) (market.Client, error) {
	w.next++
	a := market.Address(fmt.Sprintf("account%d", w.next))
	if err := w.market.Fund(a, markettest.Funds()...); err != nil {
		return nil, err
	}
	var c market.Client = w.market.Client(a)
	if w.wrap != nil {
		c = w.wrap(c)
	}
	return c, nil
}

func (w *world) Advance(_ context.Context, n int) error { return w.market.Advance(n) }

func TestMemmarketConforms(t *testing.T) {
	markettest.Run(t, markettest.Harness{New: func(t *testing.T) markettest.World {
		t.Helper()
		w := newWorld(t, nil)
		t.Cleanup(func() { require.NoError(t, w.market.Check()) })
		return w
	}})
}

func TestMemmarketConformsWhenCasesShareIt(t *testing.T) {
	var w *world
	markettest.Run(t, markettest.Harness{Shared: true, New: func(t *testing.T) markettest.World {
		t.Helper()
		w = newWorld(t, nil)
		return w
	}})
	require.NoError(t, w.market.Check())
}
