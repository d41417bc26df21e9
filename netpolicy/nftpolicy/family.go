package nftpolicy

import (
	"net/netip"
	"strings"
)

// family is how nft calls things of an address family.
type family struct {
	four               bool
	digit, word, proto string
	kind               string
}

func families() [2]family {
	return [2]family{{true, "4", "ip", "ipv4", "ipv4_addr"}, {false, "6", "ip6", "ipv6", "ipv6_addr"}}
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return families()[0]
	}
	return families()[1]
}

// masked is the set of ranges that leave under the host's address.
func (f family) masked() string { return "masked_v" + f.digit }

// pick writes the addresses of the family.
func (f family) pick(list []netip.Addr) []string {
	var out []string
	for _, a := range list {
		if a.Is4() == f.four {
			out = append(out, a.String())
		}
	}
	return out
}

// pickRanges writes the ranges of the family.
func (f family) pickRanges(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		if p.Addr().Is4() == f.four {
			out = append(out, p.String())
		}
	}
	return out
}

// elements is the line of a set's elements, "" for none.
func elements(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "\t\telements = { " + strings.Join(list, ", ") + " }\n"
}
