package iplease

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

// Sentinel errors. Besides these, [market.ErrNotFound], [market.ErrInvalid] and
// [market.ErrState] are returned.
var (
	// ErrExhausted means that no pool that was asked for has enough addresses.
	ErrExhausted = errors.New("iplease: addresses exhausted")
	// ErrWithheld means that another deployment of the tenant holds the claim.
	ErrWithheld = errors.New("iplease: withheld")
	// ErrConflict means that a port of the address is taken.
	ErrConflict = errors.New("iplease: port conflict")
	// ErrMismatch means that the claim is not of the family or pool asked for.
	ErrMismatch = errors.New("iplease: claim is not as asked for")
)

// WithheldError says who holds a claim. It wraps [ErrWithheld].
type WithheldError struct {
	Claim ClaimID
	// Holder is the deployment that has the claim.
	Holder market.DeploymentID
	// Moved says that the claim was moved to the holder from the deployment that
	// asked.
	Moved bool
}

// Error implements error.
func (e *WithheldError) Error() string {
	if e.Moved {
		return fmt.Sprintf("%v: endpoint %s was moved to deployment %s", ErrWithheld, e.Claim.Name, e.Holder)
	}
	return fmt.Sprintf("%v: endpoint %s is held by deployment %s", ErrWithheld, e.Claim.Name, e.Holder)
}

// Unwrap makes [errors.Is] match [ErrWithheld].
func (e *WithheldError) Unwrap() error { return ErrWithheld }

// Holder is who has a port.
type Holder struct {
	Lease   market.LeaseID
	Service string
}

// String returns the lease and the service.
func (h Holder) String() string { return "service " + h.Service + " of lease " + h.Lease.String() }

// ConflictError says that two services want one port of an address. It wraps
// [ErrConflict].
type ConflictError struct {
	Claim    ClaimID
	Protocol Protocol
	External uint16
	// Has keeps the port, Wants is refused.
	Has, Wants Holder
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%v: port %d/%s of endpoint %s: %s has it, %s wants it", ErrConflict, e.External, e.Protocol, e.Claim.Name, e.Has, e.Wants)
}

// Unwrap makes [errors.Is] match [ErrConflict].
func (e *ConflictError) Unwrap() error { return ErrConflict }

// ExhaustedError says what was asked for and what there is. It wraps
// [ErrExhausted].
type ExhaustedError struct {
	Want   Selection
	Claims int
	// Matching counts the pools that are as asked for; 0 says that none ever can.
	Matching int
	// IPv4 and IPv6 are how many addresses those pools have free.
	IPv4, IPv6 uint64
}

// Error implements error.
func (e *ExhaustedError) Error() string {
	if e.Matching == 0 {
		return fmt.Sprintf("%v: no pool is as asked for (%s)", ErrExhausted, e.Want)
	}
	return fmt.Sprintf("%v: %d asked for (%s), free: %d IPv4, %d IPv6", ErrExhausted, e.Claims, e.Want, e.IPv4, e.IPv6)
}

// Unwrap makes [errors.Is] match [ErrExhausted].
func (e *ExhaustedError) Unwrap() error { return ErrExhausted }

// MismatchError says that a claim which the tenant has is not what its order
// asks for. It wraps [ErrMismatch].
type MismatchError struct {
	Claim ClaimID
	Want  Selection
}

// Error implements error.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%v: endpoint %s, asked for %s: release it or use another name", ErrMismatch, e.Claim.Name, e.Want)
}

// Unwrap makes [errors.Is] match [ErrMismatch].
func (e *MismatchError) Unwrap() error { return ErrMismatch }

// NumberError says that a lease wants two endpoints for one address that it has
// ordered, or one endpoint twice. It wraps [market.ErrInvalid].
type NumberError struct {
	Claim ClaimID
	// Number is the sequence number of the address, which endpoint Has.
	Number uint32
	Has    string
}

// Error implements error.
func (e *NumberError) Error() string {
	return fmt.Sprintf("iplease: endpoint %s: address %d of the order is that of endpoint %s", e.Claim.Name, e.Number, e.Has)
}

// Unwrap makes [errors.Is] match [market.ErrInvalid].
func (e *NumberError) Unwrap() error { return market.ErrInvalid }

// KeptError says that the only address for an endpoint is one that the tenant has
// parked under another name. It wraps [ErrExhausted].
type KeptError struct {
	// Claim is parked and backs the order.
	Claim ClaimID
	// Name is the endpoint that has no address.
	Name string
}

// Error implements error.
func (e *KeptError) Error() string {
	return fmt.Sprintf("%v: there is none for endpoint %s but the one that is parked: use the name %s, or release it", ErrExhausted, e.Name, e.Claim.Name)
}

// Unwrap makes [errors.Is] match [ErrExhausted].
func (e *KeptError) Unwrap() error { return ErrExhausted }

// RangeError says what is wrong with a pool. It wraps [market.ErrInvalid].
type RangeError struct {
	Pool string
	// Range is the zero value when the whole pool is meant.
	Range  Range
	Reason string
}

// Error implements error.
func (e *RangeError) Error() string {
	if !e.Range.First.IsValid() {
		return fmt.Sprintf("iplease: pool %.70q: %s", e.Pool, e.Reason)
	}
	return fmt.Sprintf("iplease: pool %.70q: %s: %s", e.Pool, e.Range, e.Reason)
}

// Unwrap makes [errors.Is] match [market.ErrInvalid].
func (e *RangeError) Unwrap() error { return market.ErrInvalid }
