package marketpb

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

// FromAttributes converts a list of attributes.
func FromAttributes(as market.Attributes) []Attribute {
	return each(as, func(a market.Attribute) Attribute { return Attribute(a) })
}

// ToAttributes converts a list of attributes.
func ToAttributes(as []Attribute) market.Attributes {
	return each(as, func(a Attribute) market.Attribute { return market.Attribute(a) })
}

func fromEndpoint(e market.Endpoint) Endpoint {
	return Endpoint{Kind: EndpointKind(e.Kind), SequenceNumber: e.SequenceNumber}
}

func toEndpoint(e Endpoint) (market.Endpoint, error) {
	kind, err := toEnum[market.EndpointKind]("endpoint kind", int32(e.Kind))
	return market.Endpoint{Kind: kind, SequenceNumber: e.SequenceNumber}, err
}

// toEnum converts an enumeration, which on the wire may be any 32-bit number.
func toEnum[T ~uint8](what string, n int32) (T, error) {
	if n < 0 || n > 0xff {
		return 0, fmt.Errorf("marketpb: %s %d: %w", what, n, market.ErrInvalid)
	}
	return T(n), nil
}

func fromVolume(v market.Volume) Volume {
	return Volume{Name: v.Name, Bytes: v.Bytes, Attributes: FromAttributes(v.Attributes)}
}

func toVolume(v Volume) market.Volume {
	return market.Volume{Name: v.Name, Bytes: v.Bytes, Attributes: ToAttributes(v.Attributes)}
}

func fromResources(r market.Resources) Resources {
	return Resources{
		Id:        r.ID,
		Cpu:       CPU{MilliCores: r.CPU.MilliCores, Attributes: FromAttributes(r.CPU.Attributes)},
		Memory:    Memory{Bytes: r.Memory.Bytes, Attributes: FromAttributes(r.Memory.Attributes)},
		Gpu:       GPU{Units: r.GPU.Units, Attributes: FromAttributes(r.GPU.Attributes)},
		Storage:   each(r.Storage, fromVolume),
		Endpoints: each(r.Endpoints, fromEndpoint),
	}
}

func toResources(r Resources) (market.Resources, error) {
	endpoints, err := eachErr(r.Endpoints, toEndpoint)
	return market.Resources{
		ID:        r.Id,
		CPU:       market.CPU{MilliCores: r.Cpu.MilliCores, Attributes: ToAttributes(r.Cpu.Attributes)},
		Memory:    market.Memory{Bytes: r.Memory.Bytes, Attributes: ToAttributes(r.Memory.Attributes)},
		GPU:       market.GPU{Units: r.Gpu.Units, Attributes: ToAttributes(r.Gpu.Attributes)},
		Storage:   each(r.Storage, toVolume),
		Endpoints: endpoints,
	}, err
}

func fromUnit(u market.ResourceUnit) ResourceUnit {
	return ResourceUnit{
		Resources: fromResources(u.Resources), Count: u.Count, MinCount: u.MinCount, MaxCount: u.MaxCount, Price: FromPrice(u.Price),
	}
}

func toUnit(u ResourceUnit) (market.ResourceUnit, error) {
	resources, err := toResources(u.Resources)
	if err != nil {
		return market.ResourceUnit{}, err
	}
	price, err := ToPrice(u.Price)
	return market.ResourceUnit{Resources: resources, Count: u.Count, MinCount: u.MinCount, MaxCount: u.MaxCount, Price: price}, err
}

func fromCount(c market.UnitCount) UnitCount { return UnitCount{Unit: c.Unit, Count: c.Count} }

func toCount(c UnitCount) market.UnitCount { return market.UnitCount{Unit: c.Unit, Count: c.Count} }

func fromUnitPrice(p market.UnitPrice) UnitPrice {
	return UnitPrice{Unit: p.Unit, AmountPerBlock: p.AmountPerBlock.String()}
}

func toUnitPrice(p UnitPrice) (market.UnitPrice, error) {
	amount, err := toDecimal(p.AmountPerBlock)
	return market.UnitPrice{Unit: p.Unit, AmountPerBlock: amount}, err
}

func fromSelection[T ~string](s market.Selection[T]) Selection {
	text := func(v T) string { return string(v) }
	return Selection{Allowed: each(s.Allowed, text), Excluded: each(s.Excluded, text)}
}

func toSelection[T ~string](s Selection) market.Selection[T] {
	name := func(v string) T { return T(v) }
	return market.Selection[T]{Allowed: each(s.Allowed, name), Excluded: each(s.Excluded, name)}
}

func fromAddresses(as []market.Address) []string {
	return each(as, func(a market.Address) string { return string(a) })
}

func toAddresses(as []string) []market.Address {
	return each(as, func(a string) market.Address { return market.Address(a) })
}

// FromGroupSpec converts a group spec.
func FromGroupSpec(g market.GroupSpec) GroupSpec {
	return GroupSpec{
		Name: g.Name,
		Requirements: Requirements{
			SignedBy: SignedBy{
				AllOf: fromAddresses(g.Requirements.SignedBy.AllOf),
				AnyOf: fromAddresses(g.Requirements.SignedBy.AnyOf),
			},
			Attributes:  FromAttributes(g.Requirements.Attributes),
			Providers:   fromSelection(g.Requirements.Providers),
			DataCenters: fromSelection(g.Requirements.DataCenters),
		},
		Units: each(g.Units, fromUnit), ReclaimBlocks: g.ReclaimBlocks,
	}
}

// ToGroupSpec converts a group spec.
func ToGroupSpec(g GroupSpec) (market.GroupSpec, error) {
	units, err := eachErr(g.Units, toUnit)
	return market.GroupSpec{
		Name: g.Name,
		Requirements: market.Requirements{
			SignedBy: market.SignedBy{
				AllOf: toAddresses(g.Requirements.SignedBy.AllOf),
				AnyOf: toAddresses(g.Requirements.SignedBy.AnyOf),
			},
			Attributes:  ToAttributes(g.Requirements.Attributes),
			Providers:   toSelection[market.Address](g.Requirements.Providers),
			DataCenters: toSelection[string](g.Requirements.DataCenters),
		},
		Units: units, ReclaimBlocks: g.ReclaimBlocks,
	}, err
}
