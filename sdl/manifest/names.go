package manifest

import "strings"

// ValidServiceName reports whether s may name a service: a lower-case letter,
// then lower-case letters, digits and dashes, no dash at the end. There is no
// bound on the length; Kubernetes would take 63.
func ValidServiceName(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' {
		return false
	}
	return onlyLabelBytes(s)
}

// ValidEnvName reports whether s may name an environment variable by the rule
// of Kubernetes: letters, digits and any of "-._", not starting with a digit or
// with "..", and not ".".
func ValidEnvName(s string) bool {
	if s == "" || s == "." || strings.HasPrefix(s, "..") || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
		if !ok {
			return false
		}
	}
	return true
}

// ValidHostname reports whether s is a lower-case DNS name of at most
// [MaxHostnameLength] bytes, RFC 1123: labels of letters, digits and inner
// dashes, joined by dots. There is no wildcard and no port.
func ValidHostname(s string) bool {
	if len(s) > MaxHostnameLength {
		return false
	}
	for {
		label, rest, more := strings.Cut(s, ".")
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || !onlyLabelBytes(label) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

func onlyLabelBytes(s string) bool {
	for i := range len(s) {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
		if !ok {
			return false
		}
	}
	return true
}
