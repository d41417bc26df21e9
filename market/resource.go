package market

import (
	"cmp"
	"fmt"
	"slices"
)

// Attribute is a fact about a provider or a requirement on one.
type Attribute struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Attributes is a list sorted by key. nil is none.
type Attributes []Attribute

// Get returns the value of a key and whether it is there.
func (as Attributes) Get(key string) (string, bool) {
	for _, a := range as {
		if a.Key == key {
			return a.Value, true
		}
	}
	return "", false
}

// Sorted returns a copy sorted by key, then value.
func (as Attributes) Sorted() Attributes {
	out := slices.Clone(as)
	slices.SortFunc(out, func(a, b Attribute) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value))
	})
	return out
}

// EndpointKind is the way a port is reached from outside. The numbers are part
// of the SDL's canonical form: do not renumber.
type EndpointKind uint8

// Kinds of endpoint.
const (
	// EndpointSharedHTTP is a name on the provider's shared HTTP router.
	EndpointSharedHTTP EndpointKind = 0
	// EndpointRandomPort is a port number that the provider chooses.
	EndpointRandomPort EndpointKind = 1
	// EndpointLeasedIP is a port of a leased public address.
	EndpointLeasedIP EndpointKind = 2
)

// String returns "shared-http", "random-port" or "leased-ip".
func (k EndpointKind) String() string {
	switch k {
	case EndpointSharedHTTP:
		return "shared-http"
	case EndpointRandomPort:
		return "random-port"
	case EndpointLeasedIP:
		return "leased-ip"
	}
	return fmt.Sprintf("endpoint-kind-%d", uint8(k))
}

// Endpoint is one way into a service that a provider must offer.
type Endpoint struct {
	Kind EndpointKind `json:"kind"`
	// SequenceNumber tells leased addresses of one group apart; 0 for other kinds.
	SequenceNumber uint32 `json:"sequence_number"`
}

// CPU is processor time in thousandths of a core, at least 1.
type CPU struct {
	MilliCores uint64     `json:"milli_cores"`
	Attributes Attributes `json:"attributes,omitempty"`
}

// Memory is main memory in bytes.
type Memory struct {
	Bytes      uint64     `json:"bytes"`
	Attributes Attributes `json:"attributes,omitempty"`
}

// GPU is a number of cards; the attributes say which are acceptable.
type GPU struct {
	Units      uint64     `json:"units"`
	Attributes Attributes `json:"attributes,omitempty"`
}

// Volume is storage of one name, in bytes. Without attributes it is ephemeral.
type Volume struct {
	Name       string     `json:"name"`
	Bytes      uint64     `json:"bytes"`
	Attributes Attributes `json:"attributes,omitempty"`
}

// Persistent reports whether the volume outlives its containers.
func (v Volume) Persistent() bool {
	p, _ := v.Attributes.Get("persistent")
	return p == "true"
}

// Class returns the storage class, "" when none is named. Class "ram" is
// memory-backed.
func (v Volume) Class() string {
	c, _ := v.Attributes.Get("class")
	return c
}

// Resources is what one replica needs.
type Resources struct {
	// ID numbers the resource unit inside its group, from 1.
	ID        uint32     `json:"id"`
	CPU       CPU        `json:"cpu"`
	Memory    Memory     `json:"memory"`
	GPU       GPU        `json:"gpu"`
	Storage   []Volume   `json:"storage"`
	Endpoints []Endpoint `json:"endpoints"`
}

// ResourceUnit is Count replicas of the same resources.
type ResourceUnit struct {
	Resources
	// Count is the number of replicas. It may be 0: the reference compiler
	// accepts that.
	Count uint32 `json:"count"`
	// MinCount and MaxCount are the bounds within which a lease may be scaled in
	// place, both inclusive, around Count. Both 0 mean that Count is fixed.
	MinCount uint32 `json:"min_count,omitempty"`
	MaxCount uint32 `json:"max_count,omitempty"`
	// Price is the most the tenant pays for one replica for one block.
	Price Price `json:"price"`
}

// SignedBy names auditors whose signature under the required attributes is
// demanded.
type SignedBy struct {
	AllOf []Address `json:"all_of,omitempty"`
	AnyOf []Address `json:"any_of,omitempty"`
}

// Selection limits a choice by name. The zero value admits all.
type Selection[T ~string] struct {
	// Allowed are the only ones to choose from; none means all.
	Allowed []T `json:"allowed,omitempty"`
	// Excluded are never chosen.
	Excluded []T `json:"excluded,omitempty"`
}

// IsZero reports whether it admits all.
func (s Selection[T]) IsZero() bool { return len(s.Allowed)+len(s.Excluded) == 0 }

// Admits reports whether v may be chosen.
func (s Selection[T]) Admits(v T) bool {
	return (len(s.Allowed) == 0 || slices.Contains(s.Allowed, v)) && !slices.Contains(s.Excluded, v)
}

// AttributeDataCenter is the key of the provider attribute that names the data
// centre it is in. See [Requirements].
const AttributeDataCenter = "data-center"

// Requirements is what a provider must be to bid.
type Requirements struct {
	SignedBy   SignedBy   `json:"signed_by"`
	Attributes Attributes `json:"attributes,omitempty"`
	// Providers limits who may bid.
	Providers Selection[Address] `json:"providers,omitzero"`
	// DataCenters limits where the bidder may be. A provider that names no data
	// centre in [AttributeDataCenter] does not match then; where signatures are
	// demanded, that attribute must be signed too.
	DataCenters Selection[string] `json:"data_centers,omitzero"`
}

// GroupSpec is what a tenant asks for in one placement: resources that one
// provider runs together.
type GroupSpec struct {
	Name         string         `json:"name"`
	Requirements Requirements   `json:"requirements"`
	Units        []ResourceUnit `json:"units"`
	// ReclaimBlocks is the notice that a provider must give before it ends a
	// lease: so many blocks the lease goes on after [CloseBid]. 0 is none.
	ReclaimBlocks int64 `json:"reclaim_blocks,omitempty"`
}

// Ceiling returns the most the tenant pays for the whole group for one block:
// the sum of price times count. All units must share a denomination. The error
// wraps [ErrInvalid] or [ErrOverflow].
func (g GroupSpec) Ceiling() (Price, error) {
	var total Price
	for i, u := range g.Units {
		if i == 0 {
			total.Denom = u.Price.Denom
		} else if u.Price.Denom != total.Denom {
			return Price{}, fmt.Errorf("market: group %q: %w: prices in %s and %s", g.Name, ErrInvalid, total.Denom, u.Price.Denom)
		}
		part, err := u.Price.AmountPerBlock.Times(uint64(u.Count))
		if err != nil {
			return Price{}, err
		}
		if total.AmountPerBlock, err = total.AmountPerBlock.Add(part); err != nil {
			return Price{}, err
		}
	}
	return total, nil
}

// Totals sums the resources of all replicas of the group. Counts and sizes are
// bounded by [Limits]; without that check sums may wrap.
func (g GroupSpec) Totals() Totals {
	var t Totals
	for _, u := range g.Units {
		n := uint64(u.Count)
		t.Replicas += n
		t.MilliCores += n * u.CPU.MilliCores
		t.MemoryBytes += n * u.Memory.Bytes
		t.GPUs += n * u.GPU.Units
		for _, v := range u.Storage {
			t.StorageBytes += n * v.Bytes
		}
	}
	return t
}

// Totals are resources summed over replicas.
type Totals struct {
	Replicas, MilliCores, MemoryBytes, GPUs, StorageBytes uint64
}
