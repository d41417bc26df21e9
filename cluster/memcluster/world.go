package memcluster

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Defaults of [Config].
const (
	DefaultDomain     = "mem.test"
	DefaultPublicHost = "provider.mem.test"
	// firstPort and lastPort bound the forwarded ports.
	firstPort, lastPort = 30000, 32767
	// maxLines bounds the log of a replica; what comes after is dropped.
	maxLines = 100_000
)

// Config describes a world. The zero value is one large node on which
// everything is ready at once.
type Config struct {
	// Nodes of the cluster; nil is one node "mem" with 64 cores, 256 GiB of memory,
	// 1 TiB of disk and as much of each usual storage class.
	Nodes []inventory.Node
	// Domain is under which services get names, [DefaultDomain] if "".
	Domain string
	// PublicHost is where forwarded ports are reached, [DefaultPublicHost] if "".
	PublicHost string
	// ReadyAfter says how long the replicas of a service take from Apply until
	// they are ready; negative is for ever. nil is no time.
	ReadyAfter func(id market.LeaseID, s manifest.Service) time.Duration
	// Programs are what images do, by image reference. An image that is not in it
	// runs and does nothing.
	Programs map[string]Program
}

// Op names a method of the driver, for [World.SetFault].
type Op string

// Operations.
const (
	OpApply    Op = "apply"
	OpDelete   Op = "delete"
	OpStatus   Op = "status"
	OpList     Op = "list"
	OpNodes    Op = "nodes"
	OpWatch    Op = "watch"
	OpLogs     Op = "logs"
	OpExec     Op = "exec"
	OpHostname Op = "hostname-owner"
)

// World is a cluster in memory. It is safe for concurrent use.
type World struct {
	cfg Config

	mu      sync.Mutex // guards all below
	ledger  *inventory.Ledger
	leases  map[market.LeaseID]*lease
	ports   map[uint16]market.LeaseID
	fault   func(Op, market.LeaseID) error
	changed chan struct{} // closed and replaced at every change
}

// lease is what runs for one lease.
type lease struct {
	workload driver.Workload
	policy   *netpolicy.Policy
	services map[string]*service
	ports    map[portKey]uint16
}

type portKey struct {
	service string
	port    uint16
	proto   manifest.Protocol
}

// service is what runs for one service.
type service struct {
	spec     manifest.Service
	replicas []*replica
	broken   string
	// before is the revision that takes clients until this one is ready.
	before *service
}

// replica is one container that exists only as numbers.
type replica struct {
	index     uint32
	node      string
	startedAt time.Time
	readyAt   time.Time
	never     bool
	restarts  uint32
	lines     []driver.LogLine
}

// NewWorld makes an empty cluster. It panics when two nodes have one name.
func NewWorld(cfg Config) *World {
	cfg.Domain = cmp.Or(cfg.Domain, DefaultDomain)
	cfg.PublicHost = cmp.Or(cfg.PublicHost, DefaultPublicHost)
	if cfg.Nodes == nil {
		cfg.Nodes = []inventory.Node{defaultNode()}
	}
	l, err := inventory.New(cfg.Nodes, inventory.Overcommit{})
	if err != nil {
		panic(err)
	}
	return &World{
		cfg: cfg, ledger: l, leases: make(map[market.LeaseID]*lease),
		ports: make(map[uint16]market.LeaseID), changed: make(chan struct{}),
	}
}

// New makes a world and opens it: the short form for a test that restarts
// nothing. The world is [Driver.World].
func New(cfg Config) *Driver { return NewWorld(cfg).Driver() }

func defaultNode() inventory.Node {
	const ti = 1 << 40
	return inventory.Node{
		Name: "mem", Architecture: "amd64",
		Allocatable: inventory.Quantities{
			MilliCores: 64_000, MemoryBytes: ti / 4, EphemeralBytes: ti,
			PersistentBytes: map[string]uint64{"default": ti, "beta1": ti, "beta2": ti, "beta3": ti},
		},
	}
}

// SetFault makes calls fail: f is asked first by every method, and what it
// returns is returned. nil ends that. f must not call the world.
func (w *World) SetFault(f func(Op, market.LeaseID) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
}

// SetNodes replaces the nodes; what runs on a node that is gone goes on in the
// books. It panics when two nodes have one name.
func (w *World) SetNodes(nodes []inventory.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ledger.SetNodes(nodes); err != nil {
		panic(err)
	}
	w.cfg.Nodes = nodes
	w.touch()
}

// Break makes a service fail with a reason; "" mends it. It reports whether
// there is such a service.
func (w *World) Break(id market.LeaseID, name, reason string) bool {
	return w.withService(id, name, func(s *service) {
		s.broken = reason
		for _, r := range s.replicas {
			r.restarts++
		}
	})
}

// Print adds a line to the log of a replica. It reports whether there is one.
func (w *World) Print(id market.LeaseID, name string, index uint32, stderr bool, text string) bool {
	done := false
	w.withService(id, name, func(s *service) {
		if done = int(index) < len(s.replicas); done {
			s.replicas[index].print(name, stderr, text)
		}
	})
	return done
}

// Lose removes a workload as an accident would, without the driver.
func (w *World) Lose(id market.LeaseID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(id)
}

func (w *World) withService(id market.LeaseID, name string, f func(*service)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.leases[id]
	if l == nil || l.services[name] == nil {
		return false
	}
	f(l.services[name])
	w.touch()
	return true
}

// touch wakes all who wait for a change. The caller holds mu.
func (w *World) touch() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// print adds a line, in pieces of at most driver.MaxLogLine bytes.
func (r *replica) print(service string, stderr bool, text string) {
	for len(r.lines) < maxLines {
		n := min(len(text), driver.MaxLogLine)
		r.lines = append(r.lines, driver.LogLine{
			Service: service, Replica: r.index, Time: time.Now(), Stderr: stderr, Text: text[:n],
		})
		if text = text[n:]; text == "" {
			return
		}
	}
}

// apply makes a workload the desired state. The caller holds mu.
func (w *World) apply(load driver.Workload) error {
	old := w.leases[load.Lease]
	if old != nil && load.Revision <= old.workload.Revision {
		return nil
	}
	for _, name := range load.Hostnames() {
		if owner, ok := w.owner(name); ok && owner != load.Lease {
			return fmt.Errorf("%w: host name %s is taken", driver.ErrConflict, name)
		}
	}
	policy, err := load.Policy(netpolicy.Surroundings{})
	if err != nil {
		return err
	}
	placement, reasons := w.ledger.Reserve(load.Lease.String(), load.Spec())
	if len(reasons) > 0 {
		return fmt.Errorf("%w: %s", driver.ErrExhausted, reasons[0])
	}
	next := &lease{workload: load, policy: policy, services: make(map[string]*service), ports: make(map[portKey]uint16)}
	for i, spec := range load.Group.Services {
		spec.Env = slices.Concat(load.AddressEnv(spec.Name), spec.Env)
		s := &service{spec: spec}
		if old != nil {
			s.adopt(old.services[spec.Name])
		}
		for _, a := range placement.Assignments {
			if a.Unit == uint32(i+1) && int(a.Replica) >= len(s.replicas) {
				s.replicas = append(s.replicas, w.start(load.Lease, spec, a))
			}
		}
		next.services[spec.Name] = s
	}
	w.assignPorts(old, next)
	w.leases[load.Lease] = next
	w.touch()
	return nil
}

// adopt keeps the replicas of the revision before when nothing but their number
// changed.
func (s *service) adopt(old *service) {
	if old == nil {
		return
	}
	if !sameService(old.spec, s.spec) {
		s.before = &service{spec: old.spec, replicas: old.replicas, broken: old.broken}
		return
	}
	s.broken = old.broken
	s.replicas = slices.Clone(old.replicas[:min(len(old.replicas), int(s.spec.Count))])
}

// sameService compares two services, the number of replicas aside.
func sameService(a, b manifest.Service) bool {
	a.Count, b.Count = 0, 0
	text := func(s manifest.Service) []byte {
		return manifest.Manifest{{Services: []manifest.Service{s}}}.AppendCanonical(nil)
	}
	return bytes.Equal(text(a), text(b))
}

// start makes a replica.
func (w *World) start(id market.LeaseID, spec manifest.Service, a inventory.Assignment) *replica {
	now, delay := time.Now(), time.Duration(0)
	if w.cfg.ReadyAfter != nil {
		delay = w.cfg.ReadyAfter(id, spec)
	}
	r := &replica{index: a.Replica, node: a.Node, startedAt: now, readyAt: now.Add(delay), never: delay < 0}
	if p := w.cfg.Programs[spec.Image]; p.Start != nil {
		for _, line := range p.Start(w.process(id, spec, a.Replica)) {
			r.print(spec.Name, line.Stderr, line.Text)
		}
	}
	return r
}

// assignPorts gives every forwarded port a number outside, the one it had if it
// had one.
func (w *World) assignPorts(old, next *lease) {
	id := next.workload.Lease
	for _, s := range next.workload.Group.Services {
		for _, e := range s.Expose {
			if !e.Global || e.HTTP() {
				continue
			}
			k := portKey{s.Name, uint16(e.Port), e.Proto}
			if old != nil && old.ports[k] != 0 {
				next.ports[k] = old.ports[k]
				continue
			}
			next.ports[k] = w.freePort()
			w.ports[next.ports[k]] = id
		}
	}
	for port, owner := range w.ports {
		if owner == id && !next.has(port) {
			delete(w.ports, port)
		}
	}
}

func (l *lease) has(port uint16) bool {
	for _, p := range l.ports {
		if p == port {
			return true
		}
	}
	return false
}

func (w *World) freePort() uint16 {
	for p := uint16(firstPort); p < lastPort; p++ {
		if _, taken := w.ports[p]; !taken {
			return p
		}
	}
	return lastPort
}

// remove deletes all of a lease. The caller holds mu.
func (w *World) remove(id market.LeaseID) {
	if w.leases[id] == nil {
		return
	}
	delete(w.leases, id)
	w.ledger.Release(id.String())
	for port, owner := range w.ports {
		if owner == id {
			delete(w.ports, port)
		}
	}
	w.touch()
}

// list returns all leases, sorted by text. The caller holds mu.
func (w *World) list() []market.LeaseID {
	out := make([]market.LeaseID, 0, len(w.leases))
	for id := range w.leases {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b market.LeaseID) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// owner finds who has a host name. The caller holds mu.
func (w *World) owner(name string) (market.LeaseID, bool) {
	name = strings.ToLower(name)
	for _, id := range w.list() {
		l := w.leases[id]
		if slices.Contains(l.workload.Hostnames(), name) {
			return id, true
		}
		for _, s := range l.workload.Group.Services {
			if servesHTTP(s) && w.hostname(id, s.Name) == name {
				return id, true
			}
		}
	}
	return market.LeaseID{}, false
}

func servesHTTP(s manifest.Service) bool {
	return slices.ContainsFunc(s.Expose, manifest.Expose.HTTP)
}

// hostname is the name that every HTTP service gets.
func (w *World) hostname(id market.LeaseID, service string) string {
	h := fnv.New64a()
	h.Write([]byte(id.String()))
	return fmt.Sprintf("%s-%012x.%s", service, h.Sum64()&0xffffffffffff, w.cfg.Domain)
}
