// Package driver is the contract between a cluster and the rest of Moorage: what
// the author of a back end implements, and nothing else.
//
// A driver makes workloads exist on one cluster (Kubernetes, a fleet of hosts,
// devices at the edge). Package cluster wraps a driver into the portable type
// that programs use: it checks arguments, orders revisions, retries, recovers.
// Package cluster/clustertest holds the conformance suite.
//
// The required interface is [Driver]. Abilities that only some back ends have
// are interfaces of one or two methods, found with a type assertion: [Watcher],
// [LogStreamer], [Execer], [ExclusiveHostnames].
package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Sentinel errors that a driver returns, unwrapped or wrapped.
var (
	// ErrNotFound means the cluster has nothing for that lease, service or replica.
	ErrNotFound = errors.New("cluster: not found")
	// ErrExhausted means the cluster has no room. Waiting may help.
	ErrExhausted = errors.New("cluster: resources exhausted")
	// ErrInvalid means the workload can never run as it is.
	ErrInvalid = errors.New("cluster: invalid workload")
	// ErrConflict means something else holds a name or a port.
	ErrConflict = errors.New("cluster: conflict")
	// ErrClosed means the driver was closed.
	ErrClosed = errors.New("cluster: closed")
)

// Refusal is the error of Apply when an inventory has no place: it wraps
// [ErrExhausted], or [ErrInvalid] when waiting cannot help.
func Refusal(reasons []inventory.Reason) error {
	kind := ErrExhausted
	texts := make([]string, 0, len(reasons))
	for _, r := range reasons {
		switch r.Code {
		case inventory.Invalid, inventory.NoArchitecture, inventory.NoAttribute, inventory.NoStorageClass, inventory.NoGPU:
			kind = ErrInvalid
		default:
		}
		texts = append(texts, r.String())
	}
	return fmt.Errorf("%w: %s", kind, strings.Join(texts, "; "))
}

// TransientError marks a failure that may pass: the portable type tries again.
// Find it with [errors.As]. Every other error is final for the call.
type TransientError struct{ Err error }

// Error implements error.
func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *TransientError) Unwrap() error { return e.Err }

// Driver makes workloads exist on one cluster. Methods may be called
// concurrently; Apply and Delete of one lease are serialized by the caller. A
// driver does not retry; it returns the first error. "I cannot see the cluster"
// is a [TransientError], never ErrNotFound. A context that has ended makes every
// method return its error. After Close every method but Close returns
// [ErrClosed].
type Driver interface {
	// Apply makes w the desired state of its lease and returns once the cluster
	// has accepted it durably, not once it is ready. A revision not above the one
	// held is ignored without error. w is not retained or changed.
	Apply(ctx context.Context, w Workload) error
	// Delete removes everything of the lease and returns when it is gone. Nothing
	// to remove is no error.
	Delete(ctx context.Context, id market.LeaseID) error
	// Status reports what is observed, or ErrNotFound.
	Status(ctx context.Context, id market.LeaseID) (Status, error)
	// List returns every lease with anything on the cluster, sorted by its text.
	// It is how a provider finds its work after a crash.
	List(ctx context.Context) ([]market.LeaseID, error)
	// Nodes returns capacity and allocatable resources per node, sorted by name.
	Nodes(ctx context.Context) ([]inventory.Node, error)
	// Close releases what the driver holds in this process. Workloads go on. A
	// second call does nothing.
	Close() error
}

// Watcher is a driver that says when a status may have changed.
type Watcher interface {
	// Watch yields the lease whose status may differ from before, until the
	// context ends (then without error). It may yield too often, never too
	// rarely; the caller reads the status. It starts with every lease of List.
	Watch(ctx context.Context) iter.Seq2[market.LeaseID, error]
}

// NodeWatcher is a driver that says when its inventory may have changed.
type NodeWatcher interface {
	// WatchNodes yields what Nodes returns, at once and whenever it may differ from
	// before, until the context ends (then without error). It may yield too often,
	// never too rarely.
	WatchNodes(ctx context.Context) iter.Seq2[[]inventory.Node, error]
}

// LogStreamer is a driver that can read what workloads print.
type LogStreamer interface {
	// Logs yields lines, oldest first per replica. With Follow it goes on until
	// the context ends or the workload is deleted. ErrNotFound as in Status.
	Logs(ctx context.Context, id market.LeaseID, o LogOptions) iter.Seq2[LogLine, error]
}

// Execer is a driver that can run a command inside a replica.
type Execer interface {
	// Exec runs the command and returns its exit code. The error is for failures
	// to run it at all. When the context ends the command is killed.
	Exec(ctx context.Context, id market.LeaseID, x Exec) (exitCode int, err error)
}

// ExclusiveHostnames is a driver that routes HTTP by name: two leases cannot
// have the same name.
type ExclusiveHostnames interface {
	// HostnameOwner returns the lease that has the name, or ErrNotFound.
	HostnameOwner(ctx context.Context, hostname string) (market.LeaseID, error)
}

// Workload is all that runs for one lease.
type Workload struct {
	Lease market.LeaseID
	// Revision grows with every change, from 1.
	Revision uint64
	// Hash is the manifest version the workload was made from.
	Hash market.Hash
	// Group is what to run.
	Group manifest.Group
	// Addresses are the ports of leased addresses that lead to the workload.
	Addresses []LeasedAddress
}

// State is the state of a workload, a service or a replica. Do not renumber.
type State uint8

// States. A workload is as its worst service is.
const (
	// Pending: accepted, not yet running everywhere.
	Pending State = 1
	// Ready: everything that was asked for runs.
	Ready State = 2
	// Failing: something ended or cannot start; the driver keeps trying.
	Failing State = 3
	// Leaving: being deleted.
	Leaving State = 4
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Ready:
		return "ready"
	case Failing:
		return "failing"
	case Leaving:
		return "leaving"
	}
	return "absent"
}

// Status is what a driver observes of a workload.
type Status struct {
	Lease    market.LeaseID
	Revision uint64
	Hash     market.Hash
	State    State
	// Services are sorted by name; one for each service of the manifest.
	Services []ServiceStatus
}

// ServiceStatus is what is observed of one service.
type ServiceStatus struct {
	Name string
	// Wanted, Running and Ready count replicas of the newest revision.
	Wanted, Running, Ready uint32
	State                  State
	// Reason says for a person why the service is not ready; "" when it is.
	Reason string
	// URIs are where HTTP exposes are reached, with scheme.
	URIs []string
	// Ports are the forwarded ports, sorted by container port.
	Ports []ForwardedPort
	// Replicas are sorted by index.
	Replicas []ReplicaStatus
}

// ForwardedPort is a port outside that leads to a container port.
type ForwardedPort struct {
	// Host is the name or address that clients use.
	Host string
	// ExternalPort is on Host; Port is the container's.
	ExternalPort, Port uint16
	Proto              manifest.Protocol
}

// ReplicaStatus is what is observed of one container.
type ReplicaStatus struct {
	Index uint32
	// Node is the name that Nodes has for where the replica is, "" before it is on
	// one: the provider's ledger follows it.
	Node     string
	State    State
	Reason   string
	Restarts uint32
	// Address is where the replica is on the lease's private network; invalid
	// when it has none. Address6 is its second address, of IPv6, if it has one.
	Address   netip.Addr
	Address6  netip.Addr
	StartedAt time.Time
}

// LogOptions select log lines.
type LogOptions struct {
	// Service limits to one service; "" is all.
	Service string
	// Replica limits to one replica of each service; nil is all. The portable type
	// leaves the others out, so a driver need not look at it.
	Replica *uint32
	// Since leaves out lines before that time; zero is none. As for Replica, a
	// driver need not look at it.
	Since time.Time
	// Follow goes on with new lines.
	Follow bool
	// Tail is how many of the newest lines per replica to begin with; negative
	// is all that are kept, 0 is none.
	Tail int
}

// MaxLogLine bounds the bytes of one log line; a longer one is cut in several.
const MaxLogLine = 16 << 10

// LogLine is one line a container printed, without its newline.
type LogLine struct {
	Service string
	Replica uint32
	Time    time.Time
	// Stderr tells the two streams apart.
	Stderr bool
	Text   string
}

// TerminalSize is in character cells.
type TerminalSize struct{ Width, Height uint16 }

// Exec is a command to run in a replica that is running.
type Exec struct {
	Service string
	Replica uint32
	// Command is the program and its arguments, at least one.
	Command []string
	// TTY gives the command a terminal; output then comes on Stdout alone.
	TTY bool
	// Stdin may be nil for none. Stdout and Stderr nil discard.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Resize yields terminal sizes; nil for none. Used only with TTY.
	Resize <-chan TerminalSize
}
