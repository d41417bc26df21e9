package sdl

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// The suffixes of sizes, parted by spaces. They are case-sensitive.
const (
	byteSuffixes   = "k Ki M Mi G Gi T Ti P Pi E Ei"
	binarySuffixes = "Ki Mi Gi Ti Pi Ei"
)

// The reference reads quantities as binary floating-point numbers and cuts off
// the fraction. The same bytes for the same text need the same arithmetic, so
// this file, and only this file, computes with float64. What leaves it is whole.

// milliCores reads processor time: "500m" or a number of cores.
func (d *decoder) milliCores(n int32, dst *uint32) {
	n, leave := d.enter(n)
	defer d.leave(leave)
	if n == 0 || d.t.null(n) {
		return
	}
	nd := d.t.at(n)
	if nd.kind != scalarNode {
		d.wrongType(n, "a number of cores")
		*dst = MinMilliCores
		return
	}
	text := nd.value
	if milli, ok := strings.CutSuffix(text, "m"); ok {
		v, err := strconv.ParseUint(milli, 10, 32)
		if err != nil {
			d.badCPU(n, text)
			v = MinMilliCores
		}
		*dst = uint32(v)
		return
	}
	if whole, ok := smallUint(text); ok {
		*dst = uint32(whole * 1000)
		return
	}
	f, err := strconv.ParseFloat(text, 64)
	f *= 1000
	if err != nil || f < 0 {
		d.badCPU(n, text)
		*dst = MinMilliCores
		return
	}
	*dst = d.wrapCores(n, f)
}

// wrapCores converts thousandths of a core as the reference does: the fraction
// is cut off and what is over 32 bits is lost.
func (d *decoder) wrapCores(n int32, f float64) uint32 {
	if !(f < math.MaxInt64) {
		return 0 // infinite or no number: below the range, which is reported
	}
	v := uint32(uint64(f))
	switch {
	case f > math.MaxUint32:
		d.warn(ruleCPUTruncated, n, fmt.Sprintf("too many cores to count: read as %d thousandths of a core", v))
	case float64(v) != f:
		d.warn(ruleCPUTruncated, n, fmt.Sprintf("finer than a thousandth of a core: read as %dm", v))
	}
	return v
}

func (d *decoder) badCPU(n int32, text string) {
	d.add(problem{
		rule: ruleCPUSyntax, pos: d.pos(n), path: d.pathString(), msg: "not a number of cores: " + quote(text),
		allowed: "a number of cores, as 0.5 | thousandths of a core, as 500m", suggestion: suggestCPU(text),
	})
}

// smallUint reads up to five digits, the usual case, without floating point.
func smallUint(s string) (uint64, bool) {
	if len(s) == 0 || len(s) > 5 {
		return 0, false
	}
	v := uint64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		v = v*10 + uint64(s[i]-'0')
	}
	return v, true
}

// bytes reads a size with one of the suffixes. It reports false after reporting
// a problem; nothing leaves dst as it is.
func (d *decoder) bytes(n int32, dst *uint64, suffixes string) bool {
	n, leave := d.enter(n)
	defer d.leave(leave)
	if n == 0 || d.t.null(n) {
		return true
	}
	nd := d.t.at(n)
	if nd.kind != scalarNode {
		d.wrongType(n, "a size")
		return false
	}
	v, ok := parseBytes(nd.value, suffixes)
	if !ok {
		d.add(problem{
			rule: ruleSizeSyntax, pos: d.pos(n), path: d.pathString(), msg: "not a size: " + quote(nd.value),
			allowed:    "a number of bytes | a number and one of " + strings.ReplaceAll(suffixes, " ", ", "),
			suggestion: suggestSize(nd.value, suffixes),
		})
		return false
	}
	*dst = v
	return true
}

// parseBytes reads a size as the reference does.
func parseBytes(s, suffixes string) (uint64, bool) {
	number, unit := s, uint64(1)
	for rest := suffixes; rest != ""; {
		var suffix string
		suffix, rest, _ = strings.Cut(rest, " ")
		if cut, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = cut, suffixUnit(suffix)
			break
		}
	}
	if v, ok := smallUint(number); ok && unit <= 1<<40 {
		return v * unit, true
	}
	f, err := strconv.ParseFloat(number, 64)
	f *= float64(unit)
	if err != nil || f < 0 {
		return 0, false
	}
	if !(f < math.MaxUint64) {
		return 1 << 63, true // what the reference's processor makes of it; out of every range
	}
	return uint64(f), true
}

func suffixUnit(suffix string) uint64 {
	power := strings.IndexByte("kKMGTPE", suffix[0])
	if power > 0 {
		power--
	}
	base := uint64(1000)
	if len(suffix) == 2 {
		base = 1024
	}
	unit := base
	for range power {
		unit *= base
	}
	return unit
}

// gpuUnits reads a whole number of cards.
func (d *decoder) gpuUnits(n int32, dst *uint64) bool {
	n, leave := d.enter(n)
	defer d.leave(leave)
	if n == 0 || d.t.null(n) {
		return true
	}
	nd := d.t.at(n)
	if nd.kind != scalarNode {
		d.wrongType(n, "a number of cards")
		return false
	}
	v, err := strconv.ParseUint(nd.value, 10, 64)
	if err != nil {
		d.add(problem{
			rule: ruleGPUSyntax, pos: d.pos(n), path: d.pathString(), msg: "not a whole number of cards: " + quote(nd.value),
			allowed: fmt.Sprintf("0..%d", MaxGPUs),
		})
		return false
	}
	*dst = v
	return true
}

// maxPriceBits is the size of a number that the reference can hold, decimals
// included.
const maxPriceBits = 315

// amount reads a price. A leading + and a bare sign before the point are what
// the reference takes too.
func (d *decoder) amount(n int32, s string, dst *market.Decimal) {
	value, why := parsePrice(s)
	if why == "" && !value.IsZero() {
		*dst = value
		return
	}
	*dst = market.NewDecimal(1)
	p := problem{
		rule: rulePriceSyntax, pos: d.pos(n), path: d.pathString(), msg: why,
		allowed: "a number more than 0, at most 10000000, with at most 18 decimals and no exponent",
	}
	if why == "" {
		p.rule, p.msg = rulePriceRange, "the price is 0"
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 && f <= MaxPrice {
		p.suggestion = strconv.FormatFloat(f, 'f', -1, 64)
	}
	d.add(p)
}

// parsePrice returns the number, or why there is none. A number over what
// [market.Decimal] holds becomes the largest: every price in use is checked
// against a lower limit.
func parsePrice(s string) (market.Decimal, string) {
	if s == "" {
		return market.Decimal{}, "no amount"
	}
	if s[0] == '-' {
		return market.Decimal{}, "the amount is negative or not a number"
	}
	if v, err := market.ParseDecimal(s); err == nil {
		return v, ""
	}
	whole, frac, point := strings.Cut(s, ".")
	digits := strings.TrimPrefix(whole, "+") + frac
	switch {
	case point && (frac == "" || whole == "") || !onlyDigits(digits):
		return market.Decimal{}, "not an amount: " + quote(s)
	case len(frac) > market.DecimalPlaces:
		return market.Decimal{}, "more than 18 decimals: " + quote(s)
	case len(digits) > maxPriceBits:
		return market.Decimal{}, "the amount is too large"
	}
	raw, _ := new(big.Int).SetString(digits+strings.Repeat("0", market.DecimalPlaces-len(frac)), 10)
	if raw.BitLen() > maxPriceBits {
		return market.Decimal{}, "the amount is too large"
	}
	if v, ok := market.DecimalFromRaw(raw); ok {
		return v, ""
	}
	v, _ := market.DecimalFromRaw(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
	return v, ""
}
