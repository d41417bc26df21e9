package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moorage-dev/moorage/market"
)

// gib is one gibibyte, the unit of card memory in patterns.
const gib = 1 << 30

// anything is the pattern word that matches all values.
const anything = "*"

// gpuPattern is one acceptable description of a card. "" and "*" match all.
type gpuPattern struct {
	vendor, model, iface string
	// gibibytes of card memory; counts only when hasRAM.
	gibibytes uint64
	hasRAM    bool
}

// parseGPUPatterns reads the keys of a unit's GPU attributes, for example
// "vendor/nvidia/model/a100/ram/80Gi/interface/sxm". A key may have the prefix
// "capabilities/gpu/". No attribute means any card. Attributes whose value is
// "false" do not count.
func parseGPUPatterns(as market.Attributes) ([]gpuPattern, error) {
	var out []gpuPattern
	for _, a := range as {
		if a.Value == "false" {
			continue
		}
		p, err := parseGPUPattern(strings.TrimPrefix(a.Key, "capabilities/gpu/"))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		out = append(out, gpuPattern{vendor: anything})
	}
	return out, nil
}

// GPUMatches reports whether a card is acceptable for the GPU attributes of a
// unit. The error says which attribute is no pattern.
func GPUMatches(as market.Attributes, g GPU) (bool, error) {
	patterns, err := parseGPUPatterns(as)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(patterns, func(p gpuPattern) bool { return p.matches(kindOf(g)) }), nil
}

func parseGPUPattern(key string) (gpuPattern, error) {
	var p gpuPattern
	words := strings.Split(key, "/")
	bad := func() (gpuPattern, error) {
		return p, fmt.Errorf("gpu attribute %.100q is not vendor/<name>/model/<name>[/ram/<n>Gi][/interface/<name>]", key)
	}
	if len(words)%2 != 0 || words[0] != "vendor" {
		return bad()
	}
	for i := 0; i < len(words); i += 2 {
		if !p.set(words[i], strings.ToLower(words[i+1])) {
			return bad()
		}
	}
	return p, nil
}

// set takes one name and value of a pattern; it reports whether they make sense.
func (p *gpuPattern) set(name, value string) bool {
	if value == "" {
		return false
	}
	switch name {
	case "vendor":
		p.vendor = value
	case "model":
		p.model = value
	case "interface":
		p.iface = value
	case "ram":
		return p.setRAM(value)
	default:
		return false
	}
	return true
}

func (p *gpuPattern) setRAM(value string) bool {
	if value == anything {
		return true
	}
	digits, ok := strings.CutSuffix(value, "gi")
	n, err := strconv.ParseUint(digits, 10, 32)
	p.gibibytes, p.hasRAM = n, true
	return ok && err == nil
}

// matches reports whether a card of the kind is acceptable.
func (p gpuPattern) matches(k gpuKind) bool {
	return word(p.vendor, k.vendor) && word(p.model, k.model) && word(p.iface, k.iface) &&
		(!p.hasRAM || p.gibibytes == k.gibibytes)
}

func word(pattern, value string) bool {
	return pattern == "" || pattern == anything || pattern == value
}

// gpuKind is what makes two cards equal for a tenant.
type gpuKind struct {
	vendor, model, iface string
	gibibytes            uint64
}

// kindOf returns the kind of a card, names in lower case.
func kindOf(g GPU) gpuKind {
	return gpuKind{
		vendor: strings.ToLower(g.Vendor), model: strings.ToLower(g.Model),
		iface: strings.ToLower(g.Interface), gibibytes: g.MemoryBytes / gib,
	}
}

// String returns the kind in the words of a pattern.
func (k gpuKind) String() string {
	s := fmt.Sprintf("%s %s %dGi", k.vendor, k.model, k.gibibytes)
	if k.iface != "" {
		s += " " + k.iface
	}
	return s
}

// compareKinds orders kinds by what they are worth, as far as one can tell:
// little memory first.
func compareKinds(a, b gpuKind) int {
	if a.gibibytes != b.gibibytes {
		if a.gibibytes < b.gibibytes {
			return -1
		}
		return 1
	}
	if c := strings.Compare(a.vendor, b.vendor); c != 0 {
		return c
	}
	if c := strings.Compare(a.model, b.model); c != 0 {
		return c
	}
	return strings.Compare(a.iface, b.iface)
}
