package market_test

import (
	"encoding/json"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/market"
)

// genBig draws numbers up to a number of bits, often near the edge.
func genBig(bits int) *rapid.Generator[*big.Int] {
	return rapid.Custom(func(t *rapid.T) *big.Int {
		n := rapid.IntRange(0, bits).Draw(t, "bits")
		b := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), (bits+7)/8, (bits+7)/8).Draw(t, "bytes"))
		b.Mod(b, new(big.Int).Lsh(big.NewInt(1), uint(n)))
		if rapid.Bool().Draw(t, "edge") {
			b.Sub(new(big.Int).Lsh(big.NewInt(1), uint(n)), big.NewInt(1))
		}
		return b
	})
}

func one() *big.Int { return market.NewDecimal(1).Raw() }

func TestAmountsCalculateAsIntegersDo(t *testing.T) {
	most := new(big.Int).Lsh(big.NewInt(1), 128)
	rapid.Check(t, func(t *rapid.T) {
		x, y := genBig(128).Draw(t, "x"), genBig(128).Draw(t, "y")
		a, ok := market.AmountFromBig(x)
		require.True(t, ok)
		b, _ := market.AmountFromBig(y)
		require.Equal(t, x.Cmp(y), a.Cmp(b))
		require.Equal(t, x.String(), a.String())
		sum, err := a.Add(b)
		if want := new(big.Int).Add(x, y); want.Cmp(most) < 0 {
			require.NoError(t, err)
			require.Equal(t, want.String(), sum.String())
		} else {
			require.ErrorIs(t, err, market.ErrOverflow)
		}
		diff, err := a.Sub(b)
		if x.Cmp(y) >= 0 {
			require.NoError(t, err)
			require.Equal(t, new(big.Int).Sub(x, y).String(), diff.String())
		} else {
			require.ErrorIs(t, err, market.ErrInsufficientFunds)
		}
		d, err := a.Decimal()
		if want := new(big.Int).Mul(x, one()); want.Cmp(most) < 0 {
			require.NoError(t, err)
			require.Equal(t, want.String(), d.Raw().String())
		} else {
			require.ErrorIs(t, err, market.ErrOverflow)
		}
		text, err := json.Marshal(a)
		require.NoError(t, err)
		var back market.Amount
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, a, back)
	})
}

func TestDecimalsCalculateExactly(t *testing.T) {
	most := new(big.Int).Lsh(big.NewInt(1), 128)
	rapid.Check(t, func(t *rapid.T) {
		x, y := genBig(128).Draw(t, "x"), genBig(128).Draw(t, "y")
		n := rapid.Uint64().Draw(t, "n")
		d, _ := market.DecimalFromRaw(x)
		e, _ := market.DecimalFromRaw(y)
		want := func(got market.Decimal, err error, raw *big.Int, sentinel error) {
			if raw.Sign() >= 0 && raw.Cmp(most) < 0 {
				require.NoError(t, err)
				require.Equal(t, raw.String(), got.Raw().String())
			} else {
				require.ErrorIs(t, err, sentinel)
			}
		}
		sum, err := d.Add(e)
		want(sum, err, new(big.Int).Add(x, y), market.ErrOverflow)
		diff, err := d.Sub(e)
		want(diff, err, new(big.Int).Sub(x, y), market.ErrInsufficientFunds)
		product, err := d.Times(n)
		want(product, err, new(big.Int).Mul(x, new(big.Int).SetUint64(n)), market.ErrOverflow)

		quo, rem := new(big.Int).QuoRem(x, one(), new(big.Int))
		whole, fraction := d.Split()
		require.Equal(t, quo.String(), whole.String())
		require.Equal(t, rem.String(), fraction.Raw().String())
		if rem.Sign() > 0 {
			quo.Add(quo, big.NewInt(1))
		}
		require.Equal(t, quo.String(), d.Ceil().String())
	})
}

func TestAccrualLosesNothing(t *testing.T) {
	most := new(big.Int).Lsh(big.NewInt(1), 128)
	rapid.Check(t, func(t *rapid.T) {
		price, carry := genBig(128).Draw(t, "price"), genBig(128).Draw(t, "carry")
		carry.Mod(carry, one())
		n := rapid.Uint64().Draw(t, "blocks")
		d, _ := market.DecimalFromRaw(price)
		c, _ := market.DecimalFromRaw(carry)
		total := new(big.Int).Mul(price, new(big.Int).SetUint64(n))
		quo, rem := total.Add(total, carry).QuoRem(total, one(), new(big.Int))
		whole, rest, err := d.Accrue(c, n)
		if quo.Cmp(most) >= 0 {
			require.ErrorIs(t, err, market.ErrOverflow)
			return
		}
		require.NoError(t, err)
		require.Equal(t, quo.String(), whole.String())
		require.Equal(t, rem.String(), rest.Raw().String())
	})
}

func TestNumbersAsText(t *testing.T) {
	for _, s := range []string{"0", "1.5", "0.000000000000000001", "340282366920938463463.374607431768211455"} {
		d, err := market.ParseDecimal(s)
		require.NoError(t, err)
		assert.Equal(t, s, d.String())
	}
	d, err := market.ParseDecimal("1.50")
	require.NoError(t, err)
	assert.Equal(t, "1.5", d.String())
	assert.Equal(t, "1.500000000000000000", d.Fixed())
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000000000000000001", "340282366920938463463.374607431768211456", " 1", "1,5"} {
		_, err := market.ParseDecimal(s)
		assert.ErrorIs(t, err, market.ErrInvalid, "%q", s)
	}
	for _, s := range []string{"", "-1", "1.0", "340282366920938463463374607431768211456", "x"} {
		_, err := market.ParseAmount(s)
		assert.ErrorIs(t, err, market.ErrInvalid, "%q", s)
	}
	for _, s := range []string{"5", "uakt", "5u", "5ua!t", "1.5uakt"} {
		_, err := market.ParseCoin(s)
		assert.ErrorIs(t, err, market.ErrInvalid, "%q", s)
	}
	_, ok := market.AmountFromBig(big.NewInt(-1))
	assert.False(t, ok)
}

func TestCoinsAreASortedSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[string]uint64{}
		var coins market.Coins
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			denom := rapid.SampledFrom([]string{"uakt", "uact", "uusd"}).Draw(t, "denom")
			n := rapid.Uint64Range(0, 5).Draw(t, "amount")
			before := append(market.Coins(nil), coins...)
			var next market.Coins
			var err error
			if rapid.Bool().Draw(t, "add") {
				next, err = coins.Add(market.NewCoin(denom, n))
				require.NoError(t, err)
				model[denom] += n
			} else if next, err = coins.Sub(market.NewCoin(denom, n)); n > model[denom] {
				require.ErrorIs(t, err, market.ErrInsufficientFunds)
				continue
			} else {
				require.NoError(t, err)
				model[denom] -= n
			}
			require.Equal(t, before, append(market.Coins(nil), coins...), "the receiver must not change")
			coins = next
		}
		for i, c := range coins {
			require.False(t, c.Amount.IsZero())
			require.True(t, i == 0 || coins[i-1].Denom < c.Denom)
		}
		for denom, n := range model {
			require.Equal(t, market.NewAmount(n), coins.Of(denom))
		}
	})
}
