package bidengine

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// mebibyte is the unit of memory and storage rates, in bytes.
const mebibyte = 1 << 20

// Storage classes of [Rates.StoragePerMi] that are no SDL class names.
const (
	// ClassEphemeral is for volumes without a class.
	ClassEphemeral = "ephemeral"
	// ClassRAM volumes are charged as memory.
	ClassRAM = "ram"
)

// Rates are amounts per block in one denomination. A zero rate is free of charge.
type Rates struct {
	// CPUPerMilliCore is for a thousandth of a core.
	CPUPerMilliCore market.Decimal `json:"cpu_per_milli_core"`
	// MemoryPerMi is for a mebibyte of memory, also of volumes of class "ram".
	MemoryPerMi market.Decimal `json:"memory_per_mi"`
	// StoragePerMi has a rate for a mebibyte per storage class; the key is the
	// class, [ClassEphemeral] for volumes without one. A class without a rate is
	// not bid on.
	StoragePerMi map[string]market.Decimal `json:"storage_per_mi"`
	// GPUPerCard has a rate per card. The key says for which, and the most exact one
	// counts: "vendor/model/80Gi/sxm", "vendor/model/80Gi", "vendor/model",
	// "vendor", or "" for every other card; names in lower case. A card without a
	// rate is not bid on.
	GPUPerCard map[string]market.Decimal `json:"gpu_per_card"`
	// PerEndpoint is for each shared HTTP name and each forwarded port, leased
	// ports aside.
	PerEndpoint market.Decimal `json:"per_endpoint"`
	// PerLeasedIP is for each leased address (the claim), however many ports of it
	// are used and however many services share it.
	PerLeasedIP market.Decimal `json:"per_leased_ip"`
}

// Scale prices by fixed rates per resource:
//
//	Σ units: count × ( milli-cores × CPUPerMilliCore
//	                 + (memory + RAM volumes) in Mi × MemoryPerMi
//	                 + Σ other volumes: Mi × StoragePerMi[class] )
//	+ Σ cards of the placement: GPUPerCard[card]
//	+ Σ units: [Entrances] × PerEndpoint
//	+ (distinct leased addresses) × PerLeasedIP
//
// Sizes are exact to the byte. The sum is exact and then rounded up once, to 18
// decimals. Key is the denomination.
type Scale map[string]Rates

var _ Pricer = Scale(nil)

// Price implements [Pricer]. A denomination, storage class or card without a
// rate, and a sum of zero, wrap [ErrNoPrice].
func (s Scale) Price(_ context.Context, r Request) (market.Decimal, error) {
	rates, ok := s[r.Denom]
	if !ok {
		return market.Decimal{}, fmt.Errorf("%w: no rates in %s", ErrNoPrice, r.Denom)
	}
	sum := scaleSum{rates: rates}
	ips := make([]uint32, 0, 4)
	for _, u := range r.Order.Spec.Units {
		if err := sum.unit(u); err != nil {
			return market.Decimal{}, err
		}
		ips = sum.endpoints(u, ips)
	}
	slices.Sort(ips)
	sum.add(rates.PerLeasedIP, uint64(len(slices.Compact(ips))))
	for _, a := range r.Placement.Assignments {
		for _, card := range a.Resources.GPUs {
			if err := sum.card(card); err != nil {
				return market.Decimal{}, err
			}
		}
	}
	return sum.total()
}

// scaleSum adds up in units of 10^-18 denominations times bytes per mebibyte,
// so that no division is needed before the end.
type scaleSum struct {
	rates Rates
	big   big.Int
}

// add adds n times the rate.
func (s *scaleSum) add(rate market.Decimal, n uint64) { s.addBytes(rate, n, mebibyte) }

// addBytes adds the rate per mebibyte for count times bytes.
func (s *scaleSum) addBytes(perMi market.Decimal, count, bytes uint64) {
	if perMi.IsZero() || count == 0 || bytes == 0 {
		return
	}
	part := perMi.Raw()
	part.Mul(part, new(big.Int).SetUint64(count))
	part.Mul(part, new(big.Int).SetUint64(bytes))
	s.big.Add(&s.big, part)
}

func (s *scaleSum) unit(u market.ResourceUnit) error {
	n := uint64(u.Count)
	milli := s.rates.CPUPerMilliCore.Raw()
	milli.Mul(milli, new(big.Int).SetUint64(u.CPU.MilliCores))
	milli.Mul(milli, new(big.Int).SetUint64(n*mebibyte))
	s.big.Add(&s.big, milli)
	s.addBytes(s.rates.MemoryPerMi, n, u.Memory.Bytes)
	for _, v := range u.Storage {
		class := v.Class()
		switch class {
		case ClassRAM:
			s.addBytes(s.rates.MemoryPerMi, n, v.Bytes)
			continue
		case "":
			class = ClassEphemeral
		}
		rate, ok := s.rates.StoragePerMi[class]
		if !ok {
			return fmt.Errorf("%w: no rate for storage class %q", ErrNoPrice, class)
		}
		s.addBytes(rate, n, v.Bytes)
	}
	return nil
}

// endpoints adds the unit's endpoints and returns ips with its leased addresses.
func (s *scaleSum) endpoints(u market.ResourceUnit, ips []uint32) []uint32 {
	for _, e := range u.Endpoints {
		if e.Kind == market.EndpointLeasedIP {
			ips = append(ips, e.SequenceNumber)
		}
	}
	s.add(s.rates.PerEndpoint, uint64(Entrances(u)))
	return ips
}

// Entrances counts the ways into a unit other than ports of leased addresses:
// shared HTTP names and forwarded ports. A leased port stands in an order as two
// endpoints, the address and the port as it would be without one; neither counts.
func Entrances(u market.ResourceUnit) int {
	var leased, other int
	for _, e := range u.Endpoints {
		if e.Kind == market.EndpointLeasedIP {
			leased++
		} else {
			other++
		}
	}
	return max(0, other-leased)
}

// card adds the rate of the most exact key that names the card.
func (s *scaleSum) card(c inventory.GPU) error {
	keys := cardKeys(c)
	for _, key := range keys {
		if rate, ok := s.rates.GPUPerCard[key]; ok {
			s.add(rate, 1)
			return nil
		}
	}
	return fmt.Errorf("%w: no rate for GPU %q", ErrNoPrice, keys[0])
}

// cardKeys are the keys of [Rates.GPUPerCard] that name a card, the most exact
// first.
func cardKeys(c inventory.GPU) []string {
	model := strings.ToLower(c.Vendor + "/" + c.Model)
	memory := fmt.Sprintf("%s/%dGi", model, c.MemoryBytes>>30)
	keys := []string{memory, model, strings.ToLower(c.Vendor), ""}
	if c.Interface != "" {
		keys = slices.Insert(keys, 0, memory+"/"+strings.ToLower(c.Interface))
	}
	return keys
}

func (s *scaleSum) total() (market.Decimal, error) {
	if s.big.Sign() == 0 {
		return market.Decimal{}, fmt.Errorf("%w: the rates come to zero", ErrNoPrice)
	}
	s.big.Add(&s.big, big.NewInt(mebibyte-1)) // round up
	s.big.Rsh(&s.big, 20)
	d, ok := market.DecimalFromRaw(&s.big)
	if !ok {
		return market.Decimal{}, fmt.Errorf("bidengine: price: %w", market.ErrOverflow)
	}
	return d, nil
}
