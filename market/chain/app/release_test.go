package app

import (
	"context"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	transfertypes "github.com/cosmos/ibc-go/v11/modules/apps/transfer/types"
	"github.com/cosmos/ibc-go/v11/modules/core/exported"
	tendermint "github.com/cosmos/ibc-go/v11/modules/light-clients/07-tendermint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	rules "github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/chain/x/market"
	marketkeeper "github.com/moorage-dev/moorage/market/chain/x/market/keeper"
)

// upgradeHeight is when the chain of the test upgrades.
const upgradeHeight = 6

// oldMarket is version 1 of the market's module: its parameters were fewer. It
// also plans the upgrade, as governance would.
type oldMarket struct {
	market.Module
	app *App
}

func (oldMarket) ConsensusVersion() uint64 { return 1 }

// EndBlock is where version 1's parameters are written and the plan is made.
func (m oldMarket) EndBlock(ctx context.Context) error {
	c := sdk.UnwrapSDKContext(ctx)
	if c.BlockHeight() != 1 {
		return m.Module.EndBlock(ctx)
	}
	p := marketpb.FromParams(testParams())
	p.ScaleBlocks, p.MaxReclaimBlocks, p.Limits.MaxListed, p.Limits.MaxGroupBytes = 0, 0, 0, 0
	raw, err := p.Marshal()
	if err != nil {
		return err
	}
	c.KVStore(m.app.keepers.stores[marketkeeper.StoreKey]).Set([]byte{0}, raw)
	return m.app.keepers.upgrade.ScheduleUpgrade(ctx, upgradetypes.Plan{Name: Releases()[0].Name, Height: upgradeHeight})
}

func testParams() rules.Params {
	p := rules.DefaultParams("uakt")
	p.FeePerMyriad = 42
	return p
}

// oldProgram is the program before the first release: without IBC, with version
// 1 of the market, and without a handler of the upgrade.
func oldProgram(t *testing.T, db dbm.DB, home string) *App {
	t.Helper()
	enc, err := newEncoding()
	require.NoError(t, err)
	base := baseapp.NewBaseApp(Name, Logger(nil), db, enc.tx.TxDecoder(), baseapp.SetChainID("old-1"))
	base.SetInterfaceRegistry(enc.registry)
	a := &App{BaseApp: base, codec: enc.codec, registry: enc.registry, amino: enc.amino, tx: enc.tx}
	c := Config{ChainID: "old-1", Home: home}
	a.keepers, err = newKeepers(a, c)
	require.NoError(t, err)
	later := []string{exported.ModuleName, transfertypes.ModuleName, tendermint.ModuleName}
	for _, name := range later {
		delete(a.keepers.stores, name)
	}
	a.base(c)
	a.modules, a.basics = newModules(a)
	for _, order := range []*[]string{
		&a.modules.OrderInitGenesis, &a.modules.OrderExportGenesis, &a.modules.OrderBeginBlockers,
		&a.modules.OrderEndBlockers, &a.modules.OrderPreBlockers,
	} {
		*order = slices.DeleteFunc(slices.Clone(*order), func(name string) bool { return slices.Contains(later, name) })
	}
	for _, name := range later {
		delete(a.modules.Modules, name)
	}
	a.modules.Modules[marketkeeper.ModuleName] = oldMarket{market.New(a.keepers.market), a}
	a.basics.RegisterInterfaces(a.registry)
	require.NoError(t, a.modules.RegisterServices(module.NewConfigurator(a.codec, a.MsgServiceRouter(), a.GRPCQueryRouter())))
	require.NoError(t, a.LoadLatestVersion())
	return a
}

// begin writes a genesis into an application.
func begin(t *testing.T, a *App) {
	t.Helper()
	g, err := a.NewGenesis(Genesis{
		ChainID: "old-1", Time: time.Unix(1_800_000_000, 0), Market: testParams(),
		Validators: []Validator{{Moniker: "one", Key: make([]byte, 32)}},
	})
	require.NoError(t, err)
	doc, err := g.ToGenesisDoc()
	require.NoError(t, err)
	params := doc.ConsensusParams.ToProto()
	_, err = a.InitChain(&abci.RequestInitChain{
		Time: doc.GenesisTime, ChainId: doc.ChainID, ConsensusParams: &params, AppStateBytes: doc.AppState, InitialHeight: 1,
	})
	require.NoError(t, err)
}

// advance makes blocks up to a height.
func advance(a *App, to int64) error {
	for h := a.LastBlockHeight() + 1; h <= to; h++ {
		_, err := a.FinalizeBlock(&abci.RequestFinalizeBlock{Height: h, Time: time.Unix(1_800_000_000+h, 0)})
		if err != nil {
			return err
		}
		if _, err := a.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func TestAChainOfTheFirstVersionUpgrades(t *testing.T) {
	db, home := dbm.NewMemDB(), t.TempDir()
	old := oldProgram(t, db, home)
	begin(t, old)
	require.NoError(t, advance(old, upgradeHeight-1))
	err := advance(old, upgradeHeight)
	require.ErrorContains(t, err, "run the program that brings it")

	fresh, err := New(db, Config{ChainID: "old-1", Home: home})
	require.NoError(t, err)
	require.Equal(t, int64(upgradeHeight-1), fresh.LastBlockHeight())
	require.NoError(t, advance(fresh, upgradeHeight+2))
	ctx, err := fresh.CreateQueryContext(0, false)
	require.NoError(t, err)
	versions, err := fresh.keepers.upgrade.GetModuleVersionMap(ctx)
	require.NoError(t, err)
	assert.Equal(t, fresh.modules.GetVersionMap(), versions)
	assert.Equal(t, uint64(market.ConsensusVersion), versions[marketkeeper.ModuleName])
	params, err := fresh.Market().Params(ctx)
	require.NoError(t, err)
	assert.Equal(t, testParams(), params, "what was set stays, what is new has its default")
	assert.NotEmpty(t, fresh.keepers.ibc.core.ClientKeeper.GetParams(ctx).AllowedClients, "the new stores have their genesis")
	require.NoError(t, fresh.Market().Check(ctx))

	again, err := New(db, Config{ChainID: "old-1", Home: home})
	require.NoError(t, err, "the note of the upgrade does not hinder a later start")
	require.NoError(t, advance(again, upgradeHeight+3))
	older := oldProgram(t, db, home)
	require.ErrorContains(t, advance(older, upgradeHeight+4), "run a newer one")
}

func TestReleasesAreNamedOnce(t *testing.T) {
	_, err := New(dbm.NewMemDB(), Config{Home: t.TempDir(), Releases: []Release{{Name: "x"}, {Name: "x"}}})
	require.ErrorContains(t, err, `release "x" twice`)
}

func TestSnapshotsWantAFolder(t *testing.T) {
	_, err := New(dbm.NewMemDB(), Config{Snapshots: Snapshots{Every: 5}})
	require.ErrorContains(t, err, "want a folder")
}

// TestBrokenInvariantsStopTheChain loses a row behind the market's back.
func TestBrokenInvariantsStopTheChain(t *testing.T) {
	a, err := New(dbm.NewMemDB(), Config{ChainID: "old-1", Home: t.TempDir(), CheckEvery: 2})
	require.NoError(t, err)
	a.modules.Modules[marketkeeper.ModuleName] = lossy{market.New(a.keepers.market), a.keepers.market}
	begin(t, a)
	require.NoError(t, advance(a, 4))
	require.ErrorContains(t, advance(a, 6), "machine: check")
}

// lossy writes an order that no group knows, at height 5.
type lossy struct {
	market.Module
	keeper *marketkeeper.Keeper
}

func (m lossy) EndBlock(ctx context.Context) error {
	if sdk.UnwrapSDKContext(ctx).BlockHeight() == 5 {
		id := rules.OrderID{GroupID: rules.GroupID{DeploymentID: rules.DeploymentID{Owner: "nobody", DSeq: 1}, GSeq: 1}, OSeq: 1}
		return m.keeper.State(ctx).Orders.Set(id, rules.Order{ID: id, State: rules.OrderOpen})
	}
	return nil
}
