package app

import (
	"context"
	"fmt"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	transfertypes "github.com/cosmos/ibc-go/v11/modules/apps/transfer/types"
	"github.com/cosmos/ibc-go/v11/modules/core/exported"
)

// Release is a version of the program that a running chain upgrades to when
// governance says so. At the height of the plan with its name the stores are
// added and every module migrates its state to the version it has now.
type Release struct {
	// Name is that of the upgrade plan.
	Name string
	// Stores are the names of stores that this release has first.
	Stores []string
}

// Releases are those that this program knows by itself, oldest first. Chains
// that embed more name theirs in [Config.Releases].
func Releases() []Release {
	return []Release{
		// Version 2 of the market's store, and transfers from other chains.
		{Name: "moorage-2", Stores: []string{exported.StoreKey, transfertypes.StoreKey}},
	}
}

// prepareUpgrades tells the upgrade keeper what this program can carry out, and
// the store what to add, if the program before it has stopped for an upgrade.
func (a *App) prepareUpgrades(c Config, configurator module.Configurator) error {
	var plan upgradetypes.Plan
	if c.Home != "" { // else nothing was noted, and looking for it would make a folder
		var err error
		if plan, err = a.keepers.upgrade.ReadUpgradeInfoFromDisk(); err != nil {
			return fmt.Errorf("app: note of the last upgrade: %w", err)
		}
	}
	for _, r := range append(Releases(), c.Releases...) {
		if a.keepers.upgrade.HasHandler(r.Name) {
			return fmt.Errorf("app: release %q twice", r.Name)
		}
		a.keepers.upgrade.SetUpgradeHandler(r.Name, func(ctx context.Context, _ upgradetypes.Plan, from module.VersionMap) (module.VersionMap, error) {
			return a.modules.RunMigrations(ctx, configurator, from)
		})
		if plan.Name == r.Name {
			a.SetStoreLoader(upgradetypes.UpgradeStoreLoader(plan.Height, &storetypes.StoreUpgrades{Added: r.Stores}))
		}
	}
	return nil
}
