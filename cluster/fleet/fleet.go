package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/agent"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/proxy"
	"github.com/moorage-dev/moorage/cluster/fleet/internal/store"
	"github.com/moorage-dev/moorage/cluster/internal/hub"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/netpolicy"
)

var (
	_ driver.Driver             = (*Fleet)(nil)
	_ driver.Watcher            = (*Fleet)(nil)
	_ driver.LogStreamer        = (*Fleet)(nil)
	_ driver.Execer             = (*Fleet)(nil)
	_ driver.ExclusiveHostnames = (*Fleet)(nil)
	_ driver.PolicyEnforcer     = (*Fleet)(nil)
)

// errNotRunning is why a method that needs [Fleet.Run] fails for now.
var errNotRunning = errors.New("fleet: not running")

// Fleet is a driver for plain hosts. It is safe for concurrent use.
//
// Goroutines: [Fleet.Run] has one for the ingress, one per forwarded port and
// its clients, and those of the agent; all end before Run returns.
type Fleet struct {
	cfg     Config
	log     *slog.Logger
	store   *store.Store
	agent   *agent.Agent
	router  *proxy.Router
	ingress net.Listener
	hub     hub.Hub
	closed  chan struct{}
	// surroundings are of the host, for policies; enforces says that they count.
	surroundings netpolicy.Surroundings
	enforces     bool
	once         sync.Once

	// write serializes everything that changes what is desired. It is taken
	// before mu.
	write  sync.Mutex
	ledger *inventory.Ledger // guarded by write

	mu       sync.Mutex // guards all below
	records  map[market.LeaseID]store.Record
	pools    map[poolKey]*proxy.Pool
	forwards map[portKey]*forward
	running  *run
	ran      bool
}

// poolKey names the replicas of a service.
type poolKey struct {
	lease   market.LeaseID
	service string
}

// run is what exists while [Fleet.Run] does.
type run struct {
	ctx    context.Context //nolint:containedctx // it is Run's, for ports that open later
	cancel context.CancelFunc
	wg     sync.WaitGroup
	done   chan struct{}
}

// New opens a fleet: it reads what is desired from the state directory, and
// opens the ingress and the ports of the workloads found. It starts nothing;
// call [Fleet.Run]. The caller closes the fleet.
//
// The error tells what to do: a directory that another process has, an ingress
// address in use, a configuration with faults (all are named).
func New(cfg Config) (*Fleet, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := cfg.completeNode(); err != nil {
		return nil, fmt.Errorf("fleet: describe this host: %w", err)
	}
	ledger, err := inventory.New([]inventory.Node{cfg.Node}, cfg.Overcommit)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	f := &Fleet{
		cfg: cfg, log: cfg.Logger, ledger: ledger, closed: make(chan struct{}),
		router:   proxy.NewRouter(cfg.Dial, cfg.Logger),
		records:  make(map[market.LeaseID]store.Record),
		pools:    make(map[poolKey]*proxy.Pool),
		forwards: make(map[portKey]*forward),
	}
	if err := f.surround(); err != nil {
		return nil, err
	}
	f.agent = agent.New(agent.Config{
		Runtime: cfg.Runtime, Dial: cfg.Dial, Changed: f.changed, Drain: f.drain,
		DrainTime: cfg.DrainTime, StopTime: cfg.StopTime, ReadyTimeout: cfg.ReadyTimeout, Logger: cfg.Logger,
	})
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// open reads the state and opens the ports.
func (f *Fleet) open() error {
	s, records, bad, err := store.Open(f.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("fleet: open state: %w", err)
	}
	f.store = s
	for _, name := range bad {
		f.log.Error("a workload on disk cannot be read and was set aside", slog.String("file", name))
	}
	f.ingress, err = f.cfg.Listen(context.Background(), "tcp", f.cfg.IngressAddr)
	if err != nil {
		return fmt.Errorf("fleet: listen for HTTP (another program may have the port; choose another ingress address): %w", err)
	}
	for _, r := range records {
		if err := f.restore(r); err != nil {
			return err
		}
	}
	f.route()
	return nil
}

// restore takes up a workload that was found on disk.
func (f *Fleet) restore(r store.Record) error {
	id := r.Workload.Lease
	if _, reasons := f.ledger.Reserve(id.String(), r.Workload.Spec()); len(reasons) > 0 {
		f.log.Warn("a workload on disk no longer fits this host", slog.Any("lease", id), slog.String("reason", reasons[0].String()))
	}
	if r.Leaving {
		f.records[id] = r
		f.agent.Remove(id)
		return nil
	}
	ports, err := f.assignPorts(context.Background(), r.Workload, r.Ports)
	if err != nil {
		f.log.Warn("a workload on disk misses a port", slog.Any("lease", id), slog.Any("err", err))
	} else if !slices.Equal(ports, r.Ports) {
		r.Ports = ports
		if err := f.store.Put(agent.Tag(id), r); err != nil {
			return fmt.Errorf("fleet: keep ports: %w", err)
		}
	}
	f.records[id] = r
	f.agent.Set(f.work(r))
	return nil
}

// Run works until the context ends or the fleet is closed. It returns when all
// it started has ended; containers go on. The error says what makes working
// impossible. It may be called once.
func (f *Fleet) Run(ctx context.Context) error {
	r, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer close(r.done)
	defer r.cancel()
	const grace = 5 * time.Second
	var ingress error
	r.wg.Go(func() {
		if ingress = f.router.Serve(r.ctx, f.ingress, grace); ingress != nil {
			r.cancel()
		}
	})
	err = f.agent.Run(r.ctx)
	r.cancel()
	f.mu.Lock()
	f.running = nil
	ids := slices.Collect(maps.Keys(f.records))
	f.mu.Unlock()
	r.wg.Wait()
	for _, id := range ids {
		f.hub.Publish(id) // whoever waits sees that nothing runs
	}
	if err = cmp.Or(err, ingress); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	return nil
}

// begin makes the fleet running.
func (f *Fleet) begin(ctx context.Context) (*run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
		return nil, driver.ErrClosed
	default:
	}
	if f.ran {
		return nil, errors.New("fleet: has been run before; open another")
	}
	f.ran = true
	ctx, cancel := context.WithCancel(ctx)
	f.running = &run{ctx: ctx, cancel: cancel, done: make(chan struct{})}
	for _, fw := range f.forwards {
		f.serve(fw)
	}
	return f.running, nil
}

// IngressAddr is where HTTP services are served; it has the port that the
// system chose for port 0.
func (f *Fleet) IngressAddr() net.Addr { return f.ingress.Addr() }

// Close ends Run, waits for it, and gives the ports and the state directory
// back. Containers go on. A second call does nothing.
func (f *Fleet) Close() error {
	var err error
	f.once.Do(func() {
		close(f.closed)
		f.mu.Lock()
		r := f.running
		f.mu.Unlock()
		if r != nil {
			r.cancel()
			<-r.done
		}
		f.write.Lock()
		defer f.write.Unlock()
		if f.ingress != nil {
			_ = f.ingress.Close() // Run may have closed it
		}
		f.mu.Lock()
		for _, fw := range f.forwards {
			fw.close()
		}
		f.mu.Unlock()
		if f.store != nil {
			err = errors.Join(err, f.store.Close())
		}
		f.hub.Close()
	})
	return err
}

// check makes the checks that every method begins with.
func (f *Fleet) check(ctx context.Context) error {
	select {
	case <-f.closed:
		return driver.ErrClosed
	default:
		return ctx.Err()
	}
}

// changed is called by the agent when it sees something new.
func (f *Fleet) changed(id market.LeaseID) {
	o, known := f.agent.Observe(id)
	f.mu.Lock()
	r, wanted := f.records[id]
	for _, s := range r.Workload.Group.Services {
		f.pool(poolKey{id, s.Name}).Set(addresses(o, s.Name))
	}
	f.mu.Unlock()
	if known && o.Gone && (!wanted || r.Leaving) {
		f.gone(id)
	}
	f.hub.Publish(id)
}

// addresses are those of replicas that take clients.
func addresses(o agent.Observation, service string) []netip.Addr {
	var out []netip.Addr
	for _, i := range o.Instances {
		if i.Service == service && i.Ready && !i.Leaving && i.Address.IsValid() {
			out = append(out, i.Address)
		}
	}
	return out
}

// pool returns the replicas of a service. The caller holds mu.
func (f *Fleet) pool(k poolKey) *proxy.Pool {
	p := f.pools[k]
	if p == nil {
		p = proxy.NewPool()
		f.pools[k] = p
	}
	return p
}

// drain waits until a replica that was taken out of its pool has no clients.
func (f *Fleet) drain(ctx context.Context, id market.LeaseID, service string, addr netip.Addr) {
	f.mu.Lock()
	p := f.pool(poolKey{id, service})
	f.mu.Unlock()
	p.Drain(ctx, addr)
}

// gone forgets a lease of which nothing is left.
func (f *Fleet) gone(id market.LeaseID) {
	f.write.Lock()
	defer f.write.Unlock()
	if r, ok := f.record(id); ok && !r.Leaving {
		return // applied anew meanwhile
	}
	if err := f.store.Delete(agent.Tag(id)); err != nil {
		f.log.Error("a workload that is gone cannot be removed from disk", slog.Any("lease", id), slog.Any("err", err))
		return
	}
	f.ledger.Release(id.String())
	f.mu.Lock()
	delete(f.records, id)
	maps.DeleteFunc(f.pools, func(k poolKey, _ *proxy.Pool) bool { return k.lease == id })
	f.mu.Unlock()
	f.closePorts(id, nil)
	f.agent.Forget(id)
	f.log.Info("workload gone", slog.Any("lease", id))
}

// record returns what is desired of a lease.
func (f *Fleet) record(id market.LeaseID) (store.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.records[id]
	return r, ok
}
