package app

import (
	"fmt"

	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	authzkeeper "github.com/cosmos/cosmos-sdk/x/authz/keeper"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	consensuskeeper "github.com/cosmos/cosmos-sdk/x/consensus/keeper"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	distrkeeper "github.com/cosmos/cosmos-sdk/x/distribution/keeper"
	distrtypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	feegrantkeeper "github.com/cosmos/cosmos-sdk/x/feegrant/keeper"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	govv1beta1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1beta1"
	mintkeeper "github.com/cosmos/cosmos-sdk/x/mint/keeper"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
	slashingkeeper "github.com/cosmos/cosmos-sdk/x/slashing/keeper"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	stakingkeeper "github.com/cosmos/cosmos-sdk/x/staking/keeper"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	upgradekeeper "github.com/cosmos/cosmos-sdk/x/upgrade/keeper"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	transfertypes "github.com/cosmos/ibc-go/v11/modules/apps/transfer/types"
	"github.com/cosmos/ibc-go/v11/modules/core/exported"

	marketkeeper "github.com/moorage-dev/moorage/market/chain/x/market/keeper"
)

// keepers are the parts of the application that own state.
type keepers struct {
	stores map[string]*storetypes.KVStoreKey

	account   authkeeper.AccountKeeper
	bank      bankkeeper.BaseKeeper
	staking   *stakingkeeper.Keeper
	distr     distrkeeper.Keeper
	mint      mintkeeper.Keeper
	slashing  slashingkeeper.Keeper
	gov       *govkeeper.Keeper
	authz     authzkeeper.Keeper
	feegrant  feegrantkeeper.Keeper
	consensus consensuskeeper.Keeper
	upgrade   *upgradekeeper.Keeper
	ibc       ibcKeepers
	market    *marketkeeper.Keeper
}

// moduleAccounts names the accounts that modules own, and what each may do with
// money besides moving it.
func moduleAccounts() map[string][]string {
	return map[string][]string{
		authtypes.FeeCollectorName:          nil,
		distrtypes.ModuleName:               nil,
		minttypes.ModuleName:                {authtypes.Minter},
		stakingtypes.BondedPoolName:         {authtypes.Burner, authtypes.Staking},
		stakingtypes.NotBondedPoolName:      {authtypes.Burner, authtypes.Staking},
		stakingtypes.KeyRotationFeePoolName: {authtypes.Burner},
		govtypes.ModuleName:                 {authtypes.Burner},
		transfertypes.ModuleName:            {authtypes.Minter, authtypes.Burner},
		marketkeeper.ModuleName:             nil,
	}
}

// blockedAddresses are accounts that transfers must not reach: those of
// modules, but for governance, which may be given money.
func blockedAddresses() map[string]bool {
	blocked := make(map[string]bool)
	for name := range moduleAccounts() {
		blocked[authtypes.NewModuleAddress(name).String()] = name != govtypes.ModuleName
	}
	return blocked
}

func storeKeys() map[string]*storetypes.KVStoreKey {
	return storetypes.NewKVStoreKeys(
		authtypes.StoreKey, banktypes.StoreKey, stakingtypes.StoreKey, distrtypes.StoreKey, minttypes.StoreKey,
		slashingtypes.StoreKey, govtypes.StoreKey, authzkeeper.StoreKey, feegrant.StoreKey,
		consensustypes.StoreKey, upgradetypes.StoreKey, exported.StoreKey, transfertypes.StoreKey,
		marketkeeper.StoreKey,
	)
}

// newKeepers makes the keepers, each after those it needs.
func newKeepers(a *App, c Config) (keepers, error) {
	k := keepers{stores: storeKeys()}
	authority := authtypes.NewModuleAddress(govtypes.ModuleName).String()
	prefixes := sdk.GetConfig()
	accounts := address.NewBech32Codec(prefixes.GetBech32AccountAddrPrefix())

	k.account = authkeeper.NewAccountKeeper(a.codec, runtime.NewKVStoreService(k.stores[authtypes.StoreKey]),
		authtypes.ProtoBaseAccount, moduleAccounts(), accounts, prefixes.GetBech32AccountAddrPrefix(), authority,
		authkeeper.WithUnorderedTransactions(true))
	k.bank = bankkeeper.NewBaseKeeper(a.codec, runtime.NewKVStoreService(k.stores[banktypes.StoreKey]),
		k.account, blockedAddresses(), authority, a.Logger())
	k.staking = stakingkeeper.NewKeeper(a.codec, runtime.NewKVStoreService(k.stores[stakingtypes.StoreKey]),
		k.account, k.bank, authority,
		address.NewBech32Codec(prefixes.GetBech32ValidatorAddrPrefix()),
		address.NewBech32Codec(prefixes.GetBech32ConsensusAddrPrefix()))
	k.mint = mintkeeper.NewKeeper(a.codec, runtime.NewKVStoreService(k.stores[minttypes.StoreKey]),
		k.staking, k.account, k.bank, authtypes.FeeCollectorName, authority)
	k.distr = distrkeeper.NewKeeper(a.codec, runtime.NewKVStoreService(k.stores[distrtypes.StoreKey]),
		k.account, k.bank, k.staking, authtypes.FeeCollectorName, authority)
	k.slashing = slashingkeeper.NewKeeper(a.codec, a.amino, runtime.NewKVStoreService(k.stores[slashingtypes.StoreKey]),
		k.staking, authority)
	k.staking.SetHooks(stakingtypes.NewMultiStakingHooks(k.distr.Hooks(), k.slashing.Hooks()))
	k.feegrant = feegrantkeeper.NewKeeper(a.codec, runtime.NewKVStoreService(k.stores[feegrant.StoreKey]), k.account)
	k.authz = authzkeeper.NewKeeper(runtime.NewKVStoreService(k.stores[authzkeeper.StoreKey]), a.codec, a.MsgServiceRouter(), k.account)
	k.consensus = consensuskeeper.NewKeeper(a.codec, runtime.NewKVStoreService(k.stores[consensustypes.StoreKey]),
		authority, runtime.EventService{})
	k.gov = newGov(a, k, authority)
	k.upgrade = upgradekeeper.NewKeeper(skipped(c), runtime.NewKVStoreService(k.stores[upgradetypes.StoreKey]),
		a.codec, c.Home, a.BaseApp, authority)
	k.ibc = newIBC(a, k, authority)

	var err error
	k.market, err = marketkeeper.New(marketkeeper.Config{
		Store: runtime.NewKVStoreService(k.stores[marketkeeper.StoreKey]), Bank: k.bank, Accounts: k.account,
		Addresses: accounts, FeeCollector: authtypes.FeeCollectorName, Authority: authority,
	})
	if err != nil {
		return keepers{}, fmt.Errorf("app: market: %w", err)
	}
	return k, nil
}

func newGov(a *App, k keepers, authority string) *govkeeper.Keeper {
	gov := govkeeper.NewKeeper(a.codec, runtime.NewKVStoreService(k.stores[govtypes.StoreKey]),
		k.account, k.bank, k.distr, a.MsgServiceRouter(), govtypes.DefaultConfig(), authority,
		govkeeper.NewDefaultCalculateVoteResultsAndVotingPower(k.staking))
	// Without a router of the old kind, MsgExecLegacyContent is a nil dereference.
	router := govv1beta1.NewRouter()
	router.AddRoute(govtypes.RouterKey, govv1beta1.ProposalHandler)
	gov.SetLegacyRouter(router)
	return gov
}

func skipped(c Config) map[int64]bool {
	heights := make(map[int64]bool)
	for _, h := range c.SkipUpgrades {
		heights[h] = true
	}
	return heights
}
