package memruntime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/internal/notify"
)

// Image is what a machine's imaginary registry holds under a reference.
type Image struct {
	// Digest defaults to a hash of the reference; Bytes to 1 MiB.
	Digest string
	Bytes  int64
	Ports  []uint16
	// Entrypoint and Cmd are the image's own command; Env its environment.
	Entrypoint, Cmd, Env []string
	// Program runs as the container; nil is [Idle]. Exec runs for Exec in it; nil
	// answers every command with exit code 127.
	Program, Exec Program
	// Username and Password, if set, must come with a pull.
	Username, Password string
}

// Machine is the imaginary machine: registry, containers, networks, volumes.
// Safe for concurrent use. Goroutines: one per running container and one per
// command; Close ends them and waits.
type Machine struct {
	hub notify.Hub
	wg  sync.WaitGroup

	mu         sync.Mutex
	registry   map[string]Image // reference to image
	pulled     map[string]Image // digest to image
	containers map[string]*container
	networks   map[string]*network
	volumes    map[string]bool
	faults     []Fault
	counts     map[Op]int
	nextNet    int
	nextPID    int
	closed     bool
}

// MaxNetworks is how many networks fit into the machine's range, 10.200.0.0/16.
const MaxNetworks = 256

// NewMachine makes an empty machine.
func NewMachine() *Machine {
	return &Machine{
		registry: map[string]Image{}, pulled: map[string]Image{},
		containers: map[string]*container{}, networks: map[string]*network{},
		volumes: map[string]bool{}, counts: map[Op]int{}, nextPID: 1000,
	}
}

// Open gives a runtime on the machine, as a starting agent would.
func (m *Machine) Open() *Runtime {
	ctx, cancel := context.WithCancel(context.Background())
	return &Runtime{machine: m, ctx: ctx, cancel: cancel}
}

// AddImage puts an image into the registry under a reference, replacing an older.
func (m *Machine) AddImage(reference string, im Image) {
	if im.Digest == "" {
		sum := sha256.Sum256([]byte(reference))
		im.Digest = "sha256:" + hex.EncodeToString(sum[:])
	}
	if im.Bytes == 0 {
		im.Bytes = 1 << 20
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registry[reference] = im
}

// Crash ends a container as if its program had failed by itself, with that exit
// code and reason ("out of memory"). It reports whether such a container ran.
func (m *Machine) Crash(name string, code int, reason string) bool {
	m.mu.Lock()
	c := m.containers[name]
	if c == nil || c.state != runtime.Running {
		m.mu.Unlock()
		return false
	}
	c.finish(code, reason)
	m.mu.Unlock()
	c.kill()
	m.hub.Publish(name)
	return true
}

// Calls is how often an operation was asked for, faults included.
func (m *Machine) Calls(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[op]
}

// Close kills everything and waits for all goroutines. Twice is allowed.
func (m *Machine) Close() {
	m.mu.Lock()
	m.closed = true
	for _, c := range m.containers {
		c.finish(137, "")
		c.kill()
	}
	m.mu.Unlock()
	m.hub.Close()
	m.wg.Wait()
}

func (m *Machine) ensureNetwork(name string) (*network, error) {
	if n := m.networks[name]; n != nil {
		return n, nil
	}
	if m.nextNet >= MaxNetworks {
		return nil, fmt.Errorf("memruntime: network %s: no address range left", name)
	}
	base := netip.AddrFrom4([4]byte{10, 200, byte(m.nextNet), 0})
	m.nextNet++
	n := &network{name: name, prefix: netip.PrefixFrom(base, 24), gateway: base.Next(), hosts: map[string][]netip.Addr{}}
	n.next = n.gateway.Next()
	m.networks[name] = n
	return n, nil
}

func (n *network) take() (netip.Addr, error) {
	a := n.next
	if !n.prefix.Contains(a.Next()) {
		return netip.Addr{}, fmt.Errorf("memruntime: network %s: no address left", n.name)
	}
	n.next = a.Next()
	return a, nil
}

// start makes and starts a container; the caller holds the lock.
func (m *Machine) start(spec runtime.Spec) (*container, error) {
	im, ok := m.pulled[spec.Image]
	if !ok {
		return nil, fmt.Errorf("memruntime: image %s: %w", spec.Image, runtime.ErrImage)
	}
	c := newContainer(m, spec, im)
	if spec.Network != "" {
		n := m.networks[spec.Network]
		if n == nil {
			return nil, fmt.Errorf("memruntime: network %s: %w", spec.Network, runtime.ErrNotFound)
		}
		var err error
		if c.address, err = n.take(); err != nil {
			return nil, err
		}
	}
	for _, mt := range spec.Mounts {
		if mt.Volume != "" {
			m.volumes[mt.Volume] = true
		}
	}
	m.nextPID++
	c.pid, c.state, c.started = m.nextPID, runtime.Running, time.Now()
	m.containers[spec.Name] = c
	m.wg.Go(c.run)
	return c, nil
}
