// Package runtime runs containers on one machine. One interface, [Runtime], is
// implemented by an embedded runc (package runtime/runc) and by engines that
// speak the Docker API (package runtime/docker); later by containerd and CRI.
//
// A runtime knows containers, images and networks, and nothing of leases or
// markets: names are the caller's. Everything a runtime makes survives the
// process that made it; [Runtime.List] finds it again.
package runtime

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/netip"
	"time"

	"github.com/moorage-dev/moorage/netpolicy"
)

// Sentinel errors.
var (
	// ErrNotFound means no container, image or network has that name.
	ErrNotFound = errors.New("runtime: not found")
	// ErrImage means the image cannot be had: wrong name, no such tag, refused
	// credentials, wrong architecture, damaged content.
	ErrImage = errors.New("runtime: image not available")
	// ErrUnsupported means this machine or build cannot run containers this way;
	// the text says what to install or change.
	ErrUnsupported = errors.New("runtime: not supported here")
	// ErrNotRunning means the container has ended.
	ErrNotRunning = errors.New("runtime: container not running")
	// ErrInvalid means the spec can never run.
	ErrInvalid = errors.New("runtime: invalid spec")
)

// Runtime runs containers. Methods are safe for concurrent use; calls for one
// container are serialized by the runtime.
type Runtime interface {
	ImageStore
	Networker
	// Start makes and starts a container, or returns ErrInvalid, ErrImage, or
	// another error with nothing left behind. A container of that name that
	// exists already is left as it is and reported: Start is idempotent.
	Start(ctx context.Context, spec Spec) (Container, error)
	// Stop asks the container to end (SIGTERM or the image's stop signal), and
	// kills it after the grace time. Stopped or absent is no error.
	Stop(ctx context.Context, name string, grace time.Duration) error
	// Remove deletes a container with its writable layer and logs, killing it if
	// it runs. Absent is no error. Volumes stay.
	Remove(ctx context.Context, name string) error
	// Inspect reports one container, or ErrNotFound.
	Inspect(ctx context.Context, name string) (Container, error)
	// List reports all containers of this runtime, sorted by name.
	List(ctx context.Context) ([]Container, error)
	// Watch yields the name of a container that may have changed (started,
	// ended), until the context ends. Too often is allowed, too rarely is not.
	Watch(ctx context.Context) iter.Seq2[string, error]
	Streams
	// Close releases what this process holds. Containers go on.
	Close() error
}

// ImageStore gets images.
type ImageStore interface {
	// Pull makes sure that the image is on the machine and returns what it is.
	// Content is cached by digest; a reference by tag is asked for again each
	// time, and if the registry cannot be reached a cached one serves.
	Pull(ctx context.Context, p PullRequest) (Image, error)
}

// Networker keeps private networks.
type Networker interface {
	// EnsureNetwork makes a private network: its containers reach one another
	// and the outside, no other network reaches them and they reach no other.
	EnsureNetwork(ctx context.Context, name string) (Network, error)
	// DeleteNetwork removes it. Absent is no error; containers on it are an error.
	DeleteNetwork(ctx context.Context, name string) error
	// SetHosts makes names resolve to addresses in every container of the
	// network, replacing what was set before. Containers see it without restart.
	SetHosts(ctx context.Context, network string, hosts map[string][]netip.Addr) error
}

// PolicyEnforcer is a runtime whose networks obey policies, packet by packet. One
// that is none keeps networks apart as [Networker] says and nothing more.
type PolicyEnforcer interface {
	// Surroundings tells what policies must know of this machine: the ranges of its
	// containers, its name servers, what else is open to them.
	Surroundings() netpolicy.Surroundings
	// SetPolicy makes p the policy of a network, in force when it returns and for
	// containers that start later before they send anything. nil is no policy: what
	// [Networker] says. ErrNotFound for no such network. p is kept, also over
	// restarts, and must not be changed.
	SetPolicy(ctx context.Context, network string, p *netpolicy.Policy) error
}

// Streams are the ways into a container.
type Streams interface {
	// Logs yields what the container printed. See [LogOptions].
	Logs(ctx context.Context, name string, o LogOptions) iter.Seq2[LogLine, error]
	// Exec runs a command in a running container and returns its exit code; the
	// error is for failures to run it. When the context ends it is killed.
	Exec(ctx context.Context, name string, x Exec) (exitCode int, err error)
}

// PullRequest names an image.
type PullRequest struct {
	// Reference is as in SDL: "nginx", "ghcr.io/a/b:1", "x@sha256:…", or
	// "oci:/path/to/layout" for an OCI image layout on disk.
	Reference string
	// Credentials may be nil. They are not retained.
	Credentials *Credentials
	// Progress may be nil. It is called from one goroutine at a time.
	Progress func(done, total int64)
}

// Credentials log in to a registry. Printing forms are redacted.
type Credentials struct {
	Host, Username, Password string
}

// Image is an image on this machine.
type Image struct {
	// Digest is of the manifest for this machine's architecture, "sha256:…".
	Digest string
	// Bytes is the size of the layers as downloaded.
	Bytes int64
	// Ports are those the image declares.
	Ports []uint16
}

// Spec is a container to run.
type Spec struct {
	// Name is unique in the runtime: 1 to 64 of a-z, 0-9 and '-'.
	Name string
	// Labels are kept and reported back. Bounded to 64 entries, 4 KiB each.
	Labels map[string]string
	// Image is a digest that Pull returned.
	Image string
	// Entrypoint replaces the image's entrypoint and command when not nil; Args
	// replace the image's command when not nil (Kubernetes' command and args).
	Entrypoint, Args []string
	// Env is added to the image's environment, NAME=VALUE.
	Env []string
	// Hostname is the host name inside.
	Hostname string
	// Network is a name given to EnsureNetwork; "" gives only loopback.
	Network string
	// Service is what the network's policy calls the container: a DNS label, or ""
	// for a container that takes no connections under a policy.
	Service   string
	Resources Resources
	Mounts    []Mount
}

// Resources are hard limits.
type Resources struct {
	// MilliCores is processor time in thousandths of a core; 0 is no limit.
	MilliCores uint64
	// MemoryBytes is main memory without swap, at least [MinMemoryBytes] in
	// effect; 0 is no limit.
	MemoryBytes uint64
	// PIDs bounds processes and threads; 0 means [DefaultPIDs].
	PIDs int64
	// DiskBytes bounds the writable layer; 0 is no limit.
	DiskBytes uint64
	// LogBytes bounds kept logs; 0 means [DefaultLogBytes].
	LogBytes uint64
}

// Bounds used when a spec names none.
const (
	// DefaultPIDs stops fork bombs and leaves room for any usual server.
	DefaultPIDs = 4096
	// DefaultLogBytes keeps about 100,000 lines.
	DefaultLogBytes = 16 << 20
	// MaxLogLine bounds one line; a longer one is cut in several.
	MaxLogLine = 16 << 10
)

// Mount puts something into the container's file system.
type Mount struct {
	// Target is an absolute path inside.
	Target string
	// Volume names a directory that the runtime keeps until RemoveVolume; ""
	// with Tmpfs true is memory.
	Volume   string
	Tmpfs    bool
	Bytes    uint64
	ReadOnly bool
}

// VolumeRemover is a runtime that keeps volumes.
type VolumeRemover interface {
	// RemoveVolume deletes a volume's content. Absent is no error.
	RemoveVolume(ctx context.Context, name string) error
	// Volumes lists volumes, sorted.
	Volumes(ctx context.Context) ([]string, error)
}

// State is a container's state.
type State uint8

// States.
const (
	// Created: made, not started; the first half of Start was interrupted.
	Created State = 1
	Running State = 2
	Exited  State = 3
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Created:
		return "created"
	case Running:
		return "running"
	case Exited:
		return "exited"
	}
	return "unknown"
}

// Container is what is observed of a container.
type Container struct {
	Name   string
	Labels map[string]string
	Image  string
	State  State
	// ExitCode counts for Exited; 128+n for signal n; -1 when it cannot be known.
	ExitCode int
	// Reason says why it ended when the runtime knows: "out of memory", "disk
	// limit exceeded", "stopped"; else "".
	Reason string
	// Address is on the private network; invalid without one. Address6 is its
	// address of IPv6 where the network has that too.
	Address    netip.Addr
	Address6   netip.Addr
	Network    string
	StartedAt  time.Time
	FinishedAt time.Time
	// PID is the first process as this machine numbers it, 0 when not running or
	// not on this machine.
	PID int
}

// Network is a private network.
type Network struct {
	Name string
	// Prefix and Gateway may be invalid where an engine does not tell.
	Prefix  netip.Prefix
	Gateway netip.Addr
}

// LogOptions select lines.
type LogOptions struct {
	// Follow goes on until the context ends, or the container has ended and all
	// is read.
	Follow bool
	// Tail is how many of the newest lines to begin with; negative is all.
	Tail int
}

// LogLine is one line without its newline.
type LogLine struct {
	Time   time.Time
	Stderr bool
	Text   string
}

// TerminalSize is in character cells.
type TerminalSize struct{ Width, Height uint16 }

// Exec is a command to run.
type Exec struct {
	Command        []string
	Env            []string
	TTY            bool
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Resize         <-chan TerminalSize
}
