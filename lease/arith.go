package lease

import (
	"math/big"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// paidBlocks returns the greatest number of blocks, at most limit, for which
// funds cover all that falls due to the payments. It doubles its guess and then
// halves the gap: two checks per bit of the answer, without allocation.
func paidBlocks(ps []*market.Payment, funds market.Amount, limit uint64) uint64 {
	if covered(ps, funds, limit) {
		return limit
	}
	lo, hi := uint64(0), uint64(1) // covered at lo
	for hi < limit && covered(ps, funds, hi) {
		lo, hi = hi, hi+min(hi, limit-hi)
	}
	for hi-lo > 1 { // not covered at hi
		mid := lo + (hi-lo)/2
		if covered(ps, funds, mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// covered reports whether funds cover what falls due in n blocks. A sum that
// does not fit 128 bits is not covered.
func covered(ps []*market.Payment, funds market.Amount, n uint64) bool {
	var total market.Amount
	for _, p := range ps {
		whole, _, err := p.Price.AmountPerBlock.Accrue(p.Fraction, n)
		if err != nil {
			return false
		}
		if total, err = total.Add(whole); err != nil || total.Cmp(funds) > 0 {
			return false
		}
	}
	return true
}

// share divides total, which is less than the sum of weights, in proportion to
// the weights: whole units, by largest remainder, of equal ones the first. No
// share is above its weight, and the shares add up to total.
func share(total market.Amount, weights []market.Amount, sum market.Amount) []market.Amount {
	type part struct {
		index     int
		remainder *big.Int
	}
	shares := make([]market.Amount, len(weights))
	parts := make([]part, len(weights))
	left := total
	for i, w := range weights {
		product := new(big.Int).Mul(total.Big(), w.Big())
		quo, rem := product.QuoRem(product, sum.Big(), new(big.Int))
		shares[i], _ = market.AmountFromBig(quo) // at most w
		left, _ = left.Sub(shares[i])            // the shares are at most total
		parts[i] = part{i, rem}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return b.remainder.Cmp(a.remainder) })
	one := market.NewAmount(1)
	for _, p := range parts {
		if left.IsZero() {
			break
		}
		shares[p.index], _ = shares[p.index].Add(one) // still at most the weight
		left, _ = left.Sub(one)
	}
	return shares
}

// payOut empties a payment's balance and divides it into fee and the rest.
func payOut(p *market.Payment, feePerMyriad uint32) (Payout, error) {
	gross := p.Balance
	total := new(big.Int).Mul(gross.Big(), big.NewInt(int64(feePerMyriad)))
	total.Add(total, big.NewInt(int64(p.FeeCarry)))
	quo, carry := total.QuoRem(total, big.NewInt(market.MaxMyriad), new(big.Int))
	fee, _ := market.AmountFromBig(quo)
	net, err := gross.Sub(fee)
	if err != nil {
		return Payout{}, err
	}
	if p.Withdrawn, err = p.Withdrawn.Add(gross); err != nil {
		return Payout{}, err
	}
	p.Balance, p.FeeCarry = market.Amount{}, uint32(carry.Uint64())
	denom := p.Price.Denom
	return Payout{
		Provider: p.ID.Provider,
		Net:      market.Coin{Denom: denom, Amount: net},
		Fee:      market.Coin{Denom: denom, Amount: fee},
	}, nil
}
