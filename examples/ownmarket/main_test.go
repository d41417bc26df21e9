package main

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/markettest"
	"github.com/moorage-dev/moorage/market/memmarket"
)

func TestOnlyMembersOrder(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	assert.Contains(t, out.String(), "unauthorized: club-members-only: stranger is no member of this club")
	assert.Contains(t, out.String(), "member: the provider bids 3uact/block\n")
}

// TestConformance is what every host's author writes: for its members the club is
// a market like any other.
func TestConformance(t *testing.T) {
	markettest.Run(t, markettest.Harness{New: func(t *testing.T) markettest.World {
		t.Helper()
		host, err := memmarket.New(memmarket.Config{Params: markettest.Params(), BlockPerSubmit: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, host.Check()) })
		return &world{club: &Club{host: host, members: map[market.Address]bool{}}}
	}})
}

// world admits everybody who asks.
type world struct {
	club *Club
	next int
}

func (w *world) Client(context.Context) (market.Client, error) {
	w.next++
	a := market.Address(fmt.Sprintf("member%d", w.next))
	w.club.Admit(a)
	return w.club.Client(a), w.club.host.Fund(a, markettest.Funds()...)
}

func (w *world) Advance(_ context.Context, n int) error { return w.club.host.Advance(n) }
