// Package agent makes workloads run on one host through a container runtime. It
// is the half of a fleet that lives on a host: it is told what is desired and
// reports what it observes, and it knows neither names, ports nor capacity.
//
// The runtime's containers are the only memory of what runs. Their labels say
// what they are, so an agent that starts again, after whatever end, finds them
// and goes on; nothing is started twice.
package agent

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/netpolicy"
)

// Workload is what shall run for one lease.
type Workload struct {
	Lease    market.LeaseID
	Revision uint64
	// Services are sorted by name.
	Services []Service
	// Policy is who may reach whom; nil where the runtime cannot enforce it.
	Policy *netpolicy.Policy
}

// Service is equal replicas of one container.
type Service struct {
	Name  string
	Count uint32
	// Hash tells whether a container was made from this definition.
	Hash string
	// Image is pulled with the credentials when a container is to start.
	Image       string
	Credentials *runtime.Credentials
	// Template has command, environment and limits; the agent adds the rest.
	Template runtime.Spec
	Volumes  []Volume
	// Probe are the TCP ports that tell readiness: one that answers will do.
	Probe []uint16
}

// exclusive reports whether two containers of one replica must not run at once:
// they would write to the same volume.
func (s *Service) exclusive() bool {
	for _, v := range s.Volumes {
		if v.Kind == Persistent {
			return true
		}
	}
	return false
}

// Kind says how long a volume lives.
type Kind uint8

// Kinds of volumes.
const (
	// Memory lives in memory, as long as the container.
	Memory Kind = iota + 1
	// Ephemeral lives on disk, as long as the container.
	Ephemeral
	// Persistent lives on disk, as long as the lease.
	Persistent
)

// Volume is mounted into every replica, each having its own.
type Volume struct {
	Name, Target string
	Bytes        uint64
	ReadOnly     bool
	Kind         Kind
}

// Instance is a container of a replica.
type Instance struct {
	Name    string
	Service string
	Index   uint32
	// Number grows with every container of the replica.
	Number uint64
	// Hash is of the definition it was made from.
	Hash     string
	Revision uint64
	State    runtime.State
	ExitCode int
	Reason   string
	// Ready says that it can be sent clients, Leaving that it is being stopped.
	Ready, Leaving bool
	Address        netip.Addr
	Address6       netip.Addr
	// Restarts counts since the definition changed; failures since it last ran for
	// long.
	Restarts, failures uint32
	// volumes live as long as the container.
	volumes               []string
	StartedAt, FinishedAt time.Time
}

// Running reports whether the container runs.
func (i *Instance) Running() bool { return i.State == runtime.Running }

// Trouble is why a replica has no container, or not yet another.
type Trouble struct {
	Reason string
	// Failing tells that something failed, not just waits.
	Failing bool
	// Retry is when it is tried again.
	Retry time.Time
	// hash is of the definition that could not be started.
	hash string
}

// Slot names a replica of a workload.
type Slot struct {
	Service string
	Index   uint32
}

// Observation is what the agent sees of a workload.
type Observation struct {
	// Revision is the one being worked on.
	Revision uint64
	// Seen says that the runtime has been looked at since the agent started.
	Seen bool
	// Instances are sorted by service, index, number.
	Instances []Instance
	Troubles  map[Slot]Trouble
	// Err is why the runtime cannot be seen or obeyed, "" when it can.
	Err string
	// Gone says that nothing is left of a workload that was removed.
	Gone bool
}

// Labels of containers.
const (
	labelLease    = "moorage.lease"
	labelService  = "moorage.service"
	labelReplica  = "moorage.replica"
	labelNumber   = "moorage.instance"
	labelHash     = "moorage.hash"
	labelRevision = "moorage.revision"
	labelRestarts = "moorage.restarts"
	labelFailures = "moorage.failures"
	labelVolumes  = "moorage.volumes"
)

// prefix begins the name of everything the agent makes.
const prefix = "mo-"

// Tag is a short name of a lease: 20 of a-z and 0-9, from 100 bits of a hash.
func Tag(id market.LeaseID) string { return digest(id.String())[:20] }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// networkName is the private network of a lease.
func networkName(id market.LeaseID) string { return prefix + Tag(id) }

// containerName is injective in lease, slot and number, and fits the runtime's
// bound. The last two parts are numbers, so it can be read from the right.
func containerName(id market.LeaseID, s Slot, number uint64) string {
	return fmt.Sprintf("%s%s-%s-%d-%d", prefix, Tag(id), shorten(s.Service), s.Index, number)
}

// shorten keeps a name of up to 16 bytes and replaces the rest of a longer one
// by a hash. A shortened name is 17 bytes long, so it is no kept name.
func shorten(name string) string {
	const most, keep, hash = 16, 4, 12
	if len(name) <= most {
		return name
	}
	return name[:keep] + "-" + digest(name)[:hash]
}

// persistentName is a volume that belongs to a replica, ephemeralName one that
// belongs to one container of it.
func persistentName(id market.LeaseID, s Slot, volume string) string {
	return volumePrefix(id) + "p-" + digest(fmt.Sprintf("%s/%d/%s", s.Service, s.Index, volume))[:26]
}

func ephemeralName(id market.LeaseID, s Slot, volume string, number uint64) string {
	return ephemeralPrefix(id) + digest(fmt.Sprintf("%s/%d/%s/%d", s.Service, s.Index, volume, number))[:26]
}

func ephemeralPrefix(id market.LeaseID) string { return volumePrefix(id) + "e-" }

func volumePrefix(id market.LeaseID) string { return prefix + Tag(id) + "-" }

// labels of a new container.
func labels(w *Workload, s start) map[string]string {
	var own []string
	for _, v := range s.service.Volumes {
		if v.Kind == Ephemeral {
			own = append(own, ephemeralName(w.Lease, s.slot, v.Name, s.number))
		}
	}
	return map[string]string{
		labelLease:    w.Lease.String(),
		labelService:  s.slot.Service,
		labelReplica:  strconv.FormatUint(uint64(s.slot.Index), 10),
		labelNumber:   strconv.FormatUint(s.number, 10),
		labelHash:     s.service.Hash,
		labelRevision: strconv.FormatUint(w.Revision, 10),
		labelRestarts: strconv.FormatUint(uint64(s.restarts), 10),
		labelFailures: strconv.FormatUint(uint64(s.failures), 10),
		labelVolumes:  strings.Join(own, " "),
	}
}

// parse reads a container of this agent; false for somebody else's.
func parse(c runtime.Container) (market.LeaseID, Instance, bool) {
	id, err := market.ParseLeaseID(c.Labels[labelLease])
	if err != nil || !strings.HasPrefix(c.Name, prefix) {
		return market.LeaseID{}, Instance{}, false
	}
	number := func(label string) uint64 {
		n, _ := strconv.ParseUint(c.Labels[label], 10, 64) // absent is 0
		return n
	}
	return id, Instance{
		Name: c.Name, Service: c.Labels[labelService], Index: uint32(number(labelReplica)),
		Number: number(labelNumber), Hash: c.Labels[labelHash], Revision: number(labelRevision),
		State: c.State, ExitCode: c.ExitCode, Reason: c.Reason, Address: c.Address, Address6: c.Address6,
		Restarts: uint32(number(labelRestarts)), failures: uint32(number(labelFailures)),
		StartedAt: c.StartedAt, FinishedAt: c.FinishedAt,
		volumes: strings.Fields(c.Labels[labelVolumes]),
	}, true
}
