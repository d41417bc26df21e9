package app

import (
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	"github.com/cosmos/cosmos-sdk/x/bank"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/consensus"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	distr "github.com/cosmos/cosmos-sdk/x/distribution"
	distrtypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	feegrantmodule "github.com/cosmos/cosmos-sdk/x/feegrant/module"
	"github.com/cosmos/cosmos-sdk/x/genutil"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"github.com/cosmos/cosmos-sdk/x/gov"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	"github.com/cosmos/cosmos-sdk/x/mint"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
	"github.com/cosmos/cosmos-sdk/x/slashing"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	transfertypes "github.com/cosmos/ibc-go/v11/modules/apps/transfer/types"
	"github.com/cosmos/ibc-go/v11/modules/core/exported"
	tendermint "github.com/cosmos/ibc-go/v11/modules/light-clients/07-tendermint"

	"github.com/moorage-dev/moorage/market/chain/x/grants"
	"github.com/moorage-dev/moorage/market/chain/x/market"
	marketkeeper "github.com/moorage-dev/moorage/market/chain/x/market/keeper"
)

// newModules joins the modules and fixes the orders in which the SDK calls them.
func newModules(a *App) (*module.Manager, module.BasicManager) {
	k := a.keepers
	m := module.NewManager(append(k.ibc.modules(),
		genutil.NewAppModule(k.account, k.staking, a, a.tx),
		auth.NewAppModule(a.codec, k.account, nil),
		bank.NewAppModule(a.codec, k.bank, k.account),
		feegrantmodule.NewAppModule(a.codec, k.account, k.bank, k.feegrant, a.registry),
		gov.NewAppModule(a.codec, k.gov, k.account, k.bank),
		mint.NewAppModule(a.codec, k.mint, k.account, nil),
		slashing.NewAppModule(a.codec, k.slashing, k.account, k.bank, k.staking, a.registry),
		distr.NewAppModule(a.codec, k.distr, k.account, k.bank, k.staking),
		staking.NewAppModule(a.codec, k.staking, k.account, k.bank),
		grants.New(a.codec, k.authz, k.account, k.bank, a.registry),
		consensus.NewAppModule(a.codec, k.consensus),
		upgradeModule{k.upgrade},
		market.New(k.market),
	)...)
	m.SetOrderPreBlockers(upgradetypes.ModuleName, authtypes.ModuleName)
	m.SetOrderBeginBlockers(minttypes.ModuleName, distrtypes.ModuleName, slashingtypes.ModuleName,
		stakingtypes.ModuleName, authz.ModuleName, genutiltypes.ModuleName, exported.ModuleName)
	m.SetOrderEndBlockers(banktypes.ModuleName, marketkeeper.ModuleName, govtypes.ModuleName, stakingtypes.ModuleName,
		feegrant.ModuleName, genutiltypes.ModuleName)
	m.SetOrderInitGenesis(genesisOrder()...)
	m.SetOrderExportGenesis(genesisOrder()...)
	basics := module.NewBasicManagerFromManager(m, map[string]module.AppModuleBasic{
		genutiltypes.ModuleName: genutil.NewAppModuleBasic(genutiltypes.DefaultMessageValidator),
		govtypes.ModuleName:     gov.NewAppModuleBasic(nil),
	})
	return m, basics
}

// genesisOrder lists every module. Accounts and money come before those who use
// them; genutil delivers genesis transactions after staking; the market checks
// its account's balance.
func genesisOrder() []string {
	return []string{
		authtypes.ModuleName, banktypes.ModuleName, distrtypes.ModuleName, stakingtypes.ModuleName,
		slashingtypes.ModuleName, govtypes.ModuleName, minttypes.ModuleName, genutiltypes.ModuleName,
		authz.ModuleName, feegrant.ModuleName, upgradetypes.ModuleName, consensustypes.ModuleName,
		exported.ModuleName, tendermint.ModuleName, transfertypes.ModuleName, marketkeeper.ModuleName,
	}
}
