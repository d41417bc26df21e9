package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/market"
)

// Bounds of an [Agent].
const (
	// pullLimit is how many images are pulled at a time, startLimit how many
	// containers are started, over all leases.
	pullLimit  = 4
	startLimit = 8
	// startTimeout bounds one start, pullTimeout one pull.
	startTimeout = 2 * time.Minute
	pullTimeout  = 20 * time.Minute
	// relist is how often the runtime is listed even if it reports nothing.
	relist = time.Minute
)

// Config tells an [Agent] what it works with. All fields are required.
type Config struct {
	Runtime runtime.Runtime
	// Dial connects to a container, for the readiness probe.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Changed is called when an observation may differ from before.
	Changed func(market.LeaseID)
	// Drain waits until nobody is served by a replica any more; it is called after
	// an observation that has the replica leaving.
	Drain func(ctx context.Context, id market.LeaseID, service string, addr netip.Addr)
	// DrainTime bounds Drain, StopTime the polite end of a container.
	DrainTime, StopTime time.Duration
	// ReadyTimeout is after how long a running container counts as ready though
	// none of its ports answers.
	ReadyTimeout time.Duration
	Logger       *slog.Logger
}

// Agent runs workloads. It is safe for concurrent use.
//
// Goroutines: [Agent.Run] has one per lease, one that follows the runtime, and
// one per container that is being stopped; all end before Run returns.
type Agent struct {
	cfg    Config
	pulls  chan struct{}
	begins chan struct{}
	lister lister

	mu      sync.Mutex // guards all below
	workers map[market.LeaseID]*worker
	// running is the context of Run, nil outside of it.
	running context.Context //nolint:containedctx // it is Run's, kept for workers that begin later
	wg      sync.WaitGroup
	orphans map[market.LeaseID]bool
}

// New makes an agent that does nothing until [Agent.Run].
func New(cfg Config) *Agent {
	return &Agent{
		cfg: cfg, pulls: make(chan struct{}, pullLimit), begins: make(chan struct{}, startLimit),
		lister:  lister{rt: cfg.Runtime, busy: make(chan struct{}, 1)},
		workers: make(map[market.LeaseID]*worker), orphans: make(map[market.LeaseID]bool),
	}
}

// Set makes w the desired state of its lease. w is not changed by anybody
// afterwards.
func (a *Agent) Set(w Workload) { a.worker(w.Lease).set(&w) }

// Remove makes nothing the desired state of a lease. When all of it is gone,
// [Observation.Gone] is true.
func (a *Agent) Remove(id market.LeaseID) { a.worker(id).set(nil) }

// Forget drops what is known of a lease that is gone.
func (a *Agent) Forget(id market.LeaseID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.workers[id]; w != nil {
		w.cancel()
		delete(a.workers, id)
	}
	delete(a.orphans, id)
}

// Observe returns what is seen of a lease; false when the agent was told nothing
// about it.
func (a *Agent) Observe(id market.LeaseID) (Observation, bool) {
	a.mu.Lock()
	w := a.workers[id]
	a.mu.Unlock()
	if w == nil {
		return Observation{}, false
	}
	return w.observe(), true
}

// Orphans returns leases that have containers although nobody asked for them,
// as far as the last listing showed.
func (a *Agent) Orphans() []market.LeaseID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []market.LeaseID
	for id := range a.orphans {
		if a.workers[id] == nil {
			out = append(out, id)
		}
	}
	return out
}

// worker returns the worker of a lease, a new one if there is none.
func (a *Agent) worker(id market.LeaseID) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.workers[id]
	if w == nil {
		w = newWorker(a, id)
		a.workers[id] = w
		a.launch(w)
	}
	return w
}

// launch starts a worker's goroutine while the agent runs. The caller holds mu.
func (a *Agent) launch(w *worker) {
	if a.running == nil || a.running.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(a.running)
	w.cancel = cancel
	a.wg.Go(func() { w.run(ctx) })
}

// Run works until the context ends, and returns when all goroutines have ended.
// Containers go on. The error says why the runtime cannot be used at all.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.list(ctx); err != nil && ctx.Err() == nil && errors.Is(err, runtime.ErrUnsupported) {
		return err
	}
	a.mu.Lock()
	a.running = ctx
	for _, w := range a.workers {
		a.launch(w)
	}
	a.mu.Unlock()
	a.follow(ctx)
	a.mu.Lock()
	a.running = nil
	a.mu.Unlock()
	a.wg.Wait()
	return nil
}

// follow wakes workers when the runtime reports something, and all of them now
// and then in case it did not.
func (a *Agent) follow(ctx context.Context) {
	for ctx.Err() == nil {
		watch, cancel := context.WithTimeout(ctx, relist)
		events := a.cfg.Runtime.Watch(watch)
		a.wakeAll() // what happened before the watch began
		for name, err := range events {
			if err != nil {
				a.cfg.Logger.DebugContext(ctx, "runtime watch ended", slog.Any("err", err))
				sleep(watch, firstBackoff)
				break
			}
			a.wake(name)
		}
		cancel()
		if ctx.Err() == nil {
			_ = a.list(ctx) // workers meet the same error themselves
		}
	}
}

// wake wakes the worker a container belongs to, by its name.
func (a *Agent) wake(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		if strings.HasPrefix(name, w.prefix) {
			w.poke()
		}
	}
}

func (a *Agent) wakeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		w.poke()
	}
}

// list looks for containers of leases that nobody asked for.
func (a *Agent) list(ctx context.Context) error {
	cs, err := a.lister.list(ctx)
	if err != nil {
		return err
	}
	found := make(map[market.LeaseID]bool)
	for _, c := range cs {
		if id, _, ok := parse(c); ok {
			found[id] = true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.orphans = found
	return nil
}

// instances lists the containers of a lease.
func (a *Agent) instances(ctx context.Context, id market.LeaseID) ([]Instance, error) {
	a.mu.Lock()
	all := a.running // the listing is for everybody, not for one worker
	a.mu.Unlock()
	if all == nil {
		return nil, context.Canceled
	}
	cs, err := a.lister.list(all)
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return nil, err
	}
	var out []Instance
	for _, c := range cs {
		if owner, i, ok := parse(c); ok && owner == id {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(x, y Instance) int {
		return cmp.Or(cmp.Compare(x.Service, y.Service), cmp.Compare(x.Index, y.Index), cmp.Compare(x.Number, y.Number))
	})
	return out, nil
}

// probe reports whether one of the ports accepts a connection.
func (a *Agent) probe(ctx context.Context, addr netip.Addr, ports []uint16) bool {
	const patience = 500 * time.Millisecond
	for _, port := range ports {
		d, cancel := context.WithTimeout(ctx, patience)
		c, err := a.cfg.Dial(d, "tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(port))))
		cancel()
		if err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

// pull gets an image, when it is its turn.
func (a *Agent) pull(ctx context.Context, s *Service, progress func(done, total int64)) (runtime.Image, error) {
	if err := enter(ctx, a.pulls); err != nil {
		return runtime.Image{}, err
	}
	defer func() { <-a.pulls }()
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	return a.cfg.Runtime.Pull(ctx, runtime.PullRequest{Reference: s.Image, Credentials: s.Credentials, Progress: progress})
}

// enter waits for a place in a room.
func enter(ctx context.Context, room chan struct{}) error {
	select {
	case room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
