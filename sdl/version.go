package sdl

import (
	"strconv"
	"strings"
)

// String returns "2.0" or "2.1".
func (v Dialect) String() string {
	switch v {
	case Dialect20:
		return "2.0"
	case Dialect21:
		return "2.1"
	}
	return "dialect-" + strconv.Itoa(int(v))
}

// parseVersion reads a version as tolerantly as the reference: "v2", "2", "2.0"
// and "2.0.0" are 2.0; whatever is not before 2.1.0 is 2.1. It returns 0 for any
// other, and released false for one that is accepted but names no release.
func parseVersion(s string) (v Dialect, released bool) {
	parts := strings.SplitN(strings.TrimPrefix(strings.TrimSpace(s), "v"), ".", 3)
	if len(parts) < 3 && strings.ContainsAny(parts[len(parts)-1], "+-") {
		return 0, false
	}
	var n [3]uint64
	pre := false
	for i, p := range parts {
		if i == 2 {
			var ok bool
			if p, pre, ok = cutRelease(trimZeros(p)); !ok {
				return 0, false
			}
		}
		p = trimZeros(p)
		num, err := strconv.ParseUint(p, 10, 64)
		if err != nil || !onlyDigits(p) {
			return 0, false
		}
		n[i] = num
	}
	major, minor, patch := n[0], n[1], n[2]
	switch {
	case major == 2 && minor == 0 && patch == 0 && !pre:
		return Dialect20, true
	case major > 2 || major == 2 && minor > 1 || major == 2 && minor == 1 && (patch > 0 || !pre):
		return Dialect21, major == 2 && minor == 1 && patch == 0 && !pre
	}
	return 0, false
}

func onlyDigits(s string) bool { return s != "" && digitsFrom(s, 0) == len(s) }

// trimZeros drops leading zeros but keeps one before anything else.
func trimZeros(s string) string {
	if len(s) < 2 {
		return s
	}
	t := strings.TrimLeft(s, "0")
	if t == "" || t[0] < '0' || t[0] > '9' {
		return "0" + t
	}
	return t
}

// cutRelease splits "1-rc.1+build" into its number and whether a pre-release is
// named. ok is false when either suffix is malformed.
func cutRelease(s string) (number string, pre, ok bool) {
	s, build, hasBuild := strings.Cut(s, "+")
	s, rel, pre := strings.Cut(s, "-")
	ok = (!hasBuild || identifiers(build, false)) && (!pre || identifiers(rel, true))
	return s, pre, ok
}

// identifiers checks dot-separated words of letters, digits and dashes. With
// numeric, words of digits only must not start with 0.
func identifiers(s string, numeric bool) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" {
			return false
		}
		for i := range len(word) {
			c := word[i]
			if !isLetter(c) && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
		if numeric && onlyDigits(word) && (len(word) > 1 && word[0] == '0' || len(word) > 20) {
			return false
		}
	}
	return true
}
