// Package plan is what the agent and a container's shim tell one another: the
// files in a container's folder and the messages on the shim's socket. Both sides
// compare [Protocol] before they trust the rest.
package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Protocol grows when files or messages change incompatibly.
const Protocol = 1

// MaxMessage bounds one message on the socket; a packet must fit the kernel's
// default socket buffer.
const MaxMessage = 128 << 10

// Files and folders in a container's folder.
const (
	PlanFile    = "plan.json"    // what to run, written by the agent before anything
	SpecFile    = "spec.json"    // what was asked for, for the agent after a restart
	RunningFile = "running.json" // written by the shim once the container runs
	ExitFile    = "exit.json"    // written by the shim when it has ended
	LockFile    = "shim.lock"    // held by the shim as long as it lives; its process ID
	SocketFile  = "shim.sock"
	ShimLog     = "shim.log" // what the shim itself has to say
	LogDir      = "logs"
	UpperDir    = "upper" // the writable layer
	WorkDir     = "work"
	StateDir    = "libcontainer"
	HostsFile   = "hosts"
	ResolvFile  = "resolv.conf"
	NameFile    = "hostname"
)

// Plan is everything a shim needs to run a container.
type Plan struct {
	Protocol int
	Name     string
	// ShimCgroup is where the shim itself goes, out of its maker's.
	ShimCgroup string
	// OCI is the configuration; the shim adds root, user and volume sources.
	OCI *specs.Spec
	// Layers are folders, lowest first.
	Layers []string
	// IDs is the container's range on the host; nil runs without user namespace.
	IDs *IDRange
	// User is as the image writes it: "", "name", "1000", "1000:1000".
	User    string
	Volumes []Volume
	Network *Wire
	// DiskBytes bounds the writable layer (0: no bound), LogBytes kept logs.
	DiskBytes, LogBytes uint64
	// StopSignal is a signal's number.
	StopSignal int
}

// IDRange maps container IDs 0 to Size-1 to Base and above.
type IDRange struct{ Base, Size uint32 }

// Volume is a folder of the host in the container.
type Volume struct {
	Source, Target string
	ReadOnly       bool
	// Bytes bounds its content, 0 does not.
	Bytes uint64
}

// Wire connects a container to a bridge.
type Wire struct {
	Bridge, Veth string
	Address      netip.Prefix
	Gateway      netip.Addr
	MTU          int
	// Address6 and Gateway6 are invalid without IPv6.
	Address6, Gateway6 netip.Addr
}

// Running is a started container.
type Running struct {
	PID       int
	StartedAt time.Time
}

// Exit is an ended container.
type Exit struct {
	Code                  int
	Reason                string
	StartedAt, FinishedAt time.Time
}

// Started is the shim's answer on its start pipe.
type Started struct {
	Running
	// Error is empty when it runs; Invalid says that the spec is at fault.
	Error   string
	Invalid bool
}

// Operations of a [Request].
const (
	OpWait   = "wait"   // answered at once; the connection closes when the container has ended
	OpStop   = "stop"   // signal, grace time, kill; answered when ended
	OpKill   = "kill"   // answered when ended
	OpExec   = "exec"   // carries stdin, stdout, stderr, or with TTY nothing
	OpResize = "resize" // within exec
)

// Request is one message to a shim.
type Request struct {
	Protocol      int
	Op            string
	Grace         time.Duration
	Args, Env     []string
	TTY           bool
	Width, Height uint16
}

// Reply is one message from a shim.
type Reply struct {
	Running
	Error    string
	Invalid  bool
	Started  bool // of exec: carries the terminal's master with TTY
	ExitCode int
}

// Probe is what a shim says about itself and the machine.
type Probe struct {
	Protocol int
	Seccomp  bool
	// UserNS is empty when containers can have user namespaces, else why not.
	UserNS string
}

// Read reads a JSON file.
func Read(dir, name string, into any) error {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("runc: %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

// Write replaces a JSON file at once and durably.
func Write(dir, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+name)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}
