package market

import "slices"

// UnitCount is a number of replicas of one unit of a group.
type UnitCount struct {
	// Unit is the unit's ID inside its group.
	Unit  uint32 `json:"unit"`
	Count uint32 `json:"count"`
}

// UnitPrice is what a provider asks for one replica of one unit of a group, in
// the denomination of the bid.
type UnitPrice struct {
	// Unit is the unit's ID inside its group.
	Unit           uint32  `json:"unit"`
	AmountPerBlock Decimal `json:"amount"`
}

// Scale is a tenant's request to run other numbers of replicas under a lease,
// while it waits for the provider's answer. See [ScaleLease].
type Scale struct {
	// Number counts the requests on the lease, from 1. An answer names it, so
	// that it cannot hit another request than the one it was meant for.
	Number uint32 `json:"number"`
	// Counts has every unit of the group, in its order.
	Counts []UnitCount `json:"counts"`
	// Price is what the lease costs from the block of the confirmation on.
	Price Price `json:"price"`
	// Hash becomes the deployment's with the confirmation, if the hash is still
	// From by then; the zero hash leaves the manifest as it is.
	Hash Hash `json:"hash,omitzero"`
	// From was the deployment's hash when the request was made; zero if Hash is.
	From Hash `json:"from,omitzero"`
	// RequestedAt is the height of the request.
	RequestedAt int64 `json:"requested_at"`
	// ExpiresAt is the height at which the request lapses without an answer, 0
	// for never.
	ExpiresAt int64 `json:"expires_at,omitempty"`
}

// ScaleLease asks the provider of an active lease for other numbers of
// replicas, within the bounds that were ordered. Nothing changes until the
// provider confirms; from then on the lease costs the provider's price per
// replica times the new counts. It takes the place of a request that waits.
// Asking for the present counts takes such a request back.
type ScaleLease struct {
	ID LeaseID `json:"id"`
	// Counts are the units to change, each once; others stay.
	Counts []UnitCount `json:"counts"`
	// MaxPrice is the most the lease may cost from then on; the zero value leaves
	// that to the bid. It is how a grant to scale is bounded.
	MaxPrice Price `json:"max_price,omitzero"`
	// Hash is the version of the manifest with the new counts. The zero hash
	// leaves the manifest as it is: the counts of the group then take the place
	// of those in it.
	Hash Hash `json:"hash,omitzero"`
}

// ConfirmScale accepts a request to scale: counts, price and hash change in
// this block.
type ConfirmScale struct {
	ID LeaseID `json:"id"`
	// Number is that of the request.
	Number uint32 `json:"number"`
}

// DeclineScale refuses a request to scale. The lease stays as it is.
type DeclineScale struct {
	ID LeaseID `json:"id"`
	// Number is that of the request.
	Number uint32 `json:"number"`
}

// Signer implements [Msg].
func (m ScaleLease) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m ConfirmScale) Signer() Address { return m.ID.Provider }

// Signer implements [Msg].
func (m DeclineScale) Signer() Address { return m.ID.Provider }

// Bounds returns between which numbers of replicas the unit may be scaled,
// both inclusive. They are equal when the number is fixed.
func (u ResourceUnit) Bounds() (low, high uint32) {
	if u.MinCount == 0 && u.MaxCount == 0 {
		return u.Count, u.Count
	}
	return u.MinCount, u.MaxCount
}

// Scalable reports whether the number of replicas of a unit may change in
// place. A bid on such a group names a price for each unit.
func (g GroupSpec) Scalable() bool {
	return slices.ContainsFunc(g.Units, func(u ResourceUnit) bool {
		low, high := u.Bounds()
		return low != high
	})
}

// Counts returns the number of replicas of each unit, in their order.
func (g GroupSpec) Counts() []UnitCount {
	out := make([]UnitCount, len(g.Units))
	for i, u := range g.Units {
		out[i] = UnitCount{u.ID, u.Count}
	}
	return out
}

// WithCounts returns the group with other numbers of replicas; units that are
// not named keep theirs. The receiver is not changed. Each fault is a
// [RuleError].
func (g GroupSpec) WithCounts(counts []UnitCount) (GroupSpec, error) {
	units := slices.Clone(g.Units)
	seen := make(map[uint32]bool, len(counts))
	for _, c := range counts {
		i := slices.IndexFunc(units, func(u ResourceUnit) bool { return u.ID == c.Unit })
		if i < 0 || seen[c.Unit] {
			return GroupSpec{}, Refuse(ErrInvalid, "scale-unit", "group %q: unit %d is not one of it or is named twice", g.Name, c.Unit)
		}
		seen[c.Unit] = true
		if low, high := units[i].Bounds(); c.Count < low || c.Count > high {
			return GroupSpec{}, Refuse(ErrLimit, "scale-count", "group %q: %d replicas of unit %d, ordered were %d to %d", g.Name, c.Count, c.Unit, low, high)
		}
		units[i].Count = c.Count
	}
	g.Units = units
	return g, nil
}

// PriceOf returns what the group costs per block at a provider's prices: the
// sum of price times count. The prices name every unit, in the group's order.
// Each fault is a [RuleError].
func (g GroupSpec) PriceOf(denom string, prices []UnitPrice) (Price, error) {
	same := slices.EqualFunc(g.Units, prices, func(u ResourceUnit, p UnitPrice) bool { return u.ID == p.Unit })
	if !same {
		return Price{}, Refuse(ErrInvalid, "bid-unit-prices", "group %q has %d units, the bid must name a price for each, in their order", g.Name, len(g.Units))
	}
	total := Price{Denom: denom}
	for i, u := range g.Units {
		part, err := prices[i].AmountPerBlock.Times(uint64(u.Count))
		if err == nil {
			total.AmountPerBlock, err = total.AmountPerBlock.Add(part)
		}
		if err != nil {
			return Price{}, Refuse(ErrInvalid, "bid-unit-prices", "group %q: %v", g.Name, err)
		}
	}
	return total, nil
}
