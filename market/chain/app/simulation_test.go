package app

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand" //nolint:depguard // what the SDK asks for
	"os"
	"strconv"
	"testing"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/testutil/sims"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkmodule "github.com/cosmos/cosmos-sdk/types/module"
	simtypes "github.com/cosmos/cosmos-sdk/types/simulation"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	simulator "github.com/cosmos/cosmos-sdk/x/simulation"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	marketkeeper "github.com/moorage-dev/moorage/market/chain/x/market/keeper"
	"github.com/moorage-dev/moorage/market/chain/x/market/simulation"
)

// simulated is an application after some blocks of a simulation.
type simulated struct {
	*App
	traders *simulation.Module
}

// simulate runs blocks of about so many random messages of every module each,
// most of them the market's, and looks at the invariants in every block.
func simulate(t *testing.T, seed int64, blocks, perBlock int) simulated {
	t.Helper()
	a, err := New(dbm.NewMemDB(), Config{ChainID: "sim-1", Home: t.TempDir(), CheckEvery: 1})
	require.NoError(t, err)
	traders := simulation.New(a.Market(), a.keepers.account, a.tx)
	manager := sdkmodule.NewSimulationManagerFromAppModules(a.modules.Modules, map[string]sdkmodule.AppModuleSimulation{
		authtypes.ModuleName:    auth.NewAppModule(a.codec, a.keepers.account, plainAccounts),
		marketkeeper.ModuleName: traders,
	})
	state := sdkmodule.SimulationState{
		AppParams: make(simtypes.AppParams), Cdc: a.codec, TxConfig: a.tx, BondDenom: sdk.DefaultBondDenom,
	}
	state.ProposalMsgs = manager.GetProposalMsgs(state)
	var ops simulator.WeightedOperations
	for _, op := range manager.WeightedOperations(state) {
		ops = append(ops, op)
	}
	_, _, err = simulator.SimulateFromSeedX(t, Logger(nil), io.Discard, a.BaseApp,
		sims.AppStateFn(a.codec, manager, a.basics.DefaultGenesis(a.codec)), fewAccounts, ops, blockedAddresses(),
		simtypes.Config{
			Seed: seed, InitialBlockHeight: 1, NumBlocks: blocks, BlockSize: perBlock, ChainID: "sim-1",
			GenesisTime: 1_800_000_000, Commit: true, Lean: true, BlockMaxGas: -1, TB: t,
		}, a.codec, simulator.NewLogWriter(false))
	require.NoError(t, err)
	return simulated{a, traders}
}

// fewAccounts makes so few that they meet on the market again and again.
func fewAccounts(r *rand.Rand, _ int) []simtypes.Account {
	const few = 40
	return simtypes.RandomAccounts(r, few)
}

// plainAccounts makes every account of a simulation an ordinary one.
func plainAccounts(s *sdkmodule.SimulationState) authtypes.GenesisAccounts {
	out := make(authtypes.GenesisAccounts, len(s.Accounts))
	for i, a := range s.Accounts {
		out[i] = authtypes.NewBaseAccountWithAddress(a.Address)
	}
	return out
}

// simulatedBlocks is how many blocks the long simulation makes; the variable
// MOORAGE_SIM_BLOCKS overrides it.
func simulatedBlocks(t *testing.T) int {
	t.Helper()
	text := os.Getenv("MOORAGE_SIM_BLOCKS")
	if text == "" {
		return 500
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func TestASimulatedChainKeepsItsInvariants(t *testing.T) {
	blocks := simulatedBlocks(t)
	a := simulate(t, 7, blocks, 120)
	t.Logf("%d blocks, messages of the market carried out: %v", a.LastBlockHeight(), a.traders.Done())
	t.Logf("refused: %v", a.traders.Refused())
	require.Equal(t, int64(blocks), a.LastBlockHeight())
	for _, kind := range simulation.Kinds() {
		assert.Positive(t, a.traders.Done()[kind], kind)
	}
	ctx, err := a.CreateQueryContext(0, false)
	require.NoError(t, err)
	require.NoError(t, a.Market().Check(ctx))
	requireSameAfterImport(t, a.App)
}

// requireSameAfterImport exports every module, imports that into a new
// application, and exports it again.
func requireSameAfterImport(t *testing.T, a *App) {
	t.Helper()
	g, err := a.Export("sim-2")
	require.NoError(t, err)
	var want map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(g.AppState, &want))
	fresh, err := New(dbm.NewMemDB(), Config{ChainID: "sim-2", Home: t.TempDir()})
	require.NoError(t, err)
	ctx := fresh.NewContextLegacy(true, cmtproto.Header{ChainID: "sim-2", Height: a.LastBlockHeight()})
	_, err = fresh.modules.InitGenesis(ctx, fresh.codec, want)
	require.NoError(t, err)
	require.NoError(t, fresh.Market().Check(ctx))
	got, err := fresh.modules.ExportGenesis(ctx, fresh.codec)
	require.NoError(t, err)
	for name := range want {
		assert.JSONEq(t, string(want[name]), string(got[name]), "module %s", name)
	}
}

func TestASimulationIsDeterministic(t *testing.T) {
	hash := func() string {
		return fmt.Sprintf("%x", simulate(t, 11, 40, 40).LastCommitID().Hash)
	}
	assert.Equal(t, hash(), hash())
}
