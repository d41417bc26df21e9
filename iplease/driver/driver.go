// Package driver is the contract between leased addresses and whatever makes
// them reachable: what the author of an announcer implements, and nothing else.
//
// Package iplease decides who has which address. An announcer is told: it never
// chooses an address, it makes the one it is given answer and leads its ports to
// the workload (ARP and NDP on a segment, a load balancer of a cluster or a
// cloud, BGP). Package iplease/ipleasetest holds the conformance suite,
// docs/driver-guide.md says how to write one.
//
// The required interface is [Announcer]. Abilities that only some have are
// interfaces of one method, found with a type assertion: [Watcher], [Egresser],
// [SourceFilterer], [PoolReporter].
package driver

import (
	"context"
	"errors"
	"iter"
	"net/netip"

	"github.com/moorage-dev/moorage/iplease"
)

// Sentinel errors that an announcer returns, unwrapped or wrapped.
var (
	// ErrNotFound means the announcer has nothing for that claim.
	ErrNotFound = errors.New("iplease: not announced")
	// ErrInvalid means the announcement can never be made as it is.
	ErrInvalid = errors.New("iplease: invalid announcement")
	// ErrConflict means another claim announces one of the addresses.
	ErrConflict = errors.New("iplease: address is announced for another claim")
	// ErrClosed means the announcer was closed.
	ErrClosed = errors.New("iplease: announcer closed")
)

// TransientError marks a failure that may pass: the caller tries again. Find it
// with [errors.As]. Every other error is final for the call.
type TransientError struct{ Err error }

// Error implements error.
func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *TransientError) Unwrap() error { return e.Err }

// Announcer makes leased addresses reachable. Methods may be called
// concurrently; Apply and Withdraw of one claim are serialized by the caller. An
// announcer does not retry for its caller; it returns the first error. "I cannot
// see the network" is a [TransientError], never [ErrNotFound]. A context that
// has ended makes every method return its error. After Close every method but
// Close returns [ErrClosed].
//
// An announcement that was made goes on being made without further calls: the
// announcer itself moves an address when a host dies, and says so in the status.
type Announcer interface {
	// Apply makes a the desired state of its claim and returns once the announcer
	// has accepted it; where the claim was announced before, also once the ports
	// lead where a says. An address that stays is never withdrawn in between. A
	// revision not above the one held is ignored without error, also when it
	// differs. a is not retained or changed.
	//
	// ErrInvalid, ErrConflict and errors.ErrUnsupported (a port has sources and the
	// announcer cannot filter) leave everything as it was before.
	Apply(ctx context.Context, a Announcement) error
	// Withdraw removes everything of the claim, its revision included, and returns
	// when nobody answers for its addresses any more. Nothing there is no error.
	Withdraw(ctx context.Context, id iplease.ClaimID) error
	// Status reports what is observed, or ErrNotFound.
	Status(ctx context.Context, id iplease.ClaimID) (Status, error)
	// List returns every claim with anything announced or desired, sorted by its
	// text. It is how a provider finds leftovers after a crash.
	List(ctx context.Context) ([]iplease.ClaimID, error)
	// Close releases what the announcer holds in this process. One whose process
	// itself answers for addresses stops answering, and leaves them to its peers if
	// it has any. What was desired is kept where the announcer keeps state: opened
	// again on it, it goes on. A second call does nothing.
	Close() error
}

// Watcher is an announcer that says when a status may have changed.
type Watcher interface {
	// Watch yields the claim whose status may differ from before, until the context
	// ends (then without error). It may yield too often, never too rarely; the
	// caller reads the status. It starts with every claim of List.
	Watch(ctx context.Context) iter.Seq2[iplease.ClaimID, error]
}

// Egresser is an announcer that can make connections which the workload opens
// leave from its leased address. Others ignore [Announcement.Egress], and the
// status says that they do.
type Egresser interface {
	// CanEgress is nil, or why it cannot at present.
	CanEgress() error
}

// SourceFilterer is an announcer that can hold a port to some clients. Others
// refuse an announcement that asks for it.
type SourceFilterer interface {
	// CanFilterSources is nil, or why it cannot at present.
	CanFilterSources() error
}

// PoolReporter is an announcer whose network has pools of addresses of its own,
// which the operator configures there (MetalLB's, a cloud's).
type PoolReporter interface {
	// Pools returns them sorted by name.
	Pools(ctx context.Context) ([]Pool, error)
}

// Pool is a pool as its network reports it.
type Pool struct {
	Name string
	// Ranges are what it consists of, in the network's order.
	Ranges []Range
	// Assigned and Available count addresses, those given to others included.
	Assigned, Available uint64
	// InUse are the addresses of Ranges that something else than this announcer has
	// now, sorted: they are not to be leased.
	InUse []netip.Addr
}

// Range is the addresses from First to Last, both included, of one family.
type Range struct{ First, Last netip.Addr }

// State is the state of an address or a port. Do not renumber.
type State uint8

// States. A claim is as its worst part is, in the order failing, pending,
// announced.
const (
	// Pending: accepted, does not answer yet.
	Pending State = 1
	// Announced: answers, and for a port: leads to a replica at least.
	Announced State = 2
	// Failing: cannot be announced; the announcer keeps trying.
	Failing State = 3
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Announced:
		return "announced"
	case Failing:
		return "failing"
	}
	return "absent"
}

// Status is what an announcer observes of a claim. A part that is not there yet
// is pending with a reason, never an error.
type Status struct {
	Claim    iplease.ClaimID
	Revision uint64
	State    State
	// Addresses are in the order of the announcement.
	Addresses []AddressStatus
	// Ports are in the order of the announcement, for each address in turn.
	Ports []PortStatus
}

// AddressStatus is what is observed of one address.
type AddressStatus struct {
	Address netip.Addr
	State   State
	// Reason says for a person why it is not announced; "" when it is.
	Reason string
	// Node is the host that answers; "" when none does or the announcer cannot know.
	Node string
	// Egress tells whether connections of all backends leave from this address;
	// EgressReason why not, when it was asked for.
	Egress       bool
	EgressReason string
}

// PortStatus is what is observed of one port at one address.
type PortStatus struct {
	Address netip.Addr
	Port    iplease.Port
	State   State
	// Reason says for a person why it is not announced; "" when it is.
	Reason string
}
