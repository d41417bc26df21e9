package inventory

import "github.com/moorage-dev/moorage/market"

// Node is a machine of a cluster and what may be leased of it.
type Node struct {
	// Name is unique in the cluster.
	Name string
	// Architecture is a Go GOARCH name, for example "amd64".
	Architecture string
	Attributes   market.Attributes
	// Allocatable is what leases may use in all, whatever is promised already.
	Allocatable Quantities
}

// Quantities are amounts of each kind of resource.
type Quantities struct {
	MilliCores  uint64
	MemoryBytes uint64
	// EphemeralBytes is for volumes without a class.
	EphemeralBytes uint64
	// PersistentBytes has bytes per storage class; nil is none.
	PersistentBytes map[string]uint64
	GPUs            []GPU
}

// GPU is one card.
type GPU struct {
	ID     string
	Vendor string
	Model  string
	// MemoryBytes is the card's own memory.
	MemoryBytes uint64
	// Interface is "pcie" or "sxm", "" when not known.
	Interface string
}
