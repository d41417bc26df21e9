package app

import (
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/ibc-go/v11/modules/apps/transfer"
	transferkeeper "github.com/cosmos/ibc-go/v11/modules/apps/transfer/keeper"
	transfertypes "github.com/cosmos/ibc-go/v11/modules/apps/transfer/types"
	transferv2 "github.com/cosmos/ibc-go/v11/modules/apps/transfer/v2"
	ibc "github.com/cosmos/ibc-go/v11/modules/core"
	porttypes "github.com/cosmos/ibc-go/v11/modules/core/05-port/types"
	ibcante "github.com/cosmos/ibc-go/v11/modules/core/ante"
	ibcapi "github.com/cosmos/ibc-go/v11/modules/core/api"
	"github.com/cosmos/ibc-go/v11/modules/core/exported"
	ibckeeper "github.com/cosmos/ibc-go/v11/modules/core/keeper"
	tendermint "github.com/cosmos/ibc-go/v11/modules/light-clients/07-tendermint"
)

// ibcKeepers connect the chain with others: the connections, the transfer of
// tokens, and the light client that checks another chain's blocks.
type ibcKeepers struct {
	core     *ibckeeper.Keeper
	transfer *transferkeeper.Keeper
	light    tendermint.LightClientModule
}

// newIBC makes the keepers of IBC and fixes who may be called by other chains:
// transfers only.
func newIBC(a *App, k keepers, authority string) ibcKeepers {
	core := ibckeeper.NewKeeper(a.codec, runtime.NewKVStoreService(k.stores[exported.StoreKey]), k.upgrade, authority)
	accounts := address.NewBech32Codec(sdk.GetConfig().GetBech32AccountAddrPrefix())
	send := transferkeeper.NewKeeper(a.codec, accounts, runtime.NewKVStoreService(k.stores[transfertypes.StoreKey]),
		core.ChannelKeeper, a.MsgServiceRouter(), k.account, k.bank, authority)
	core.SetRouter(porttypes.NewRouter().AddRoute(transfertypes.ModuleName, transfer.NewIBCModule(send)))
	core.SetRouterV2(ibcapi.NewRouter().AddRoute(transfertypes.PortID, transferv2.NewIBCModule(send)))
	light := tendermint.NewLightClientModule(a.codec, core.ClientKeeper.GetStoreProvider())
	core.ClientKeeper.AddRoute(tendermint.ModuleName, &light)
	return ibcKeepers{core: core, transfer: send, light: light}
}

// modules returns IBC as modules of the application.
func (k ibcKeepers) modules() []module.AppModule { //nolint:staticcheck // the module manager of this SDK still takes them
	return []module.AppModule{ibc.NewAppModule(k.core), transfer.NewAppModule(k.transfer), tendermint.NewAppModule(k.light)} //nolint:staticcheck // as above
}

// refuseRelayedTwice adds a check: relayers whose packets another one has
// brought already are told before they pay.
func (k ibcKeepers) refuseRelayedTwice(check sdk.AnteHandler) sdk.AnteHandler {
	relayed := ibcante.NewRedundantRelayDecorator(k.core)
	pass := func(ctx sdk.Context, _ sdk.Tx, _ bool) (sdk.Context, error) { return ctx, nil }
	return func(ctx sdk.Context, tx sdk.Tx, simulate bool) (sdk.Context, error) {
		ctx, err := check(ctx, tx, simulate)
		if err != nil {
			return ctx, err
		}
		return relayed.AnteHandle(ctx, tx, simulate, pass)
	}
}
