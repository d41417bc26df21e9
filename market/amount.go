package market

import (
	"fmt"
	"math/big"
	"math/bits"
	"strings"
)

// DecimalPlaces is the number of decimals of [Decimal].
const DecimalPlaces = 18

// decimalOne is 10^18, the raw value of Decimal 1.
const decimalOne = 1_000_000_000_000_000_000

// uint128 is an unsigned 128-bit integer. It is comparable with ==.
type uint128 struct{ hi, lo uint64 }

func (u uint128) isZero() bool { return u.hi|u.lo == 0 }

func (u uint128) cmp(v uint128) int {
	switch {
	case u == v:
		return 0
	case u.hi < v.hi || (u.hi == v.hi && u.lo < v.lo):
		return -1
	default:
		return 1
	}
}

func (u uint128) add(v uint128) (sum uint128, ok bool) {
	lo, carry := bits.Add64(u.lo, v.lo, 0)
	hi, carry := bits.Add64(u.hi, v.hi, carry)
	return uint128{hi, lo}, carry == 0
}

func (u uint128) sub(v uint128) (diff uint128, ok bool) {
	lo, borrow := bits.Sub64(u.lo, v.lo, 0)
	hi, borrow := bits.Sub64(u.hi, v.hi, borrow)
	return uint128{hi, lo}, borrow == 0
}

// mul64 multiplies by a 64-bit number; the result has 192 bits: top, hi, lo.
func (u uint128) mul64(n uint64) (top uint64, rest uint128) {
	hi1, lo := bits.Mul64(u.lo, n)
	hi2, mid := bits.Mul64(u.hi, n)
	mid, carry := bits.Add64(mid, hi1, 0)
	return hi2 + carry, uint128{mid, lo}
}

// divmod192 divides a 192-bit number by n. The quotient must fit 128 bits,
// which holds when top < n.
func divmod192(top uint64, rest uint128, n uint64) (quo uint128, rem uint64) {
	hi, r := bits.Div64(top, rest.hi, n)
	lo, r := bits.Div64(r, rest.lo, n)
	return uint128{hi, lo}, r
}

func (u uint128) big() *big.Int {
	z := new(big.Int).SetUint64(u.hi)
	return z.Lsh(z, 64).Or(z, new(big.Int).SetUint64(u.lo))
}

func fromBig(b *big.Int) (uint128, bool) {
	if b.Sign() < 0 || b.BitLen() > 128 {
		return uint128{}, false
	}
	lo := new(big.Int).And(b, new(big.Int).SetUint64(^uint64(0))).Uint64()
	return uint128{new(big.Int).Rsh(b, 64).Uint64(), lo}, true
}

func (u uint128) String() string {
	if u.hi == 0 {
		return fmt.Sprintf("%d", u.lo)
	}
	return u.big().String()
}

// maxDigits bounds the text of a number before it is parsed: 39 digits of a
// 128-bit integer and room for leading zeros.
const maxDigits = 64

func parseDigits(s string) (uint128, bool) {
	if s == "" || len(s) > maxDigits {
		return uint128{}, false
	}
	var u uint128
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return uint128{}, false
		}
		top, next := u.mul64(10)
		next, ok := next.add(uint128{0, uint64(c - '0')})
		if top != 0 || !ok {
			return uint128{}, false
		}
		u = next
	}
	return u, true
}

// Amount is a number of whole units of some denomination, from 0 to 2^128-1.
// It is never negative. Amounts are values: comparable with ==, usable as map
// keys, free of allocation. The zero value is 0.
type Amount struct{ u uint128 }

// NewAmount returns n units.
func NewAmount(n uint64) Amount { return Amount{uint128{0, n}} }

// ParseAmount reads a decimal integer without sign or separators. The error
// wraps [ErrInvalid].
func ParseAmount(s string) (Amount, error) {
	u, ok := parseDigits(s)
	if !ok {
		return Amount{}, fmt.Errorf("market: amount %q: %w: want digits, at most 2^128-1", clip(s), ErrInvalid)
	}
	return Amount{u}, nil
}

// AmountFromBig converts b; it reports false when b is negative or needs more
// than 128 bits. b is not retained.
func AmountFromBig(b *big.Int) (Amount, bool) {
	u, ok := fromBig(b)
	return Amount{u}, ok
}

// Big returns the amount as a new [big.Int].
func (a Amount) Big() *big.Int { return a.u.big() }

// Uint64 returns the amount and whether it fits.
func (a Amount) Uint64() (uint64, bool) { return a.u.lo, a.u.hi == 0 }

// IsZero reports whether a is 0.
func (a Amount) IsZero() bool { return a.u.isZero() }

// Cmp returns -1, 0 or 1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int { return a.u.cmp(b.u) }

// Add returns a+b, or an error wrapping [ErrOverflow].
func (a Amount) Add(b Amount) (Amount, error) {
	u, ok := a.u.add(b.u)
	if !ok {
		return Amount{}, fmt.Errorf("market: %s + %s: %w", a, b, ErrOverflow)
	}
	return Amount{u}, nil
}

// Sub returns a-b, or an error wrapping [ErrInsufficientFunds] when b is
// greater than a.
func (a Amount) Sub(b Amount) (Amount, error) {
	u, ok := a.u.sub(b.u)
	if !ok {
		return Amount{}, fmt.Errorf("market: %s - %s: %w", a, b, ErrInsufficientFunds)
	}
	return Amount{u}, nil
}

// Decimal returns the amount as a decimal, or an error wrapping [ErrOverflow]
// when it is over 3.4e20.
func (a Amount) Decimal() (Decimal, error) {
	top, raw := a.u.mul64(decimalOne)
	if top != 0 {
		return Decimal{}, fmt.Errorf("market: %s as decimal: %w", a, ErrOverflow)
	}
	return Decimal{raw}, nil
}

// String returns the decimal digits.
func (a Amount) String() string { return a.u.String() }

// MarshalText implements encoding.TextMarshaler.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Amount) UnmarshalText(b []byte) error {
	v, err := ParseAmount(string(b))
	if err == nil {
		*a = v
	}
	return err
}

// Decimal is an exact number from 0 to about 3.4e20 with 18 decimals: a price
// per block, or a fraction of a unit that was earned but not yet paid. It is
// never negative and never rounded silently. The zero value is 0.
type Decimal struct{ u uint128 }

// NewDecimal returns the whole number n.
func NewDecimal(n uint64) Decimal {
	_, raw := uint128{0, n}.mul64(decimalOne)
	return Decimal{raw}
}

// DecimalFromRaw returns raw / 10^18; it reports false when raw is negative or
// needs more than 128 bits. raw is not retained.
func DecimalFromRaw(raw *big.Int) (Decimal, bool) {
	u, ok := fromBig(raw)
	return Decimal{u}, ok
}

// ParseDecimal reads digits with an optional point and at most 18 decimals. No
// sign, exponent or separator. The error wraps [ErrInvalid].
func ParseDecimal(s string) (Decimal, error) {
	whole, frac, point := strings.Cut(s, ".")
	bad := func(why string) (Decimal, error) {
		return Decimal{}, fmt.Errorf("market: decimal %q: %w: %s", clip(s), ErrInvalid, why)
	}
	if point && frac == "" || len(frac) > DecimalPlaces {
		return bad("want at most 18 decimals after the point")
	}
	raw, ok := parseDigits(whole + frac + "000000000000000000"[len(frac):])
	if !ok || whole == "" {
		return bad("want digits and at most one point, below 3.4e20")
	}
	return Decimal{raw}, nil
}

// Raw returns the number times 10^18 as a new [big.Int].
func (d Decimal) Raw() *big.Int { return d.u.big() }

// IsZero reports whether d is 0.
func (d Decimal) IsZero() bool { return d.u.isZero() }

// Cmp returns -1, 0 or 1 as d is less than, equal to or greater than e.
func (d Decimal) Cmp(e Decimal) int { return d.u.cmp(e.u) }

// Add returns d+e, or an error wrapping [ErrOverflow].
func (d Decimal) Add(e Decimal) (Decimal, error) {
	u, ok := d.u.add(e.u)
	if !ok {
		return Decimal{}, fmt.Errorf("market: %s + %s: %w", d, e, ErrOverflow)
	}
	return Decimal{u}, nil
}

// Sub returns d-e, or an error wrapping [ErrInsufficientFunds] when e is
// greater than d.
func (d Decimal) Sub(e Decimal) (Decimal, error) {
	u, ok := d.u.sub(e.u)
	if !ok {
		return Decimal{}, fmt.Errorf("market: %s - %s: %w", d, e, ErrInsufficientFunds)
	}
	return Decimal{u}, nil
}

// Times returns d*n, or an error wrapping [ErrOverflow].
func (d Decimal) Times(n uint64) (Decimal, error) {
	top, u := d.u.mul64(n)
	if top != 0 {
		return Decimal{}, fmt.Errorf("market: %s * %d: %w", d, n, ErrOverflow)
	}
	return Decimal{u}, nil
}

// Accrue returns carry + d*blocks, split into whole units and the fraction
// below one that is carried to the next time. Nothing is rounded away. The
// error wraps [ErrOverflow]. carry must be below 1.
func (d Decimal) Accrue(carry Decimal, blocks uint64) (whole Amount, rest Decimal, err error) {
	top, low := d.u.mul64(blocks)
	low, ok := low.add(carry.u)
	if !ok {
		top++
	}
	if top >= decimalOne {
		return Amount{}, Decimal{}, fmt.Errorf("market: %s per block for %d blocks: %w", d, blocks, ErrOverflow)
	}
	quo, rem := divmod192(top, low, decimalOne)
	return Amount{quo}, Decimal{uint128{0, rem}}, nil
}

// Split returns the whole part and the fraction below one.
func (d Decimal) Split() (whole Amount, fraction Decimal) {
	quo, rem := divmod192(0, d.u, decimalOne)
	return Amount{quo}, Decimal{uint128{0, rem}}
}

// Ceil returns the smallest amount not below d.
func (d Decimal) Ceil() Amount {
	whole, frac := d.Split()
	if frac.IsZero() {
		return whole
	}
	up, _ := whole.u.add(uint128{0, 1}) // whole is below 2^69
	return Amount{up}
}

// String returns the shortest exact text, for example "1.5".
func (d Decimal) String() string {
	return strings.TrimSuffix(strings.TrimRight(d.Fixed(), "0"), ".")
}

// Fixed returns the number with all 18 decimals, for example
// "1.500000000000000000", the form the reference tools print.
func (d Decimal) Fixed() string {
	whole, frac := d.Split()
	return fmt.Sprintf("%s.%018d", whole, frac.u.lo)
}

// MarshalText implements encoding.TextMarshaler with [Decimal.String].
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Decimal) UnmarshalText(b []byte) error {
	v, err := ParseDecimal(string(b))
	if err == nil {
		*d = v
	}
	return err
}

// clip bounds user text inside an error.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
