// Package marketpb is the wire form of the market on a Cosmos SDK chain: the
// code generated from proto/moorage/market/v1, and the conversions between it
// and the values of package market.
//
// Every value has a function FromX, from market to wire, and a function ToX,
// back. ToX checks what a wire can get wrong (numbers, hashes, enumerations)
// and returns an error that wraps [market.ErrInvalid]; the rules of the market
// are checked by package market/machine, not here.
//
// Regenerate with scripts/proto.
package marketpb

//go:generate ../../../scripts/proto
