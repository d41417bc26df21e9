package marketpb

import (
	"fmt"

	"cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/moorage-dev/moorage/market"
)

// each converts a list; an empty one becomes nil.
func each[A, B any](in []A, convert func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = convert(v)
	}
	return out
}

// eachErr converts a list and stops at the first error.
func eachErr[A, B any](in []A, convert func(A) (B, error)) ([]B, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		var err error
		if out[i], err = convert(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// FromCoin converts a coin.
func FromCoin(c market.Coin) sdk.Coin {
	return sdk.Coin{Denom: c.Denom, Amount: math.NewIntFromBigInt(c.Amount.Big())}
}

// ToCoin converts a coin. Amounts below 0 or of more than 128 bits are invalid.
func ToCoin(c sdk.Coin) (market.Coin, error) {
	if c.Amount.IsNil() {
		return market.Coin{Denom: c.Denom}, nil
	}
	amount, ok := market.AmountFromBig(c.Amount.BigInt())
	if !ok {
		return market.Coin{}, fmt.Errorf("marketpb: coin %s: %w: want an amount from 0 to 2^128-1", c.Denom, market.ErrInvalid)
	}
	return market.Coin{Denom: c.Denom, Amount: amount}, nil
}

// FromCoins converts a list of coins.
func FromCoins(cs market.Coins) sdk.Coins { return each(cs, FromCoin) }

// ToCoins converts a list of coins, which may be in any order; coins of one
// denomination are summed.
func ToCoins(cs []sdk.Coin) (market.Coins, error) {
	var out market.Coins
	for _, c := range cs {
		coin, err := ToCoin(c)
		if err != nil {
			return nil, err
		}
		if out, err = out.Add(coin); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// FromPrice converts a price.
func FromPrice(p market.Price) Price {
	return Price{Denom: p.Denom, AmountPerBlock: p.AmountPerBlock.String()}
}

// ToPrice converts a price. An empty amount is 0.
func ToPrice(p Price) (market.Price, error) {
	amount, err := toDecimal(p.AmountPerBlock)
	return market.Price{Denom: p.Denom, AmountPerBlock: amount}, err
}

func toDecimal(s string) (market.Decimal, error) {
	if s == "" {
		return market.Decimal{}, nil
	}
	return market.ParseDecimal(s)
}

func toAmount(s string) (market.Amount, error) {
	if s == "" {
		return market.Amount{}, nil
	}
	return market.ParseAmount(s)
}
