package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/memruntime"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

const image = "guest:1"

// memNet is the network outside of the host, in memory.
type memNet struct {
	mu    sync.Mutex
	ports map[int]*memListener
	next  int
	busy  map[int]bool
	// packets are the open UDP ports.
	packets map[string]bool
}

type memListener struct {
	addr  *net.TCPAddr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	net   *memNet
}

func newMemNet() *memNet {
	return &memNet{ports: make(map[int]*memListener), next: 50000, busy: make(map[int]bool), packets: make(map[string]bool)}
}

func (n *memNet) listen(_ context.Context, _, address string) (net.Listener, error) {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(p)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == 0 {
		n.next++
		port = n.next
	}
	if n.ports[port] != nil || n.busy[port] {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
	}
	l := &memListener{
		addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, conns: make(chan net.Conn),
		done: make(chan struct{}), net: n,
	}
	n.ports[port] = l
	return l, nil
}

func (n *memNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	_, p, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(p)
	n.mu.Lock()
	l := n.ports[port]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		delete(l.net.ports, l.addr.Port)
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// memPackets is a UDP port to which nothing comes.
type memPackets struct {
	net.PacketConn
	done chan struct{}
	once sync.Once
	free func()
}

func (n *memNet) listenPacket(_ context.Context, _, address string) (net.PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.packets[address] {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: syscall.EADDRINUSE}
	}
	n.packets[address] = true
	return &memPackets{done: make(chan struct{}), free: func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.packets, address)
	}}, nil
}

func (p *memPackets) ReadFrom([]byte) (int, net.Addr, error) {
	<-p.done
	return 0, nil, net.ErrClosed
}

func (p *memPackets) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.free()
	})
	return nil
}

// rig is a host in memory with a fleet on it that can be restarted.
type rig struct {
	t       *testing.T
	machine *memruntime.Machine
	net     *memNet
	dir     string
	cfg     fleet.Config
	fleet   *fleet.Fleet
	rt      *memruntime.Runtime
	ended   chan error
}

// newRig makes a host and starts a fleet on it.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, machine: memruntime.NewMachine(), net: newMemNet(), dir: t.TempDir()}
	r.machine.AddImage(image, guestImage())
	r.cfg = fleet.Config{
		StateDir: r.dir, Node: node(), IngressAddr: "127.0.0.1:8000",
		Dial: r.machine.DialContext, Listen: r.net.listen, ListenPacket: r.net.listenPacket,
	}
	r.start()
	t.Cleanup(func() {
		r.stop()
		r.machine.Close()
	})
	return r
}

func node() inventory.Node {
	return inventory.Node{Name: "host", Architecture: "amd64", Allocatable: inventory.Quantities{
		MilliCores: 4000, MemoryBytes: 8 << 30, EphemeralBytes: 100 << 30,
		PersistentBytes: map[string]uint64{"beta2": 10 << 30},
	}}
}

// start opens a fleet on the host and runs it.
func (r *rig) start() {
	r.t.Helper()
	r.rt = r.machine.Open()
	r.cfg.Runtime = r.rt
	f, err := fleet.New(r.cfg)
	require.NoError(r.t, err)
	r.fleet, r.ended = f, make(chan error, 1)
	go func() { r.ended <- f.Run(context.Background()) }()
}

// stop closes the fleet; containers go on.
func (r *rig) stop() {
	r.t.Helper()
	if r.fleet == nil {
		return
	}
	require.NoError(r.t, r.fleet.Close())
	if err := <-r.ended; err != nil {
		require.ErrorIs(r.t, err, driver.ErrClosed)
	}
	require.NoError(r.t, r.rt.Close())
	r.fleet = nil
}

func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// guestImage runs the guest as a Go function.
func guestImage() memruntime.Image {
	run := func(ctx context.Context, p *memruntime.Process) int { return guest.Main(ctx, guestProcess(p)) }
	return memruntime.Image{Entrypoint: []string{"/guest"}, Program: run, Exec: run}
}

func guestProcess(p *memruntime.Process) guest.Process {
	return guest.Process{
		Args: p.Args, Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr, Hostname: p.Hostname, Stop: p.Stop,
		Listen: p.Listen,
		Getenv: func(name string) string {
			for i := len(p.Env) - 1; i >= 0; i-- {
				if k, v, _ := strings.Cut(p.Env[i], "="); k == name {
					return v
				}
			}
			return ""
		},
		Get: func(ctx context.Context, rawURL string) (string, error) {
			dial := func(ctx context.Context, _, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				addrs := p.Lookup(host)
				if len(addrs) == 0 {
					return nil, fmt.Errorf("%s does not resolve", host)
				}
				n, err := strconv.Atoi(port)
				if err != nil {
					return nil, err
				}
				return p.Dial(ctx, netipAddrPort(addrs[0], n))
			}
			return get(ctx, dial, rawURL)
		},
	}
}

// get fetches a URL through a dialler.
func get(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), rawURL string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, http.NoBody)
	if err != nil {
		return "", err
	}
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", res.StatusCode, strings.TrimSpace(string(b)))
	}
	return string(b), err
}

// get fetches a public URL.
func (r *rig) get(rawURL string) (string, error) { return get(r.t.Context(), r.net.dial, rawURL) }

func lease(n uint64) market.LeaseID {
	id, err := market.ParseLeaseID(fmt.Sprintf("tenant/%d/1/1/provider", n))
	if err != nil {
		panic(err)
	}
	return id
}

// web is an HTTP service.
func web(name, greeting string) manifest.Service {
	return manifest.Service{
		Name: name, Image: image, Count: 1, Env: []string{"GREETING=" + greeting},
		Resources: market.Resources{
			ID: 1, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 64 << 20},
			Storage: []market.Volume{{Name: "default", Bytes: 1 << 20}},
		},
		Expose: []manifest.Expose{{Port: 8080, ExternalPort: 80, Proto: manifest.TCP, Global: true}},
	}
}

// replicas changes the number of replicas.
func replicas(s manifest.Service, n uint32) manifest.Service {
	s.Count = n
	return s
}

func workload(n, revision uint64, services ...manifest.Service) driver.Workload {
	return driver.Workload{
		Lease: lease(n), Revision: revision, Hash: market.Hash{byte(revision)},
		Group: manifest.Group{Name: "g", Services: services},
	}
}

// apply applies a workload.
func (r *rig) apply(w driver.Workload) {
	r.t.Helper()
	require.NoError(r.t, r.fleet.Apply(r.t.Context(), w))
}

// ready applies a workload and waits until it is ready.
func (r *rig) ready(w driver.Workload) driver.Status {
	r.t.Helper()
	r.apply(w)
	return r.until(w.Lease, func(s driver.Status) bool { return s.State == driver.Ready && s.Revision == w.Revision })
}

// until waits until a status is as wanted.
func (r *rig) until(id market.LeaseID, ok func(driver.Status) bool) driver.Status {
	r.t.Helper()
	ctx, stop := context.WithTimeout(r.t.Context(), 10*time.Minute)
	defer stop()
	var last driver.Status
	for _, err := range r.fleet.Watch(ctx) {
		require.NoError(r.t, err)
		s, err := r.fleet.Status(ctx, id)
		if err != nil {
			continue
		}
		if last = s; ok(s) {
			return s
		}
	}
	require.FailNow(r.t, "status never came", "%+v", last)
	return last
}

// containers returns what runs on the host, by name.
func (r *rig) containers() map[string]runtime.Container {
	r.t.Helper()
	cs, err := r.rt.List(r.t.Context())
	for range 9 { // injected faults end
		if err == nil {
			break
		}
		cs, err = r.rt.List(r.t.Context())
	}
	require.NoError(r.t, err)
	out := make(map[string]runtime.Container)
	for _, c := range cs {
		if c.State == runtime.Running {
			out[c.Name] = c
		}
	}
	return out
}

// settle waits until nothing changes any more on its own within a time.
func (r *rig) settle() { time.Sleep(30 * time.Second) }

func assertTransient(t *testing.T, err error) {
	t.Helper()
	var transient *driver.TransientError
	assert.True(t, errors.As(err, &transient), "want a transient error, got %v", err)
}
