package marketpb

import "github.com/moorage-dev/moorage/market"

// FromParams converts parameters.
func FromParams(p market.Params) Params {
	return Params{
		MinDeposits: FromCoins(p.MinDeposits), BidDeposits: FromCoins(p.BidDeposits), MaxBids: p.MaxBids,
		OrderLifetimeBlocks: p.OrderLifetimeBlocks, GraceBlocks: p.GraceBlocks, FeePerMyriad: p.FeePerMyriad,
		ScaleBlocks: p.ScaleBlocks, MaxReclaimBlocks: p.MaxReclaimBlocks,
		Limits: Limits{
			MaxGroups: p.Limits.MaxGroups, MaxUnitsPerGroup: p.Limits.MaxUnitsPerGroup,
			MaxReplicasPerUnit: p.Limits.MaxReplicasPerUnit, MaxAttributes: p.Limits.MaxAttributes,
			MaxVolumesPerUnit: p.Limits.MaxVolumesPerUnit, MaxEndpointsPerUnit: p.Limits.MaxEndpointsPerUnit,
			MaxSigners: p.Limits.MaxSigners, MaxListed: p.Limits.MaxListed, MaxGroupBytes: p.Limits.MaxGroupBytes, MaxMilliCores: p.Limits.MaxMilliCores,
			MaxMemoryBytes: p.Limits.MaxMemoryBytes, MaxStorageBytes: p.Limits.MaxStorageBytes, MaxGpus: p.Limits.MaxGPUs,
		},
	}
}

// ToParams converts parameters and checks them.
func ToParams(p Params) (market.Params, error) {
	deposits, err1 := ToCoins(p.MinDeposits)
	bids, err2 := ToCoins(p.BidDeposits)
	out := market.Params{
		MinDeposits: deposits, BidDeposits: bids, MaxBids: p.MaxBids,
		OrderLifetimeBlocks: p.OrderLifetimeBlocks, GraceBlocks: p.GraceBlocks, FeePerMyriad: p.FeePerMyriad,
		ScaleBlocks: p.ScaleBlocks, MaxReclaimBlocks: p.MaxReclaimBlocks,
		Limits: market.Limits{
			MaxGroups: p.Limits.MaxGroups, MaxUnitsPerGroup: p.Limits.MaxUnitsPerGroup,
			MaxReplicasPerUnit: p.Limits.MaxReplicasPerUnit, MaxAttributes: p.Limits.MaxAttributes,
			MaxVolumesPerUnit: p.Limits.MaxVolumesPerUnit, MaxEndpointsPerUnit: p.Limits.MaxEndpointsPerUnit,
			MaxSigners: p.Limits.MaxSigners, MaxListed: p.Limits.MaxListed, MaxGroupBytes: p.Limits.MaxGroupBytes, MaxMilliCores: p.Limits.MaxMilliCores,
			MaxMemoryBytes: p.Limits.MaxMemoryBytes, MaxStorageBytes: p.Limits.MaxStorageBytes, MaxGPUs: p.Limits.MaxGpus,
		},
	}
	if err := first(err1, err2); err != nil {
		return market.Params{}, err
	}
	return out, out.Validate()
}
