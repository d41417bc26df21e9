package jwt

import "strings"

// Bech32 as of BIP 173.

const (
	bech32Digits   = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	bech32Checksum = 6
	maxBech32      = 90
	maxPrefix      = 83
)

func polymod(values []byte) uint32 {
	generator := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	sum := uint32(1)
	for _, v := range values {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(v)
		for i, g := range generator {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	return sum
}

func expandPrefix(prefix string) []byte {
	out := make([]byte, 0, 2*len(prefix)+1)
	for i := range len(prefix) {
		out = append(out, prefix[i]>>5)
	}
	out = append(out, 0)
	for i := range len(prefix) {
		out = append(out, prefix[i]&31)
	}
	return out
}

// decodeBech32 returns the prefix and the data. Only lower case is taken: an
// account has one text.
func decodeBech32(s string) (prefix string, data []byte, ok bool) {
	at := strings.LastIndexByte(s, '1')
	if at < 1 || len(s) > maxBech32 || len(s)-at-1 < bech32Checksum || strings.ToLower(s) != s {
		return "", nil, false
	}
	prefix = s[:at]
	values := make([]byte, 0, len(s))
	for _, c := range []byte(s[at+1:]) {
		v := strings.IndexByte(bech32Digits, c)
		if v < 0 {
			return "", nil, false
		}
		values = append(values, byte(v))
	}
	if polymod(append(expandPrefix(prefix), values...)) != 1 {
		return "", nil, false
	}
	data, ok = regroup(values[:len(values)-bech32Checksum], 5, 8, false)
	return prefix, data, ok
}

func encodeBech32(prefix string, data []byte) string {
	values, _ := regroup(data, 8, 5, true) // padding always works
	sum := polymod(append(append(expandPrefix(prefix), values...), make([]byte, bech32Checksum)...)) ^ 1
	for i := range bech32Checksum {
		values = append(values, byte(sum>>(5*(bech32Checksum-1-i)))&31)
	}
	var b strings.Builder
	b.WriteString(prefix)
	b.WriteByte('1')
	for _, v := range values {
		b.WriteByte(bech32Digits[v])
	}
	return b.String()
}

// regroup turns groups of bits of one size into groups of another.
func regroup(in []byte, from, to uint, pad bool) (out []byte, ok bool) {
	var acc uint32
	var bits uint
	for _, v := range in {
		acc = acc<<from | uint32(v)
		bits += from
		for bits >= to {
			bits -= to
			out = append(out, byte(acc>>bits&(1<<to-1)))
		}
		acc &= 1<<bits - 1
	}
	if pad {
		if bits > 0 {
			out = append(out, byte(acc<<(to-bits)&(1<<to-1)))
		}
		return out, true
	}
	return out, bits < from && acc == 0
}
