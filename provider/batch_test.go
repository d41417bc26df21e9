package provider

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
)

// gate is a market that carries out nothing until it is opened.
type gate struct {
	market.Writer

	open chan struct{}
}

func (g gate) Submit(ctx context.Context, _ ...market.Msg) (market.Receipt, error) {
	select {
	case <-g.open:
		return market.Receipt{}, nil
	case <-ctx.Done():
		return market.Receipt{}, ctx.Err()
	}
}

func TestACallerWhoLeavesTakesNobodyElsesMessageAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{open: make(chan struct{})}
		b := &batcher{market: g}
		fates := make(chan error, maxInFlight+2)
		send := func(ctx context.Context) {
			go func() { fates <- b.submit(ctx, market.WithdrawLease{}) }()
			synctest.Wait()
		}
		for range maxInFlight {
			send(t.Context())
		}
		leader, leave := context.WithCancel(t.Context())
		send(leader)
		send(t.Context())
		g.open <- struct{}{} // the leader and the one behind it are on their way
		require.NoError(t, <-fates)
		leave()
		synctest.Wait()
		assert.Empty(t, fates)
		close(g.open)
		for range maxInFlight + 1 {
			assert.NoError(t, <-fates)
		}
	})
}
