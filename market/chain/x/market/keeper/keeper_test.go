package keeper_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/chain/x/market/keeper"
)

// bank is the chain's bank and accounts, in a map. Accounts are named by their
// bytes, modules by their name.
type bank struct {
	balances map[string]sdk.Coins
	// refused is an account that may receive nothing.
	refused sdk.AccAddress
}

func (b *bank) move(from, to string, c sdk.Coins) error {
	left, short := b.balances[from].SafeSub(c...)
	if short {
		return sdkerrors.ErrInsufficientFunds
	}
	b.balances[from], b.balances[to] = left, b.balances[to].Add(c...)
	return nil
}

func (b *bank) SendCoinsFromAccountToModule(_ context.Context, from sdk.AccAddress, to string, c sdk.Coins) error {
	return b.move(string(from), to, c)
}

func (b *bank) SendCoinsFromModuleToAccount(_ context.Context, from string, to sdk.AccAddress, c sdk.Coins) error {
	if to.Equals(b.refused) {
		return sdkerrors.ErrUnauthorized.Wrap("blocked")
	}
	return b.move(from, string(to), c)
}

func (b *bank) SendCoinsFromModuleToModule(_ context.Context, from, to string, c sdk.Coins) error {
	return b.move(from, to, c)
}

func (b *bank) SpendableCoins(_ context.Context, a sdk.AccAddress) sdk.Coins {
	return b.balances[string(a)]
}

func (b *bank) GetAllBalances(_ context.Context, a sdk.AccAddress) sdk.Coins {
	return b.balances[string(a)]
}

func (*bank) GetModuleAccount(context.Context, string) sdk.ModuleAccountI { return nil }
func (*bank) GetModuleAddress(name string) sdk.AccAddress                 { return sdk.AccAddress(name) }

const authority = "authority"

// fixture is a keeper on an empty store at height 1.
type fixture struct {
	*keeper.Keeper
	*bank
	ctx   sdk.Context
	store store.KVStoreService
}

func prefix() string { return sdk.GetConfig().GetBech32AccountAddrPrefix() }

func addressOf(name string) (market.Address, sdk.AccAddress) {
	raw := sdk.AccAddress(fmt.Sprintf("%-20s", name))
	return market.Address(raw.String()), raw
}

func newFixture(tb testing.TB) fixture {
	tb.Helper()
	key := storetypes.NewKVStoreKey(keeper.StoreKey)
	b := &bank{balances: make(map[string]sdk.Coins)}
	k, err := keeper.New(keeper.Config{
		Store: runtime.NewKVStoreService(key), Bank: b, Accounts: b, Addresses: address.NewBech32Codec(prefix()),
		FeeCollector: "fees", Authority: authority,
	})
	require.NoError(tb, err)
	ctx := testutil.DefaultContextWithKeys(map[string]*storetypes.KVStoreKey{key.Name(): key}, nil, nil).
		WithBlockHeight(1).WithBlockTime(time.Unix(1_800_000_000, 0))
	params := market.DefaultParams("uakt")
	params.OrderLifetimeBlocks = 10
	require.NoError(tb, k.SetParams(ctx, params))
	return fixture{k, b, ctx, runtime.NewKVStoreService(key)}
}

func (f fixture) fund(name string) market.Address {
	text, raw := addressOf(name)
	f.balances[string(raw)] = sdk.NewCoins(sdk.NewInt64Coin("uakt", 100_000_000_000_000))
	return text
}

func order(owner market.Address, dseq uint64) market.CreateDeployment {
	price, _ := market.ParseDecimal("1.5")
	return market.CreateDeployment{
		ID: market.DeploymentID{Owner: owner, DSeq: dseq}, Hash: market.Hash{1}, Deposit: market.NewCoin("uakt", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 26}},
			Count:     1, Price: market.Price{Denom: "uakt", AmountPerBlock: price},
		}}}},
	}
}

// do carries a message out as a transaction would.
func (f fixture) do(m market.Msg) error {
	ctx, write := f.ctx.CacheContext()
	if err := f.Execute(ctx, m); err != nil {
		return err
	}
	write()
	return nil
}

func TestAMessageMovesMoneyAndSpeaks(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	require.NoError(t, f.do(order(owner, 1)))
	pot, err := f.Pot(f.ctx)
	require.NoError(t, err)
	assert.Equal(t, market.Coins{market.NewCoin("uakt", 500_000)}, pot)
	var kinds []string
	for _, e := range f.ctx.EventManager().Events() {
		kinds = append(kinds, strings.TrimPrefix(e.Type, marketpb.EventPrefix))
	}
	assert.Equal(t, []string{"DeploymentCreated", "OrderCreated"}, kinds)
}

func TestARefusalKeepsRuleAndCode(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	require.NoError(t, f.do(order(owner, 1)))
	err := f.do(order(owner, 1))
	require.ErrorIs(t, err, market.ErrExists)
	var rule *market.RuleError
	require.ErrorAs(t, err, &rule)
	space, code := marketpb.Code(err)
	assert.Equal(t, marketpb.Codespace, space)
	assert.Equal(t, uint32(3), code)
	poor, _ := addressOf("poor")
	require.ErrorIs(t, f.do(order(poor, 1)), market.ErrInsufficientFunds)
}

func TestAnAddressHasOneSpelling(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	for _, other := range []string{strings.ToUpper(string(owner)), "nobody", ""} {
		err := f.do(order(market.Address(other), 1))
		require.ErrorIs(t, err, market.ErrInvalid, other)
	}
}

func TestOrdersExpireAtTheEndOfABlock(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	require.NoError(t, f.do(order(owner, 1)))
	f.ctx = f.ctx.WithBlockHeight(11)
	require.NoError(t, f.EndBlock(f.ctx))
	groups, err := f.State(f.ctx).ListGroups(market.DeploymentID{Owner: owner, DSeq: 1})
	require.NoError(t, err)
	assert.Equal(t, market.GroupPaused, groups[0].State)
}

func TestABrokenThingDoesNotStopTheChain(t *testing.T) {
	f := newFixture(t)
	broken, healthy := f.fund("broken"), f.fund("healthy")
	require.NoError(t, f.do(order(broken, 1)))
	require.NoError(t, f.do(order(healthy, 1)))
	id := market.DeploymentID{Owner: broken, DSeq: 1}
	require.NoError(t, f.State(f.ctx).Groups.Delete(market.GroupID{DeploymentID: id, GSeq: 1}))
	require.NoError(t, f.State(f.ctx).Accounts.Delete(id))
	f.ctx = f.ctx.WithBlockHeight(11)
	require.NoError(t, f.EndBlock(f.ctx))
	o, err := f.State(f.ctx).Orders.Get(market.OrderID{GroupID: market.GroupID{DeploymentID: id, GSeq: 1}, OSeq: 1})
	require.NoError(t, err)
	assert.Equal(t, market.OrderOpen, o.State, "what failed is as it was")
	groups, err := f.State(f.ctx).ListGroups(market.DeploymentID{Owner: healthy, DSeq: 1})
	require.NoError(t, err)
	assert.Equal(t, market.GroupPaused, groups[0].State, "the others went on")
	for timer, err := range f.State(f.ctx).Timers.Scan(nil, nil) {
		require.NoError(t, err)
		assert.Greater(t, timer.Height, int64(11), "nothing that is due is left")
	}
}

func TestMoneyOfABlockedAccountGoesTheWayOfFees(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	require.NoError(t, f.do(order(owner, 1)))
	_, f.refused = addressOf("owner")
	require.NoError(t, f.do(market.CloseDeployment{ID: market.DeploymentID{Owner: owner, DSeq: 1}}))
	assert.Equal(t, "500000uakt", f.balances["fees"].String())
	assert.True(t, f.balances[keeper.ModuleName].IsZero())
}

func TestParametersBelongToTheAuthority(t *testing.T) {
	f := newFixture(t)
	server := keeper.NewMsgServer(f.Keeper)
	want := market.DefaultParams("uakt", "uact")
	want.FeePerMyriad = 42
	_, err := server.UpdateParams(f.ctx, &marketpb.MsgUpdateParams{Authority: "someone", Params: marketpb.FromParams(want)})
	wantRule(t, err, market.ErrUnauthorized, "authority")
	_, err = server.UpdateParams(f.ctx, &marketpb.MsgUpdateParams{Authority: authority})
	wantRule(t, err, market.ErrInvalid, "params")
	_, err = server.UpdateParams(f.ctx, &marketpb.MsgUpdateParams{Authority: authority, Params: marketpb.FromParams(want)})
	require.NoError(t, err)
	got, err := f.Params(f.ctx)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// wantRule checks that an error is a refusal, and comes out of its own text again.
func wantRule(t *testing.T, err error, kind error, rule string) {
	t.Helper()
	require.Error(t, err)
	again, ok := marketpb.ParseError(err.Error())
	require.True(t, ok, err)
	require.ErrorIs(t, again, kind)
	var re *market.RuleError
	require.ErrorAs(t, again, &re)
	require.Equal(t, rule, re.Rule)
}

func TestAddressesThatAGroupListsAreWrittenAsTheChainWritesThem(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	other, _ := addressOf("other")
	capitals := []market.Address{market.Address(strings.ToUpper(string(other)))}
	for name, bend := range map[string]func(r *market.Requirements){
		"all of":   func(r *market.Requirements) { r.SignedBy.AllOf = capitals },
		"any of":   func(r *market.Requirements) { r.SignedBy.AnyOf = capitals },
		"allowed":  func(r *market.Requirements) { r.Providers.Allowed = capitals },
		"excluded": func(r *market.Requirements) { r.Providers.Excluded = capitals },
		"no such":  func(r *market.Requirements) { r.Providers.Excluded = []market.Address{"provider"} },
	} {
		msg := order(owner, 1)
		bend(&msg.Groups[0].Requirements)
		t.Run(name, func(t *testing.T) { wantRule(t, f.do(msg), market.ErrInvalid, "address") })
	}
	msg := order(owner, 1)
	msg.Groups[0].Requirements.Providers.Excluded = []market.Address{other}
	msg.Groups[0].Requirements.SignedBy.AnyOf = []market.Address{"akash1365yvmc4s7awdyj3n2sav7xfx76adc6dnmlx63"}
	require.NoError(t, f.do(msg))
}

func TestAGenesisIsNotSettledBeyondItsHeight(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.do(order(f.fund("owner"), 1)))
	g, err := f.ExportGenesis(f.ctx)
	require.NoError(t, err)
	g.Accounts[0].SettledAt = 2
	later := newFixture(t)
	later.balances = f.balances
	require.ErrorIs(t, later.InitGenesis(later.ctx, g), market.ErrInvalid)
}

func TestGenesisComesBackAsItWent(t *testing.T) {
	f := newFixture(t)
	for i := range 5 {
		owner := f.fund(fmt.Sprintf("owner%d", i))
		require.NoError(t, f.do(order(owner, 12)))
		require.NoError(t, f.do(order(owner, 123)))
	}
	want, err := f.ExportGenesis(f.ctx)
	require.NoError(t, err)
	again := newFixture(t)
	again.balances[keeper.ModuleName] = f.balances[keeper.ModuleName]
	require.NoError(t, again.InitGenesis(again.ctx, want))
	got, err := again.ExportGenesis(again.ctx)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	for timer, err := range again.State(again.ctx).Timers.Scan(nil, nil) {
		require.NoError(t, err)
		assert.Equal(t, int64(11), timer.Height)
	}
}

func TestGenesisWithoutItsMoneyIsRefused(t *testing.T) {
	f := newFixture(t)
	owner := f.fund("owner")
	require.NoError(t, f.do(order(owner, 1)))
	g, err := f.ExportGenesis(f.ctx)
	require.NoError(t, err)
	again := newFixture(t)
	require.Error(t, again.InitGenesis(again.ctx, g))
}

func TestTablesKeepTheContract(t *testing.T) {
	f := newFixture(t)
	table := f.State(f.ctx).Deployments
	var want []market.DeploymentID
	for _, owner := range []market.Address{"a", "ab", "b"} {
		for _, dseq := range []uint64{1, 12, 123, 1 << 40} {
			id := market.DeploymentID{Owner: owner, DSeq: dseq}
			require.NoError(t, table.Set(id, market.Deployment{ID: id, State: market.DeploymentActive}))
			want = append(want, id)
		}
	}
	scan := func(prefix, after []byte) (ids []market.DeploymentID) {
		for d, err := range table.Scan(prefix, after) {
			require.NoError(t, err)
			ids = append(ids, d.ID)
		}
		return ids
	}
	assert.Equal(t, want, scan(nil, nil))
	assert.Equal(t, want[4:8], scan(market.Address("ab").AppendKey(nil), nil))
	assert.Equal(t, want[6:8], scan(market.Address("ab").AppendKey(nil), want[5].AppendKey(nil)))
	assert.Equal(t, want[3:], scan(nil, want[2].AppendKey(nil)))
	assert.Equal(t, want[:1], scan(want[0].AppendKey(nil), nil), "12 and 123 do not begin with 1")
	assert.Empty(t, scan(market.Address("a").AppendKey(nil), want[11].AppendKey(nil)))
	_, err := table.Get(market.DeploymentID{Owner: "c", DSeq: 1})
	require.ErrorIs(t, err, market.ErrNotFound)
	require.NoError(t, table.Delete(market.DeploymentID{Owner: "c", DSeq: 1}), "nothing to delete is no error")
	for _, err := range table.Scan(nil, nil) {
		require.NoError(t, err)
		break // leaves no iterator open
	}
}

func TestQueriesAreBounded(t *testing.T) {
	f := newFixture(t)
	server := keeper.NewQueryServer(f.Keeper)
	_, err := server.Deployment(f.ctx, &marketpb.QueryDeploymentRequest{Owner: "x", Dseq: 1})
	refusal, ok := marketpb.ParseError(err.Error())
	require.True(t, ok)
	require.ErrorIs(t, refusal, market.ErrNotFound)
	for name, page := range badPages() {
		_, err := server.Orders(f.ctx, &marketpb.QueryOrdersRequest{Pagination: page})
		refusal, ok := marketpb.ParseError(err.Error())
		require.True(t, ok, name)
		require.ErrorIs(t, refusal, market.ErrInvalid, name)
	}
	_, err = server.Balances(f.ctx, &marketpb.QueryBalancesRequest{Address: "x"})
	require.Error(t, err)
}

// filled returns a keeper with n deployments of many owners.
func filled(b *testing.B, n int) fixture {
	b.Helper()
	f := newFixture(b)
	for i := range n {
		text, raw := addressOf(fmt.Sprintf("o%d", i/100))
		if i%100 == 0 {
			f.balances[string(raw)] = sdk.NewCoins(sdk.NewInt64Coin("uakt", 100_000_000_000_000))
		}
		require.NoError(b, f.Execute(f.ctx.WithEventManager(sdk.NewEventManager()), order(text, uint64(i%100+1))))
	}
	return f
}

func BenchmarkCreateDeployment(b *testing.B) {
	for _, existing := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprintf("existing=%d", existing), func(b *testing.B) {
			f := filled(b, existing)
			owner := f.fund("bench")
			b.ReportAllocs()
			dseq := uint64(0)
			for b.Loop() {
				dseq++
				if err := f.Execute(f.ctx.WithEventManager(sdk.NewEventManager()), order(owner, dseq)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
