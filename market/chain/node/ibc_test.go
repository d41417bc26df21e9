package node_test

import (
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	transfertypes "github.com/cosmos/ibc-go/v11/modules/apps/transfer/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// validatorSet is a set of validators in wire form.
type validatorSet = cmtproto.ValidatorSet

func sdkCoin(c market.Coin) sdk.Coin { return marketpb.FromCoin(c) }

// foreign is the dollar of the left chain, as the right chain calls it after it
// came over the first channel.
func foreign() string {
	return transfertypes.NewDenom("uusd", transfertypes.NewHop(port, channel)).IBCDenom()
}

func ibcGenesis(chainID string, denoms []string, funds map[string]market.Coins) app.Genesis {
	g := app.Genesis{ChainID: chainID, Market: market.DefaultParams(denoms...)}
	for _, name := range []string{"tenant", "provider", "relayer"} {
		coins, err := market.Coins{}.Add(market.NewCoin("uakt", 10_000_000))
		if err != nil {
			panic(err)
		}
		for _, c := range funds[name] {
			if coins, err = coins.Add(c); err != nil {
				panic(err)
			}
		}
		g.Accounts = append(g.Accounts, app.Account{Address: account(name).Address(), Coins: coins})
	}
	return g
}

func balance(t *testing.T, c *client.Client, denom string) uint64 {
	t.Helper()
	all, err := c.Balances(t.Context(), c.Address())
	require.NoError(t, err)
	n, _ := all.Of(denom).Uint64()
	return n
}

func TestALeaseIsPaidInATokenFromAnotherChain(t *testing.T) {
	left := newEnd(t, ibcGenesis("left-1", []string{"uakt"}, map[string]market.Coins{"tenant": {market.NewCoin("uusd", 9_000_000)}}))
	right := newEnd(t, ibcGenesis("right-1", []string{"uakt", foreign()}, nil))
	began := time.Now()
	connect(left, right)
	t.Logf("clients, connection and channel after %s", time.Since(began))

	home := dial(t, left.node, account("tenant"))
	tenant, provider := dial(t, right.node, account("tenant")), dial(t, right.node, account("provider"))
	transfer(left, right, home, tenant.Address(), market.NewCoin("uusd", 5_000_000))
	require.Equal(t, uint64(4_000_000), balance(t, home, "uusd"))
	require.Equal(t, uint64(5_000_000), balance(t, tenant, foreign()))

	earned := leaseIn(t, tenant, provider, foreign())
	require.Positive(t, earned)
	require.Equal(t, earned, balance(t, provider, foreign()))

	// The provider takes what it earned to the chain that the token is of.
	payee := dial(t, left.node, account("provider"))
	transfer(right, left, provider, payee.Address(), market.NewCoin(foreign(), earned))
	assert.Equal(t, earned, balance(t, payee, "uusd"), "it is the token of that chain again")
	assert.Zero(t, balance(t, provider, foreign()))
}

// leaseIn runs a lease in a denomination for some blocks and returns what the
// provider was paid in all.
func leaseIn(t *testing.T, tenant, provider *client.Client, denom string) uint64 {
	t.Helper()
	create := deployment(tenant, 1)
	create.Deposit = market.NewCoin(denom, 2_000_000)
	create.Groups[0].Units[0].Price.Denom = denom
	_, err := tenant.Submit(t.Context(), create)
	require.NoError(t, err)
	order := market.OrderID{GroupID: market.GroupID{DeploymentID: create.ID, GSeq: 1}, OSeq: 1}
	bid := market.CreateBid{
		ID: market.BidID{OrderID: order, Provider: provider.Address()}, Deposit: market.NewCoin("uakt", 500_000),
		Price: create.Groups[0].Units[0].Price,
	}
	_, err = provider.Submit(t.Context(), market.CreateProvider{Provider: market.Provider{Owner: provider.Address(), HostURI: "https://p.example"}}, bid)
	require.NoError(t, err)
	receipt, err := tenant.Submit(t.Context(), market.CreateLease{ID: bid.ID})
	require.NoError(t, err)
	for b, err := range provider.Watch(t.Context(), receipt.Height) {
		require.NoError(t, err)
		if b.Height == receipt.Height+10 {
			break
		}
	}
	closed, err := tenant.Submit(t.Context(), market.CloseDeployment{ID: create.ID})
	require.NoError(t, err)
	blocks := uint64(closed.Height - receipt.Height)
	assert.Equal(t, 5_000_000-blocks*3/2, balance(t, tenant, denom), "1.5 for each of %d blocks", blocks)
	return blocks * 3 / 2
}
