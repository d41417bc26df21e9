package stack

import (
	"fmt"
	"strings"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// DefaultPricer charges fixed rates, of the size that providers of the Akash
// network charge, in each denomination.
func DefaultPricer(denoms ...string) (bidengine.Pricer, error) {
	var faults error
	rate := func(s string) market.Decimal {
		d, err := market.ParseDecimal(s)
		if err != nil {
			faults = err
		}
		return d
	}
	rates := bidengine.Rates{
		CPUPerMilliCore: rate("0.004"), MemoryPerMi: rate("0.0016"),
		StoragePerMi: map[string]market.Decimal{
			bidengine.ClassEphemeral: rate("0.00016"), "default": rate("0.00016"),
			"beta1": rate("0.00016"), "beta2": rate("0.00032"), "beta3": rate("0.00064"),
		},
		GPUPerCard:  map[string]market.Decimal{"": rate("100")},
		PerEndpoint: rate("0.1"), PerLeasedIP: rate("60"),
	}
	scale := bidengine.Scale{}
	for _, d := range denoms {
		scale[d] = rates
	}
	return scale, faults
}

// StorageAttributes declare the storage classes that a fleet of one has.
func StorageAttributes() market.Attributes {
	var out market.Attributes
	for i, class := range []string{"beta1", "beta2", "beta3", "default", "ram"} {
		persistent := "true"
		if class == "ram" {
			persistent = "false"
		}
		prefix := market.CapabilityStorage + string(rune('1'+i)) + "/"
		out = append(out, market.Attribute{Key: prefix + "class", Value: class},
			market.Attribute{Key: prefix + "persistent", Value: persistent})
	}
	return out
}

// ParseAttributes reads facts written as key=value.
func ParseAttributes(texts []string) (market.Attributes, error) {
	var out market.Attributes
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("attribute %q: want key=value", text)
		}
		out = append(out, market.Attribute{Key: key, Value: value})
	}
	return out, nil
}
