package market

import "fmt"

// Params are the rules of a market that its operators set.
type Params struct {
	// MinDeposits lists the denominations that leases may be settled in, each
	// with the least a deployment must be opened with.
	MinDeposits Coins `json:"min_deposits"`
	// BidDeposits lists the denominations a bid's deposit may be in, each with
	// its least amount.
	BidDeposits Coins `json:"bid_deposits"`
	// MaxBids bounds the bids open on one order at a time.
	MaxBids uint32 `json:"max_bids"`
	// OrderLifetimeBlocks is after how many blocks an open order expires and
	// its group is paused; 0 means never.
	OrderLifetimeBlocks int64 `json:"order_lifetime_blocks"`
	// GraceBlocks is how long an overdrawn account may be revived by a deposit
	// before its leases close; 0 closes them at once.
	GraceBlocks int64 `json:"grace_blocks"`
	// ScaleBlocks is how long a provider has to answer a request to scale; 0 means
	// that requests do not lapse.
	ScaleBlocks int64 `json:"scale_blocks"`
	// MaxReclaimBlocks bounds the notice that an order may ask its provider to
	// give; 0 means that none may be asked for.
	MaxReclaimBlocks int64 `json:"max_reclaim_blocks"`
	// FeePerMyriad is the market's part of what providers withdraw, in
	// hundredths of a percent, 0 to 10000.
	FeePerMyriad uint32 `json:"fee_per_myriad"`
	// Limits bound what may be asked for.
	Limits Limits `json:"limits"`
}

// Limits bound the size of a deployment. All are inclusive. Cores, memory,
// storage and GPUs are per replica; attributes are per list of them; signers,
// names listed as allowed or excluded, and bytes ([GroupSpec.Size], of which 0 means
// [DefaultGroupBytes]) are those of one group.
type Limits struct {
	MaxGroups           uint32 `json:"max_groups"`
	MaxUnitsPerGroup    uint32 `json:"max_units_per_group"`
	MaxReplicasPerUnit  uint32 `json:"max_replicas_per_unit"`
	MaxAttributes       uint32 `json:"max_attributes"`
	MaxVolumesPerUnit   uint32 `json:"max_volumes_per_unit"`
	MaxEndpointsPerUnit uint32 `json:"max_endpoints_per_unit"`
	MaxSigners          uint32 `json:"max_signers"`
	MaxListed           uint32 `json:"max_listed"`
	MaxGroupBytes       uint32 `json:"max_group_bytes"`
	MaxMilliCores       uint64 `json:"max_milli_cores"`
	MaxMemoryBytes      uint64 `json:"max_memory_bytes"`
	MaxStorageBytes     uint64 `json:"max_storage_bytes"`
	MaxGPUs             uint64 `json:"max_gpus"`
}

// DefaultParams returns the rules a new market starts with, settling in the
// denominations given. The limits per unit are those of the Akash chain; the
// bounds on groups, units and replicas are those its source names.
func DefaultParams(denoms ...string) Params {
	p := Params{
		MaxBids:          20,
		GraceBlocks:      0,
		ScaleBlocks:      300,
		MaxReclaimBlocks: 1_296_000, // 30 days of blocks of 2 seconds
		FeePerMyriad:     0,
		Limits: Limits{
			MaxGroups: 20, MaxUnitsPerGroup: 20, MaxReplicasPerUnit: 50,
			MaxAttributes: 100, MaxVolumesPerUnit: 16, MaxEndpointsPerUnit: 64, MaxSigners: 16, MaxListed: 64,
			MaxGroupBytes: DefaultGroupBytes,
			MaxMilliCores: 384_000, MaxMemoryBytes: 2 << 40, MaxStorageBytes: 32 << 40, MaxGPUs: 24,
		},
	}
	for _, d := range denoms {
		p.MinDeposits, _ = p.MinDeposits.Add(NewCoin(d, 500_000)) // cannot overflow
		p.BidDeposits, _ = p.BidDeposits.Add(NewCoin(d, 500_000))
	}
	return p
}

// Bounds on parameters, so that the work and the sums of one message are
// bounded whatever a market's operators set.
const (
	// MaxBlocks bounds a number of blocks: some 60 years of blocks of 2 seconds.
	MaxBlocks = 1_000_000_000
	// MaxCount bounds how many of a thing a limit may allow.
	MaxCount = 1000
	// MaxSize bounds the bytes a limit may allow a group, so that an order fits
	// an answer.
	MaxSize = 1 << 20
	// DefaultGroupBytes is room for a group that names 64 models of GPU in each of
	// 16 units.
	DefaultGroupBytes = 64 << 10
	// MaxQuantity bounds the bytes, cores and cards a limit may allow per
	// replica, so that the sum over a group fits 64 bits.
	MaxQuantity = 1 << 50
	// MaxMyriad is all, in hundredths of a percent.
	MaxMyriad = 10_000
)

// Validate checks the parameters. The error wraps [ErrInvalid].
func (p Params) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("market: params: %w: "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch {
	case len(p.MinDeposits) == 0 || len(p.BidDeposits) == 0:
		return bad("want at least one denomination for deployments and for bids")
	case p.MaxBids == 0 || p.MaxBids > MaxCount:
		return bad("max_bids must be 1 to %d", MaxCount)
	case outside(p.OrderLifetimeBlocks) || outside(p.GraceBlocks) || outside(p.ScaleBlocks) || outside(p.MaxReclaimBlocks):
		return bad("block counts must be 0 to %d", MaxBlocks)
	case p.FeePerMyriad > MaxMyriad:
		return bad("fee_per_myriad must be at most %d", MaxMyriad)
	}
	for _, cs := range []Coins{p.MinDeposits, p.BidDeposits} {
		for i, c := range cs {
			if err := ValidateDenom(c.Denom); err != nil {
				return err
			}
			if c.Amount.IsZero() || i > 0 && cs[i-1].Denom >= c.Denom {
				return bad("deposits must be above zero and sorted by denomination: %s", c)
			}
		}
	}
	return p.Limits.validate()
}

// outside reports whether n is no number of blocks.
func outside(n int64) bool { return n < 0 || n > MaxBlocks }

// groupBytes returns the bytes that a group may have.
func (l Limits) groupBytes() int {
	if l.MaxGroupBytes == 0 {
		return DefaultGroupBytes
	}
	return int(l.MaxGroupBytes)
}

func (l Limits) validate() error {
	for _, n := range []uint32{
		l.MaxGroups, l.MaxUnitsPerGroup, l.MaxReplicasPerUnit, l.MaxAttributes,
		l.MaxVolumesPerUnit, l.MaxEndpointsPerUnit, l.MaxSigners, l.MaxListed,
	} {
		if n > MaxCount {
			return fmt.Errorf("market: params: %w: a limit on a count is %d, at most %d", ErrInvalid, n, MaxCount)
		}
	}
	if l.MaxGroupBytes > MaxSize {
		return fmt.Errorf("market: params: %w: a group may have %d bytes, at most %d", ErrInvalid, l.MaxGroupBytes, MaxSize)
	}
	for _, n := range []uint64{l.MaxMilliCores, l.MaxMemoryBytes, l.MaxStorageBytes, l.MaxGPUs} {
		if n > MaxQuantity {
			return fmt.Errorf("market: params: %w: a limit on a size is %d, at most %d", ErrInvalid, n, MaxQuantity)
		}
	}
	return nil
}
