package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"

	"cosmossdk.io/core/appmodule"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	pruningtypes "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"

	"github.com/moorage-dev/moorage/market/chain/x/market/keeper"
)

// Name is the application's name in the handshake with CometBFT.
const Name = "moorage"

// Config is what an application needs. The zero value works for tests.
type Config struct {
	// ChainID must be that of the genesis, or empty before InitChain.
	ChainID string
	// Logger gets the application's messages; nil discards them.
	Logger *slog.Logger
	// MinGasPrices is what this node asks for a unit of gas before it takes a
	// transaction into its pool, for example "0.025uakt"; empty asks nothing.
	MinGasPrices string
	// Home is the folder for the note an upgrade leaves for the next program.
	// Empty is the working directory, and then no such note is read: for chains
	// in memory.
	Home string
	// HaltHeight stops the application after that block; 0 is never.
	HaltHeight uint64
	// KeepStates is how many heights the state is kept of; 0 keeps all. At least
	// [MinKeepStates].
	KeepStates uint64
	// SkipUpgrades lists heights whose planned upgrade is left out.
	SkipUpgrades []int64
	// Releases are upgrades that this program brings beside its own, [Releases].
	Releases []Release
	// Snapshots are copies of the state for new nodes.
	Snapshots Snapshots
	// CheckEvery looks for broken invariants of the market each so many blocks,
	// and stops the chain if there are any; 0 never looks. It reads the whole
	// state: for tests, and for nodes that watch over a chain.
	CheckEvery uint64
}

// MinKeepStates is the least number of states that a node keeps, so that
// queries that have begun can end.
const MinKeepStates = 10

// pruneEvery is the number of heights whose states are deleted together.
const pruneEvery = 10

func (c Config) pruning() pruningtypes.PruningOptions {
	if c.KeepStates == 0 {
		return pruningtypes.NewPruningOptions(pruningtypes.PruningNothing)
	}
	return pruningtypes.NewCustomPruningOptions(c.KeepStates, pruneEvery)
}

// App is the application. Its ABCI methods are called by a consensus engine, or
// by a test in its place; see [baseapp.BaseApp].
type App struct {
	*baseapp.BaseApp

	codec    codec.Codec
	registry codectypes.InterfaceRegistry
	amino    *codec.LegacyAmino
	tx       client.TxConfig
	keepers  keepers
	modules  *module.Manager
	basics   module.BasicManager
	// committing is closed when the commit that is under way has ended; nil when
	// there is none.
	committing atomic.Pointer[chan struct{}]
}

// New makes the application over a database and loads its newest state. The
// database must be in memory or pebble; see the package comment. The App does
// not close it: [App.Close] does. Errors tell what is wrong with the
// configuration or the database.
func New(db dbm.DB, c Config) (a *App, err error) {
	defer func() {
		// The SDK's constructors panic on mistakes of wiring and on bad options.
		if r := recover(); r != nil {
			err = fmt.Errorf("app: %v", r)
		}
	}()
	enc, err := newEncoding()
	if err != nil {
		return nil, err
	}
	if c.KeepStates > 0 && c.KeepStates < MinKeepStates {
		return nil, fmt.Errorf("app: states of %d heights: want at least %d, or 0 for all", c.KeepStates, MinKeepStates)
	}
	snapshots, err := c.Snapshots.option()
	if err != nil {
		return nil, err
	}
	base := baseapp.NewBaseApp(Name, Logger(c.Logger), db, enc.tx.TxDecoder(),
		baseapp.SetChainID(c.ChainID),
		baseapp.SetMinGasPrices(c.MinGasPrices),
		baseapp.SetHaltHeight(c.HaltHeight),
		baseapp.SetPruning(c.pruning()),
		// The background pruner leaks a goroutine per store and instance.
		baseapp.SetIAVLSyncPruning(true),
		snapshots,
	)
	base.SetVersion(appVersion)
	base.SetInterfaceRegistry(enc.registry)
	base.SetTxEncoder(enc.tx.TxEncoder())

	a = &App{BaseApp: base, codec: enc.codec, registry: enc.registry, amino: enc.amino, tx: enc.tx}
	if a.keepers, err = newKeepers(a, c); err != nil {
		return nil, err
	}
	a.base(c)
	if err := a.wire(c); err != nil {
		return nil, err
	}
	if err := a.LoadLatestVersion(); err != nil {
		return nil, fmt.Errorf("app: load state: %w", err)
	}
	return a, nil
}

// appVersion is shown in the answer to Info.
const appVersion = "1"

// base sets what BaseApp calls.
func (a *App) base(c Config) {
	stores := make(map[string]*storetypes.KVStoreKey, len(a.keepers.stores))
	for name, key := range a.keepers.stores {
		stores[name] = key
	}
	a.MountKVStores(stores)
	a.SetParamStore(a.keepers.consensus.ParamsStore)
	a.SetInitChainer(a.initChain)
	a.SetPreBlocker(func(ctx sdk.Context, _ *abci.RequestFinalizeBlock) (*sdk.ResponsePreBlock, error) {
		return a.modules.PreBlock(ctx)
	})
	a.SetBeginBlocker(func(ctx sdk.Context) (sdk.BeginBlock, error) { return a.modules.BeginBlock(ctx) })
	a.SetEndBlocker(func(ctx sdk.Context) (sdk.EndBlock, error) {
		end, err := a.modules.EndBlock(ctx)
		if err != nil || c.CheckEvery == 0 || uint64(ctx.BlockHeight())%c.CheckEvery != 0 {
			return end, err
		}
		return end, a.keepers.market.Check(ctx)
	})
}

// wire registers the modules and the transaction checks.
func (a *App) wire(c Config) error {
	a.modules, a.basics = newModules(a)
	a.basics.RegisterLegacyAminoCodec(a.amino)
	a.basics.RegisterInterfaces(a.registry)
	configurator := module.NewConfigurator(a.codec, a.MsgServiceRouter(), a.GRPCQueryRouter())
	if err := a.modules.RegisterServices(configurator); err != nil {
		return fmt.Errorf("app: services: %w", err)
	}
	if err := configurator.Error(); err != nil {
		return fmt.Errorf("app: services: %w", err)
	}
	check, err := ante.NewAnteHandler(ante.HandlerOptions{
		AccountKeeper:   a.keepers.account,
		BankKeeper:      a.keepers.bank,
		FeegrantKeeper:  a.keepers.feegrant,
		SignModeHandler: a.tx.SignModeHandler(),
		SigGasConsumer:  ante.DefaultSigVerificationGasConsumer,
	})
	if err != nil {
		return fmt.Errorf("app: transaction checks: %w", err)
	}
	a.SetAnteHandler(a.keepers.ibc.refuseRelayedTwice(check))
	return a.prepareUpgrades(c, configurator)
}

// initChain writes the genesis.
func (a *App) initChain(ctx sdk.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var genesis map[string]json.RawMessage
	if err := json.Unmarshal(req.AppStateBytes, &genesis); err != nil {
		return nil, fmt.Errorf("app: genesis: %w", err)
	}
	if err := a.keepers.upgrade.SetModuleVersionMap(ctx, a.modules.GetVersionMap()); err != nil {
		return nil, err
	}
	return a.modules.InitGenesis(ctx, a.codec, genesis)
}

// Market returns the keeper of the market.
func (a *App) Market() *keeper.Keeper { return a.keepers.market }

// Codec returns the codec that knows every message of the chain.
func (a *App) Codec() codec.Codec { return a.codec }

// InterfaceRegistry returns the registry behind [App.Codec].
func (a *App) InterfaceRegistry() codectypes.InterfaceRegistry { return a.registry }

// TxConfig returns how transactions are encoded and signed.
func (a *App) TxConfig() client.TxConfig { return a.tx }

// Amino returns the codec of the old encoding, which hardware wallets use.
func (a *App) Amino() *codec.LegacyAmino { return a.amino }

// Commands returns the modules as tools want them that make commands of messages
// and queries, such as cosmossdk.io/client/v2/autocli.
func (a *App) Commands() map[string]appmodule.AppModule {
	out := make(map[string]appmodule.AppModule, len(a.modules.Modules))
	for name, m := range a.modules.Modules {
		if m, ok := m.(appmodule.AppModule); ok {
			out[name] = m
		}
	}
	return out
}

// Basics returns the modules as command-line tools and REST servers want them.
func (a *App) Basics() module.BasicManager { return a.basics }
