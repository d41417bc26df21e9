package main

import (
	"context"

	"github.com/moorage-dev/moorage/market"
)

// order is a tenant who asks for two small containers.
func order(ctx context.Context, tenant market.Client) error {
	_, err := tenant.Submit(ctx, market.CreateDeployment{
		ID:      market.DeploymentID{Owner: tenant.Address(), DSeq: 1},
		Hash:    market.Hash{1}, // of the manifest that would follow
		Deposit: market.NewCoin("uact", 500_000),
		Groups: []market.GroupSpec{{Name: "web", Units: []market.ResourceUnit{{
			Resources: market.Resources{
				ID: 1, CPU: market.CPU{MilliCores: 500}, Memory: market.Memory{Bytes: 256 << 20},
				Storage: []market.Volume{{Name: "default", Bytes: 1 << 30}},
			},
			Count: 2, Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(100)},
		}}}},
	})
	return err
}
