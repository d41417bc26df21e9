package inventory

import "fmt"

// Code says why a group was refused. The texts leave the process: do not rename.
type Code string

// Codes.
const (
	// Invalid: the group asks in a way that nobody can serve, for example a
	// malformed pattern.
	Invalid Code = "invalid"
	// NoNodes: the cluster has no node at all.
	NoNodes Code = "no-nodes"
	// NoArchitecture: no node has the processor architecture.
	NoArchitecture Code = "no-architecture"
	// NoAttribute: no node has a required processor or memory attribute.
	NoAttribute Code = "no-attribute"
	// NoStorageClass: no node offers the storage class.
	NoStorageClass Code = "no-storage-class"
	// NoGPU: no node has a card that matches the patterns.
	NoGPU Code = "no-gpu"
	// InsufficientCPU: too little processor time is free.
	InsufficientCPU Code = "insufficient-cpu"
	// InsufficientMemory: too little memory is free; volumes of class "ram" count.
	InsufficientMemory Code = "insufficient-memory"
	// InsufficientEphemeral: too little ephemeral storage is free.
	InsufficientEphemeral Code = "insufficient-ephemeral-storage"
	// InsufficientPersistent: too little storage of a class is free.
	InsufficientPersistent Code = "insufficient-persistent-storage"
	// InsufficientGPU: too few matching cards are free.
	InsufficientGPU Code = "insufficient-gpu"
	// Fragmented: each resource alone is there, but not together on the same
	// nodes.
	Fragmented Code = "fragmented"
)

// Reason is one cause of a refusal.
type Reason struct {
	Code Code `json:"code"`
	// Unit is the ID of the resource unit, 0 for the group as a whole.
	Unit uint32 `json:"unit,omitempty"`
	// Detail says it with numbers, for a person.
	Detail string `json:"detail"`
}

// String returns the code and the detail.
func (r Reason) String() string {
	if r.Unit == 0 {
		return fmt.Sprintf("%s: %s", r.Code, r.Detail)
	}
	return fmt.Sprintf("%s: unit %d: %s", r.Code, r.Unit, r.Detail)
}
