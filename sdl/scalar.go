package sdl

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// scalarType is what a plain scalar means by the core schema of YAML, as the
// reference's parser reads it.
type scalarType uint8

const (
	textScalar scalarType = iota
	nullScalar
	boolScalar
	intScalar
	floatScalar
	timeScalar
)

// scalar is a resolved scalar.
type scalar struct {
	typ scalarType
	// neg and abs are an integer, boolean holds a boolean in abs, real a float.
	neg  bool
	abs  uint64
	real float64
}

func isNullText(s string) bool {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// null reports whether n, which is no alias, means nothing.
func (t *tree) null(n int32) bool {
	nd := &t.nodes[n]
	if nd.kind != scalarNode || nd.quoted {
		return false
	}
	return nd.tag == "!!null" || nd.tag == "" && isNullText(nd.value)
}

// resolve says what a scalar means. ok is false when an explicit tag does not
// fit the text.
func (nd *node) resolve() (s scalar, ok bool) {
	switch nd.tag {
	case "", "!!bool", "!!int", "!!float", "!!null", "!!timestamp":
	default:
		return scalar{}, true // text, or a type of the author's own
	}
	if nd.quoted && nd.tag == "" {
		return scalar{}, true
	}
	s = resolvePlain(nd.value, nd.tag == "" || nd.tag == "!!timestamp")
	switch nd.tag {
	case "":
		return s, true
	case "!!float":
		if s.typ == intScalar {
			s.typ, s.real = floatScalar, float64(s.abs)
			if s.neg {
				s.real = -s.real
			}
		}
		return s, s.typ == floatScalar
	case "!!null":
		return s, s.typ == nullScalar
	case "!!bool":
		return s, s.typ == boolScalar
	case "!!int":
		return s, s.typ == intScalar
	}
	return s, s.typ == timeScalar
}

// text returns the text of a scalar, decoding !!binary.
func (nd *node) text() (string, bool) {
	if nd.tag != "!!binary" {
		return nd.value, true
	}
	b, err := base64.StdEncoding.DecodeString(nd.value)
	return string(b), err == nil
}

func resolvePlain(s string, times bool) scalar {
	if isNullText(s) {
		return scalar{typ: nullScalar}
	}
	switch s {
	case "true", "True", "TRUE":
		return scalar{typ: boolScalar, abs: 1}
	case "false", "False", "FALSE":
		return scalar{typ: boolScalar}
	case ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF":
		f, _ := strconv.ParseFloat(strings.Replace(s, ".", "", 1), 64)
		return scalar{typ: floatScalar, real: f}
	}
	switch c := s[0]; {
	case c == '.':
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return scalar{typ: floatScalar, real: f}
		}
	case c == '+' || c == '-' || c >= '0' && c <= '9':
		return resolveNumber(s, times)
	}
	return scalar{}
}

func resolveNumber(s string, times bool) scalar {
	if times && isTimestamp(s) {
		return scalar{typ: timeScalar}
	}
	plain := s
	if strings.IndexByte(s, '_') >= 0 {
		plain = strings.ReplaceAll(s, "_", "")
	}
	if r, ok := resolveInt(plain, 0); ok {
		return r
	}
	if floatPattern(plain) {
		if f, err := strconv.ParseFloat(plain, 64); err == nil {
			return scalar{typ: floatScalar, real: f}
		}
	}
	neg := strings.HasPrefix(plain, "-")
	digits := strings.TrimPrefix(plain, "-")
	for _, p := range [...]struct {
		prefix string
		base   int
	}{{"0b", 2}, {"0o", 8}} {
		if rest, ok := strings.CutPrefix(digits, p.prefix); ok {
			if neg {
				rest = "-" + rest
			}
			if r, ok := resolveInt(rest, p.base); ok {
				return r
			}
		}
	}
	return scalar{}
}

func resolveInt(s string, base int) (scalar, bool) {
	if i, err := strconv.ParseInt(s, base, 64); err == nil {
		if i < 0 {
			return scalar{typ: intScalar, neg: true, abs: uint64(-(i + 1)) + 1}, true
		}
		return scalar{typ: intScalar, abs: uint64(i)}, true
	}
	if u, err := strconv.ParseUint(s, base, 64); err == nil {
		return scalar{typ: intScalar, abs: u}, true
	}
	return scalar{}, false
}

// floatPattern matches [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
func floatPattern(s string) bool {
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	whole := digitsFrom(s, i)
	i += whole
	if i < len(s) && s[i] == '.' {
		frac := digitsFrom(s, i+1)
		if whole == 0 && frac == 0 {
			return false
		}
		i += 1 + frac
	} else if whole == 0 {
		return false
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		exp := digitsFrom(s, i)
		if exp == 0 {
			return false
		}
		i += exp
	}
	return i == len(s)
}

func digitsFrom(s string, i int) int {
	n := 0
	for i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '9' {
		n++
	}
	return n
}

func isTimestamp(s string) bool {
	if len(s) < 5 || s[4] != '-' || digitsFrom(s, 0) != 4 {
		return false
	}
	for _, format := range [...]string{
		"2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00",
		"2006-1-2 15:4:5.999999999", "2006-1-2",
	} {
		if _, err := time.Parse(format, s); err == nil {
			return true
		}
	}
	return false
}
