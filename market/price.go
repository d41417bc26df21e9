package market

import (
	"cmp"
	"fmt"
	"slices"
)

// MaxDenomLength bounds the name of a denomination, as in Cosmos SDK coins.
const MaxDenomLength = 128

// ValidateDenom checks a denomination: a letter, then 2 to 127 letters, digits
// or any of "/:._-" (the rule of Cosmos SDK coins). The error wraps
// [ErrInvalid].
func ValidateDenom(denom string) error {
	ok := len(denom) >= 3 && len(denom) <= MaxDenomLength
	for i := 0; ok && i < len(denom); i++ {
		c := denom[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		other := c >= '0' && c <= '9' || c == '/' || c == ':' || c == '.' || c == '_' || c == '-'
		ok = letter || other && i > 0
	}
	if !ok {
		return fmt.Errorf("market: denomination %q: %w: want a letter and 2 to 127 letters, digits or /:._-", clip(denom), ErrInvalid)
	}
	return nil
}

// Coin is an amount of a denomination.
type Coin struct {
	Denom  string `json:"denom"`
	Amount Amount `json:"amount"`
}

// NewCoin returns n whole units of denom.
func NewCoin(denom string, n uint64) Coin { return Coin{denom, NewAmount(n)} }

// String returns the amount followed by the denomination: "500000uact".
func (c Coin) String() string { return c.Amount.String() + c.Denom }

// ParseCoin reads the text form of [Coin.String]. The error wraps [ErrInvalid].
func ParseCoin(s string) (Coin, error) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	amount, err := ParseAmount(s[:i])
	if err != nil {
		return Coin{}, fmt.Errorf("market: coin %q: %w: want digits and a denomination, as 500000uact", clip(s), ErrInvalid)
	}
	if err := ValidateDenom(s[i:]); err != nil {
		return Coin{}, err
	}
	return Coin{s[i:], amount}, nil
}

// Coins are amounts of several denominations, sorted by denomination, each at
// most once, none zero. nil is no money.
type Coins []Coin

// Of returns the amount of a denomination, 0 when absent.
func (cs Coins) Of(denom string) Amount {
	if i, ok := cs.find(denom); ok {
		return cs[i].Amount
	}
	return Amount{}
}

func (cs Coins) find(denom string) (int, bool) {
	return slices.BinarySearchFunc(cs, denom, func(c Coin, d string) int { return cmp.Compare(c.Denom, d) })
}

// Add returns a new list with c added; the receiver is not changed. The error
// wraps [ErrOverflow].
func (cs Coins) Add(c Coin) (Coins, error) {
	if c.Amount.IsZero() {
		return cs, nil
	}
	i, ok := cs.find(c.Denom)
	if !ok {
		return slices.Insert(slices.Clone(cs), i, c), nil
	}
	sum, err := cs[i].Amount.Add(c.Amount)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(cs)
	out[i].Amount = sum
	return out, nil
}

// Sub returns a new list with c taken away; the receiver is not changed. The
// error wraps [ErrInsufficientFunds].
func (cs Coins) Sub(c Coin) (Coins, error) {
	if c.Amount.IsZero() {
		return cs, nil
	}
	i, ok := cs.find(c.Denom)
	if !ok {
		return nil, fmt.Errorf("market: no %s to take %s from: %w", c.Denom, c, ErrInsufficientFunds)
	}
	rest, err := cs[i].Amount.Sub(c.Amount)
	if err != nil {
		return nil, err
	}
	if rest.IsZero() && len(cs) == 1 {
		return nil, nil
	}
	out := slices.Clone(cs)
	if rest.IsZero() {
		return slices.Delete(out, i, i+1), nil
	}
	out[i].Amount = rest
	return out, nil
}

// Price is what is paid for one block.
type Price struct {
	Denom          string  `json:"denom"`
	AmountPerBlock Decimal `json:"amount"`
}

// String returns for example "1.5uact/block".
func (p Price) String() string { return p.AmountPerBlock.String() + p.Denom + "/block" }
