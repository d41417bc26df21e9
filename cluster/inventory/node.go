package inventory

import (
	"maps"
	"slices"

	"github.com/moorage-dev/moorage/market"
)

// Node is a machine of a cluster and what may be leased of it.
type Node struct {
	// Name is unique in the cluster.
	Name string `json:"name"`
	// Architecture is a Go GOARCH name, for example "amd64".
	Architecture string            `json:"architecture"`
	Attributes   market.Attributes `json:"attributes,omitempty"`
	// Allocatable is what leases may use in all, whatever is promised already.
	Allocatable Quantities `json:"allocatable"`
}

// Quantities are amounts of each kind of resource.
type Quantities struct {
	MilliCores  uint64 `json:"milli_cores"`
	MemoryBytes uint64 `json:"memory_bytes"`
	// EphemeralBytes is for volumes without a class.
	EphemeralBytes uint64 `json:"ephemeral_bytes"`
	// PersistentBytes has bytes per storage class; nil is none.
	PersistentBytes map[string]uint64 `json:"persistent_bytes,omitempty"`
	GPUs            []GPU             `json:"gpus,omitempty"`
}

// GPU is one card.
type GPU struct {
	// ID is unique on the node, for example a PCI address.
	ID     string `json:"id"`
	Vendor string `json:"vendor"`
	Model  string `json:"model"`
	// MemoryBytes is the card's own memory as it is sold, in whole gibibytes; a
	// demand for "80Gi" matches 80 << 30 up to the next gibibyte.
	MemoryBytes uint64 `json:"memory_bytes"`
	// Interface is "pcie" or "sxm", "" when not known.
	Interface string `json:"interface,omitempty"`
}

// clone copies the node deeply.
func (n Node) clone() Node {
	n.Attributes = slices.Clone(n.Attributes)
	n.Allocatable = n.Allocatable.clone()
	return n
}

// clone copies the quantities deeply.
func (q Quantities) clone() Quantities {
	q.PersistentBytes = maps.Clone(q.PersistentBytes)
	q.GPUs = slices.Clone(q.GPUs)
	return q
}

// Plus returns q and r together. Sums that do not fit stay at the largest
// number. Neither operand is changed.
func (q Quantities) Plus(r Quantities) Quantities {
	sum := q.clone()
	sum.MilliCores = satAdd(q.MilliCores, r.MilliCores)
	sum.MemoryBytes = satAdd(q.MemoryBytes, r.MemoryBytes)
	sum.EphemeralBytes = satAdd(q.EphemeralBytes, r.EphemeralBytes)
	for class, n := range r.PersistentBytes {
		if sum.PersistentBytes == nil {
			sum.PersistentBytes = make(map[string]uint64)
		}
		sum.PersistentBytes[class] = satAdd(sum.PersistentBytes[class], n)
	}
	sum.GPUs = append(sum.GPUs, r.GPUs...)
	return sum
}

// satAdd adds and stays at the largest number instead of wrapping.
func satAdd(a, b uint64) uint64 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint64(0)
}

// satSub subtracts and stays at 0 instead of wrapping.
func satSub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}
