package tenant_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
	"github.com/moorage-dev/moorage/market/tenant"
)

// shop is a market with one provider, and a tenant on it.
func shop(t *testing.T) (*memmarket.Market, *tenant.Tenant) {
	t.Helper()
	m, err := memmarket.New(memmarket.Config{BlockPerSubmit: true, BlockTime: 7 * time.Second, Balances: map[market.Address]market.Coins{
		"tenant": {market.NewCoin("uact", 3_000_000)},
	}})
	require.NoError(t, err)
	_, err = m.Client("provider").Submit(t.Context(), market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://provider.test"}})
	require.NoError(t, err)
	buyer, err := tenant.New(tenant.Config{Market: m.Client("tenant"), Dial: func(market.Provider) (tenant.Gateway, error) { return nil, market.ErrUnavailable }})
	require.NoError(t, err)
	return m, buyer
}

func TestARetainerIsOpenedListedAndReleased(t *testing.T) {
	m, buyer := shop(t)
	msg := market.OpenRetainer{
		ID:    market.RetainerID{Provider: "provider", Kind: "address", Name: "web"},
		Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(10)},
	}
	kept, err := buyer.Retain(t.Context(), msg)
	require.NoError(t, err)
	assert.Equal(t, market.RetainerOpen, kept.State)
	assert.Equal(t, "500000", kept.Funds.String(), "the least the market takes")
	open, err := buyer.Retainers(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []market.Retainer{kept}, open)

	_, err = buyer.Retain(t.Context(), msg)
	require.ErrorIs(t, err, market.ErrExists)
	dear := msg
	dear.ID.Name, dear.Deposit = "dear", market.NewCoin("uact", 3_000_000)
	_, err = buyer.Retain(t.Context(), dear)
	require.ErrorIs(t, err, market.ErrInsufficientFunds)
	require.ErrorContains(t, err, "has 2500000uact")

	ended, err := buyer.Release(t.Context(), kept.ID)
	require.NoError(t, err)
	assert.Equal(t, market.RetainerClosed, ended.State)
	_, err = buyer.Release(t.Context(), kept.ID)
	require.ErrorIs(t, err, market.ErrState)
	open, err = buyer.Retainers(t.Context())
	require.NoError(t, err)
	assert.Empty(t, open)
	require.NoError(t, m.Check())
}

func TestANoticeInTimeBecomesBlocks(t *testing.T) {
	m, buyer := shop(t)
	unit := market.ResourceUnit{
		Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 20}},
		Count:     1, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(1)},
	}
	plan := tenant.Plan{Hash: market.Hash{1}, Reclamation: time.Hour, Groups: []market.GroupSpec{
		{Name: "asks", Units: []market.ResourceUnit{unit}}, {Name: "has", Units: []market.ResourceUnit{unit}, ReclaimBlocks: 9},
	}}
	_, orders, err := buyer.Create(t.Context(), plan)
	require.NoError(t, err)
	assert.EqualValues(t, 515, orders[0].Spec.ReclaimBlocks, "3600 seconds, of 7 each, rounded up")
	assert.EqualValues(t, 9, orders[1].Spec.ReclaimBlocks)
	assert.Zero(t, plan.Groups[0].ReclaimBlocks, "the plan is not changed")
	plan.Reclamation = 1 << 62
	_, _, err = buyer.Create(t.Context(), plan)
	require.ErrorIs(t, err, market.ErrLimit)
	require.NoError(t, m.Check())

	young, err := memmarket.New(memmarket.Config{})
	require.NoError(t, err)
	early, err := tenant.New(tenant.Config{Market: young.Client("tenant"), Dial: func(market.Provider) (tenant.Gateway, error) { return nil, nil }})
	require.NoError(t, err)
	plan.Reclamation, plan.Deposit = time.Hour, market.NewCoin("uact", 0)
	_, _, err = early.Create(t.Context(), plan)
	require.ErrorIs(t, err, market.ErrUnavailable, "one block tells no pace")
}
