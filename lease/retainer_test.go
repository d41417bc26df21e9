package lease_test

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/lease"
	"github.com/moorage-dev/moorage/market"
)

func retainerID() market.RetainerID {
	return market.RetainerID{Owner: "tenant", Provider: "provider", Kind: "address", Name: "web"}
}

// retained returns a retainer from height 100 on.
func retained(t *testing.T, perBlock string, deposit uint64, expiresAt int64) *lease.Retained {
	t.Helper()
	r, err := lease.OpenRetainer(100, market.OpenRetainer{
		ID: retainerID(), Price: price(t, perBlock), Deposit: uact(deposit), ExpiresAt: expiresAt,
	})
	require.NoError(t, err)
	return r
}

func TestARetainerPaysUpToTheBlockItIsClosedIn(t *testing.T) {
	r := retained(t, "0.9", 1000, 0)
	assert.EqualValues(t, 100+1112+1, r.Retainer().DueAt)
	for h := int64(101); h < 200; h++ {
		require.NoError(t, r.Settle(h))
		r = lease.LoadRetainer(r.Retainer()) // as from storage
	}
	out, err := r.Withdraw(200, 0)
	require.NoError(t, err)
	assert.Equal(t, uact(90), out.Net)
	assert.Equal(t, market.Address("provider"), out.Provider)
	out, refund, err := r.Close(205, market.ReasonTenant, 0)
	require.NoError(t, err)
	assert.Equal(t, uact(4), out.Net)
	assert.Equal(t, uact(906), refund)
	closed := r.Retainer()
	assert.Equal(t, market.RetainerClosed, closed.State)
	assert.Equal(t, "94", closed.Withdrawn.String())
	assert.EqualValues(t, 205, closed.ClosedAt)
	assert.True(t, closed.Funds.IsZero() && closed.Balance.IsZero() && closed.DueAt == 0)
	again := lease.LoadRetainer(closed)
	require.ErrorIs(t, again.Settle(300), market.ErrState)
	require.ErrorIs(t, again.Deposit(300, uact(1)), market.ErrState)
	_, _, err = again.Close(300, market.ReasonTenant, 0)
	require.ErrorIs(t, err, market.ErrState)
}

func TestARetainerPaysNothingBeyondItsExpiry(t *testing.T) {
	r := retained(t, "10", 1000, 150)
	assert.EqualValues(t, 150, r.Retainer().DueAt)
	_, over := r.Over(149)
	assert.False(t, over)
	require.NoError(t, r.Settle(170), "the market is late")
	reason, over := r.Over(170)
	assert.True(t, over)
	assert.Equal(t, market.ReasonExpired, reason)
	require.ErrorIs(t, r.Deposit(170, uact(1)), market.ErrState)
	out, refund, err := r.Close(170, reason, 0)
	require.NoError(t, err)
	assert.Equal(t, uact(500), out.Net)
	assert.Equal(t, uact(500), refund)
}

func TestADryRetainerIsOverUnlessADepositComesInTheSameBlock(t *testing.T) {
	r := retained(t, "30", 100, 0)
	assert.EqualValues(t, 104, r.Retainer().DueAt, "three blocks are paid, the fourth is not")
	require.NoError(t, r.Settle(104))
	reason, over := r.Over(104)
	assert.True(t, over)
	assert.Equal(t, market.ReasonInsufficientFunds, reason)
	dry := r.Retainer()
	assert.EqualValues(t, 104, dry.DueAt, "now")
	assert.Equal(t, "20", dry.Unpaid.String())

	saved := lease.LoadRetainer(dry)
	require.NoError(t, saved.Deposit(104, uact(50)))
	_, over = saved.Over(104)
	assert.False(t, over)
	assert.EqualValues(t, 106, saved.Retainer().DueAt)

	out, refund, err := r.Close(104, reason, 0)
	require.NoError(t, err)
	assert.Equal(t, uact(100), out.Net, "what is there goes to the provider")
	assert.True(t, refund.Amount.IsZero())
}

func TestARetainerTakesItsOwnDenominationOnly(t *testing.T) {
	r := retained(t, "10", 1000, 0)
	require.ErrorIs(t, r.Deposit(101, market.NewCoin("uakt", 5)), market.ErrInvalid)
	require.ErrorIs(t, r.Deposit(101, uact(0)), market.ErrInvalid)
	_, err := lease.OpenRetainer(100, market.OpenRetainer{ID: retainerID(), Price: price(t, "1"), Deposit: uact(9), ExpiresAt: 100})
	require.ErrorIs(t, err, market.ErrState, "it would have expired")
}

// A retainer that is settled now and then pays what one pays that is settled in
// every block: the whole part of price × blocks, until it is dry.
func TestARetainerDoesNotDependOnWhenOneLooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := market.OpenRetainer{
			ID: retainerID(), Price: market.Price{Denom: "uact", AmountPerBlock: genPrice().Draw(t, "price")},
			Deposit: uact(rapid.Uint64Range(20, 500).Draw(t, "deposit")), ExpiresAt: 100 + rapid.Int64Range(1, 90).Draw(t, "expires"),
		}
		eager, err := lease.OpenRetainer(100, msg)
		require.NoError(t, err)
		lazy, _ := lease.OpenRetainer(100, msg)
		end := eager.Retainer().DueAt
		for h := int64(101); h <= end; h++ {
			require.NoError(t, eager.Settle(h))
			_, over := eager.Over(h)
			require.Equal(t, h == end, over, "at %d", h)
		}
		reason, _ := eager.Over(end)
		out, refund, err := eager.Close(end, reason, 0)
		require.NoError(t, err)
		same, sameRefund, err := lazy.Close(end, reason, 0)
		require.NoError(t, err)
		require.Equal(t, out, same)
		require.Equal(t, refund, sameRefund)
		total, err := out.Net.Amount.Add(refund.Amount)
		require.NoError(t, err)
		require.Equal(t, msg.Deposit.Amount, total)
		if reason == market.ReasonExpired {
			due := new(big.Int).Mul(msg.Price.AmountPerBlock.Raw(), big.NewInt(end-100))
			require.Equal(t, due.Quo(due, market.NewDecimal(1).Raw()).String(), out.Net.Amount.String())
		}
	})
}
