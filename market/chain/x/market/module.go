// Package market is the market as a module of a Cosmos SDK application. It
// wires [keeper.Keeper] to the application's life: genesis, messages, queries,
// the end of the block. Start with [New]; an application wires it by hand, as
// package market/chain/app does.
//
// The rules are in package market/machine, the wire form in
// market/chain/marketpb.
package market

import (
	"context"
	"encoding/json"
	"fmt"

	"cosmossdk.io/core/appmodule"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	gwruntime "github.com/grpc-ecosystem/grpc-gateway/runtime"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/chain/x/market/keeper"
	"github.com/moorage-dev/moorage/market/machine"
)

// ConsensusVersion is the version of the module's store layout. Chains of an
// older version migrate in an upgrade.
const ConsensusVersion = 2

var (
	_ module.AppModuleBasic   = Module{}
	_ module.HasGenesis       = Module{}
	_ module.HasServices      = Module{}
	_ appmodule.HasEndBlocker = Module{}
)

// Module is the market module. Its methods are called by the SDK.
type Module struct{ keeper *keeper.Keeper }

// New returns the module around a keeper.
func New(k *keeper.Keeper) Module { return Module{k} }

// IsOnePerModuleType implements depinject.OnePerModuleType.
func (Module) IsOnePerModuleType() {}

// IsAppModule implements [appmodule.AppModule].
func (Module) IsAppModule() {}

// Name implements [module.AppModuleBasic].
func (Module) Name() string { return keeper.ModuleName }

// ConsensusVersion implements module.HasConsensusVersion.
func (Module) ConsensusVersion() uint64 { return ConsensusVersion }

// RegisterLegacyAminoCodec implements [module.AppModuleBasic]. The market has no
// types in the old encoding; signing with Amino JSON works by the proto options.
func (Module) RegisterLegacyAminoCodec(*codec.LegacyAmino) {}

// RegisterInterfaces implements [module.AppModuleBasic].
func (Module) RegisterInterfaces(r codectypes.InterfaceRegistry) { marketpb.RegisterInterfaces(r) }

// RegisterGRPCGatewayRoutes implements [module.AppModuleBasic].
func (Module) RegisterGRPCGatewayRoutes(c client.Context, mux *gwruntime.ServeMux) {
	if err := marketpb.RegisterQueryHandlerClient(context.Background(), mux, marketpb.NewQueryClient(c)); err != nil {
		panic(err) // the routes are constant
	}
}

// RegisterServices implements [module.HasServices].
func (m Module) RegisterServices(c module.Configurator) {
	marketpb.RegisterMsgServer(c.MsgServer(), keeper.NewMsgServer(m.keeper))
	marketpb.RegisterQueryServer(c.QueryServer(), keeper.NewQueryServer(m.keeper))
	if err := c.RegisterMigration(keeper.ModuleName, 1, func(ctx sdk.Context) error { return m.keeper.Migrate1to2(ctx) }); err != nil {
		panic(err) // the migration is constant
	}
}

// DefaultGenesis implements [module.HasGenesisBasics]: no state, and settlement
// in the SDK's default denomination, since there must be one.
func (Module) DefaultGenesis(c codec.JSONCodec) json.RawMessage {
	return c.MustMarshalJSON(marketpb.FromGenesis(market.DefaultParams(sdk.DefaultBondDenom), machine.Genesis{}))
}

// ValidateGenesis implements [module.HasGenesisBasics].
func (Module) ValidateGenesis(c codec.JSONCodec, _ client.TxEncodingConfig, raw json.RawMessage) error {
	var g marketpb.GenesisState
	if err := c.UnmarshalJSON(raw, &g); err != nil {
		return fmt.Errorf("market: genesis: %w", err)
	}
	_, _, err := marketpb.ToGenesis(&g)
	return err
}

// InitGenesis implements [module.HasGenesis]. It panics on a broken genesis,
// which is how the SDK wants to hear of it.
func (m Module) InitGenesis(ctx sdk.Context, c codec.JSONCodec, raw json.RawMessage) {
	var g marketpb.GenesisState
	c.MustUnmarshalJSON(raw, &g)
	if err := m.keeper.InitGenesis(ctx, &g); err != nil {
		panic(err)
	}
}

// ExportGenesis implements [module.HasGenesis].
func (m Module) ExportGenesis(ctx sdk.Context, c codec.JSONCodec) json.RawMessage {
	g, err := m.keeper.ExportGenesis(ctx)
	if err != nil {
		panic(err)
	}
	return c.MustMarshalJSON(g)
}

// EndBlock implements [appmodule.HasEndBlocker].
func (m Module) EndBlock(ctx context.Context) error { return m.keeper.EndBlock(ctx) }
