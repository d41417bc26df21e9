package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	autocliv1 "cosmossdk.io/api/cosmos/autocli/v1"
	"cosmossdk.io/core/appmodule"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	upgradekeeper "github.com/cosmos/cosmos-sdk/x/upgrade/keeper"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	gwruntime "github.com/grpc-ecosystem/grpc-gateway/runtime"
)

// upgradeVersion is the consensus version of the SDK's upgrade module that the
// keeper belongs to.
const upgradeVersion = 2

var (
	_ appmodule.HasPreBlocker = upgradeModule{}
	_ module.HasServices      = upgradeModule{}
	_ module.HasGenesis       = upgradeModule{}
	_ module.AppModuleBasic   = upgradeModule{}
)

// upgradeModule is the SDK's upgrade keeper as a module. The SDK's own module
// brings command-line code that downloads from S3 and Google Cloud, 380
// packages that a node has no use for.
type upgradeModule struct{ keeper *upgradekeeper.Keeper }

func (upgradeModule) IsOnePerModuleType()      {}
func (upgradeModule) IsAppModule()             {}
func (upgradeModule) Name() string             { return upgradetypes.ModuleName }
func (upgradeModule) ConsensusVersion() uint64 { return upgradeVersion }

func (upgradeModule) RegisterLegacyAminoCodec(c *codec.LegacyAmino) {
	upgradetypes.RegisterLegacyAminoCodec(c)
}

func (upgradeModule) RegisterInterfaces(r codectypes.InterfaceRegistry) {
	upgradetypes.RegisterInterfaces(r)
}

func (upgradeModule) RegisterGRPCGatewayRoutes(c client.Context, mux *gwruntime.ServeMux) {
	if err := upgradetypes.RegisterQueryHandlerClient(context.Background(), mux, upgradetypes.NewQueryClient(c)); err != nil {
		panic(err) // the routes are constant
	}
}

// AutoCLIOptions says how commands of the messages and queries are made.
func (upgradeModule) AutoCLIOptions() *autocliv1.ModuleOptions {
	return &autocliv1.ModuleOptions{
		Tx: &autocliv1.ServiceCommandDescriptor{Service: "cosmos.upgrade.v1beta1.Msg", RpcCommandOptions: []*autocliv1.RpcCommandOptions{
			{RpcMethod: "SoftwareUpgrade", Use: "software-upgrade [plan]", Short: "Propose an upgrade to governance", GovProposal: true,
				PositionalArgs: []*autocliv1.PositionalArgDescriptor{{ProtoField: "plan"}}},
			{RpcMethod: "CancelUpgrade", Use: "cancel-upgrade", Short: "Propose to governance that there be no upgrade", GovProposal: true},
		}},
		Query: &autocliv1.ServiceCommandDescriptor{Service: "cosmos.upgrade.v1beta1.Query", RpcCommandOptions: []*autocliv1.RpcCommandOptions{
			{RpcMethod: "CurrentPlan", Use: "plan", Short: "The upgrade that is planned"},
			{RpcMethod: "AppliedPlan", Use: "applied [name]", Short: "The height of an upgrade that was carried out",
				PositionalArgs: []*autocliv1.PositionalArgDescriptor{{ProtoField: "name"}}},
			{RpcMethod: "ModuleVersions", Use: "module-versions", Short: "The version of each module's store"},
		}},
	}
}

func (m upgradeModule) RegisterServices(c module.Configurator) {
	upgradetypes.RegisterMsgServer(c.MsgServer(), upgradekeeper.NewMsgServerImpl(m.keeper))
	upgradetypes.RegisterQueryServer(c.QueryServer(), m.keeper)
}

func (upgradeModule) DefaultGenesis(codec.JSONCodec) json.RawMessage { return json.RawMessage("{}") }

func (upgradeModule) ValidateGenesis(codec.JSONCodec, client.TxEncodingConfig, json.RawMessage) error {
	return nil
}

// InitGenesis does nothing: plans do not begin in genesis, and the application
// writes the version map.
func (upgradeModule) InitGenesis(sdk.Context, codec.JSONCodec, json.RawMessage) {}

func (m upgradeModule) ExportGenesis(_ sdk.Context, c codec.JSONCodec) json.RawMessage {
	return m.DefaultGenesis(c)
}

// PreBlock runs an upgrade whose height has come, and stops the chain when this
// program is the wrong one for the height.
func (m upgradeModule) PreBlock(ctx context.Context) (appmodule.ResponsePreBlock, error) {
	none := &sdk.ResponsePreBlock{}
	height := sdk.UnwrapSDKContext(ctx).HeaderInfo().Height
	plan, err := m.keeper.GetUpgradePlan(ctx)
	if errors.Is(err, upgradetypes.ErrNoUpgradePlanFound) {
		return none, m.checkProgram(ctx)
	} else if err != nil {
		return nil, err
	}
	due := plan.ShouldExecute(height)
	skipped := m.keeper.IsSkipHeight(height)
	if !due || skipped {
		if err := m.checkProgram(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case due && skipped:
		return none, m.keeper.ClearUpgradePlan(ctx)
	case due:
		return m.apply(ctx, plan)
	case m.keeper.HasHandler(plan.Name):
		return nil, fmt.Errorf("app: upgrade %q is planned for %s: this program is too new, run the one before it", plan.Name, plan.DueAt())
	}
	return none, nil
}

// checkProgram makes sure, once per start, that this program knows the upgrade
// that was carried out last.
func (m upgradeModule) checkProgram(ctx context.Context) error {
	if m.keeper.DowngradeVerified() {
		return nil
	}
	m.keeper.SetDowngradeVerified(true)
	last, _, err := m.keeper.GetLastCompletedUpgrade(ctx)
	if err != nil {
		return err
	}
	if last != "" && !m.keeper.HasHandler(last) {
		return fmt.Errorf("app: the chain was upgraded to %q, which this program does not know: run a newer one", last)
	}
	return nil
}

func (m upgradeModule) apply(ctx context.Context, plan upgradetypes.Plan) (appmodule.ResponsePreBlock, error) {
	if !m.keeper.HasHandler(plan.Name) {
		if err := m.keeper.DumpUpgradeInfoToDisk(plan.Height, plan); err != nil {
			return nil, fmt.Errorf("app: upgrade %q: %w", plan.Name, err)
		}
		return nil, fmt.Errorf("app: upgrade %q is due at %s: run the program that brings it (%s)", plan.Name, plan.DueAt(), plan.Info)
	}
	unmetered := sdk.UnwrapSDKContext(ctx).WithBlockGasMeter(storetypes.NewInfiniteGasMeter())
	if err := m.keeper.ApplyUpgrade(unmetered, plan); err != nil {
		return nil, err
	}
	return &sdk.ResponsePreBlock{ConsensusParamsChanged: true}, nil
}
