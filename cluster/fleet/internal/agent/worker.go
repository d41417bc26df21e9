package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/netpolicy"
)

// Times between looks at what does not report by itself.
const (
	// The pause between two readiness probes is a quarter of the time that the
	// container has run, within these bounds.
	minProbePause = 10 * time.Millisecond
	maxProbePause = 500 * time.Millisecond
	// errorPause is after a failure of the runtime.
	errorPause = time.Second
	// settleTime is how long a container without ports must have run to be ready,
	// settleAgain that of one that has failed before.
	settleTime  = 500 * time.Millisecond
	settleAgain = 10 * time.Second
)

// worker brings one lease to its desired state, step by step, in one goroutine.
// It looks at everything anew before each step, so it does not matter which
// events it missed or where it was interrupted.
type worker struct {
	agent  *Agent
	id     market.LeaseID
	prefix string        // begins the names of all its containers
	kick   chan struct{} // has room for one
	cancel context.CancelFunc

	mu     sync.Mutex // guards all below
	want   *Workload
	asked  bool // want was set
	abort  context.CancelFunc
	latest Observation
	// stopping are containers that are being drained and stopped.
	stopping map[string]bool
	// ready are containers that have answered once.
	ready map[string]bool

	// These belong to the goroutine.
	images  map[string]string // definition hash to digest
	held    map[Slot]Trouble
	tries   map[Slot]uint32
	hosts   map[string][]netip.Addr
	network bool
	policy  *netpolicy.Policy // the one in force; nil if none or unknown
	swept   bool
	stops   sync.WaitGroup
}

func newWorker(a *Agent, id market.LeaseID) *worker {
	return &worker{
		agent: a, id: id, prefix: volumePrefix(id), kick: make(chan struct{}, 1), cancel: func() {},
		stopping: make(map[string]bool), ready: make(map[string]bool),
	}
}

// set changes what is wanted. A pull for what was wanted before is given up.
func (w *worker) set(want *Workload) {
	w.mu.Lock()
	w.want, w.asked = want, true
	if w.abort != nil {
		w.abort()
	}
	w.latest.Gone = false
	if want != nil {
		w.latest.Revision = want.Revision
	}
	w.mu.Unlock()
	w.poke()
}

// poke makes the goroutine look again.
func (w *worker) poke() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *worker) observe() Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.latest
	o.Instances = slices.Clone(o.Instances)
	o.Troubles = maps.Clone(o.Troubles)
	return o
}

// run is the goroutine.
func (w *worker) run(ctx context.Context) {
	defer w.stops.Wait()
	w.images, w.held, w.tries = make(map[string]string), make(map[Slot]Trouble), make(map[Slot]uint32)
	w.network, w.hosts, w.policy, w.swept = false, nil, nil, false
	for ctx.Err() == nil {
		wake := w.step(ctx)
		timer := time.NewTimer(time.Until(wake))
		select {
		case <-w.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// step looks once and does what there is to do. It returns when to look again
// if nothing happens before.
func (w *worker) step(ctx context.Context) time.Time {
	late := time.Now().Add(relist)
	w.mu.Lock()
	want, idle := w.want, !w.asked || w.latest.Gone
	w.mu.Unlock()
	if idle {
		return late
	}
	seen, err := w.agent.instances(ctx, w.id)
	if err != nil {
		return w.blind(ctx, err)
	}
	probing := w.judge(ctx, want, seen)
	p := decide(time.Now(), want, seen, w.held)
	if err := w.act(ctx, want, seen, p); err != nil {
		return w.blind(ctx, err)
	}
	switch {
	case len(p.starts) > 0 || len(p.remove) > 0:
		return time.Now()
	case probing > 0:
		return time.Now().Add(probing)
	case !p.wake.IsZero():
		return p.wake
	}
	return late
}

// blind notes that the runtime could not be seen or obeyed.
func (w *worker) blind(ctx context.Context, err error) time.Time {
	if ctx.Err() == nil {
		w.agent.cfg.Logger.WarnContext(ctx, "runtime failed", slog.Any("lease", w.id), slog.Any("err", err))
		w.change(func(o *Observation) { o.Err = err.Error() })
	}
	w.network = false
	return time.Now().Add(errorPause)
}

// change edits the observation and tells about it.
func (w *worker) change(edit func(*Observation)) {
	w.mu.Lock()
	edit(&w.latest)
	w.mu.Unlock()
	w.agent.cfg.Changed(w.id)
}

// judge finds out which instances are ready or leaving, and after how long some
// are to be asked again; 0 is never.
func (w *worker) judge(ctx context.Context, want *Workload, seen []Instance) (again time.Duration) {
	var wg sync.WaitGroup
	for n := range seen {
		i := &seen[n]
		w.mu.Lock()
		i.Leaving, i.Ready = w.stopping[i.Name], w.ready[i.Name] && i.Running()
		w.mu.Unlock()
		if i.Running() && !i.Ready {
			wg.Go(func() { i.Ready = w.isReady(ctx, want, i) })
		}
	}
	wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ready)
	for _, i := range seen {
		if i.Ready {
			w.ready[i.Name] = true
		}
		if i.Running() && !i.Ready && !i.Leaving {
			pause := min(max(time.Since(i.StartedAt)/4, minProbePause), maxProbePause)
			if again == 0 || pause < again {
				again = pause
			}
		}
	}
	return again
}

// isReady asks a container whether it is ready for the first time.
func (w *worker) isReady(ctx context.Context, want *Workload, i *Instance) bool {
	if !i.Address.IsValid() || time.Since(i.StartedAt) >= w.agent.cfg.ReadyTimeout {
		return true
	}
	if want == nil {
		return false
	}
	for n := range want.Services {
		if s := &want.Services[n]; s.Name == i.Service && len(s.Probe) > 0 {
			return w.agent.probe(ctx, i.Address, s.Probe)
		}
	}
	settle := settleTime
	if i.failures > 0 {
		settle = settleAgain
	}
	return time.Since(i.StartedAt) >= settle
}

// act carries out a plan.
func (w *worker) act(ctx context.Context, want *Workload, seen []Instance, p plan) error {
	for _, i := range p.retire {
		w.retire(ctx, i, want != nil)
	}
	w.publish(seen, p)
	for _, i := range p.remove {
		if err := w.remove(ctx, i); err != nil {
			return err
		}
	}
	if want == nil {
		return w.finish(ctx, seen)
	}
	if !w.swept {
		if err := w.sweep(ctx, seen); err != nil {
			return err
		}
		w.swept = true
	}
	if err := w.prepare(ctx, want, seen, p); err != nil {
		return err
	}
	w.starts(ctx, want, p.starts)
	return nil
}

// publish makes what was seen known.
func (w *worker) publish(seen []Instance, p plan) {
	w.change(func(o *Observation) {
		for n := range seen {
			seen[n].Leaving = w.stopping[seen[n].Name]
		}
		o.Seen, o.Err, o.Instances, o.Troubles = true, "", seen, p.troubles
	})
}

// retire drains and stops a container, beside the other work.
func (w *worker) retire(ctx context.Context, i Instance, gently bool) {
	w.mu.Lock()
	busy := w.stopping[i.Name]
	w.stopping[i.Name] = true
	w.mu.Unlock()
	if busy {
		return
	}
	w.stops.Go(func() {
		defer w.poke()
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.stopping, i.Name)
		}()
		if gently {
			w.drain(ctx, i)
		}
		if err := w.agent.cfg.Runtime.Stop(ctx, i.Name, w.agent.cfg.StopTime); err != nil && ctx.Err() == nil {
			w.agent.cfg.Logger.WarnContext(ctx, "container not stopped", slog.Any("lease", w.id), slog.String("container", i.Name), slog.Any("err", err))
			sleep(ctx, errorPause)
		}
	})
}

// drain waits for a replica's clients. The observation that says it is leaving
// has been published, or is about to be: a short pause covers that.
func (w *worker) drain(ctx context.Context, i Instance) {
	const settle = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, w.agent.cfg.DrainTime)
	defer cancel()
	sleep(ctx, settle)
	w.agent.cfg.Drain(ctx, w.id, i.Service, i.Address)
}

// remove takes a container away, with the volumes that lived as long as it.
func (w *worker) remove(ctx context.Context, i Instance) error {
	if err := w.agent.cfg.Runtime.Remove(ctx, i.Name); err != nil || len(i.volumes) == 0 {
		return err
	}
	return w.removeVolumes(ctx, func(name string) bool { return slices.Contains(i.volumes, name) })
}

// sweep removes volumes whose container is gone: what an agent that was killed
// left behind.
func (w *worker) sweep(ctx context.Context, seen []Instance) error {
	return w.removeVolumes(ctx, func(name string) bool {
		used := func(i Instance) bool { return slices.Contains(i.volumes, name) }
		return strings.HasPrefix(name, ephemeralPrefix(w.id)) && !slices.ContainsFunc(seen, used)
	})
}

// finish removes what a workload leaves behind when its containers are gone.
func (w *worker) finish(ctx context.Context, seen []Instance) error {
	if len(seen) > 0 {
		return nil // stopping or just removed: it is looked at again
	}
	if err := w.agent.cfg.Runtime.DeleteNetwork(ctx, networkName(w.id)); err != nil {
		return err
	}
	if err := w.removeVolumes(ctx, func(string) bool { return true }); err != nil {
		return err
	}
	w.change(func(o *Observation) { o.Gone = true })
	return nil
}

// removeVolumes removes those of the lease's volumes that match.
func (w *worker) removeVolumes(ctx context.Context, match func(string) bool) error {
	v, ok := w.agent.cfg.Runtime.(runtime.VolumeRemover)
	if !ok {
		return nil
	}
	names, err := v.Volumes(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, w.prefix) && match(name) {
			if err := v.RemoveVolume(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare makes the network and brings its rules and names up to date.
func (w *worker) prepare(ctx context.Context, want *Workload, seen []Instance, p plan) error {
	rt := w.agent.cfg.Runtime
	if !w.network && (len(p.starts) > 0 || len(seen) > 0) {
		if _, err := rt.EnsureNetwork(ctx, networkName(w.id)); err != nil {
			return err
		}
		w.network, w.hosts, w.policy = true, nil, nil
	}
	if err := w.enforce(ctx, want.Policy); err != nil {
		return err
	}
	hosts := hostsOf(seen)
	if !w.network || w.hosts != nil && maps.EqualFunc(w.hosts, hosts, slices.Equal) {
		return nil
	}
	if err := rt.SetHosts(ctx, networkName(w.id), hosts); err != nil {
		if errors.Is(err, runtime.ErrNotFound) {
			w.network = false
		}
		return err
	}
	w.hosts = hosts
	return nil
}

// enforce puts a policy into force if the network is there and has another.
func (w *worker) enforce(ctx context.Context, p *netpolicy.Policy) error {
	enforcer, ok := w.agent.cfg.Runtime.(runtime.PolicyEnforcer)
	if !ok || !w.network || p == nil || p == w.policy {
		return nil
	}
	if err := enforcer.SetPolicy(ctx, networkName(w.id), p); err != nil {
		if errors.Is(err, runtime.ErrNotFound) {
			w.network = false
		}
		return err
	}
	w.policy = p
	return nil
}

// hostsOf gives every service's name the addresses of its replicas: those that
// are ready, or those that run while none is.
func hostsOf(seen []Instance) map[string][]netip.Addr {
	ready, running := make(map[string][]netip.Addr), make(map[string][]netip.Addr)
	for _, i := range seen {
		if !i.Running() || !i.Address.IsValid() {
			continue
		}
		running[i.Service] = append(running[i.Service], i.Address)
		if i.Ready && !i.Leaving {
			ready[i.Service] = append(ready[i.Service], i.Address)
		}
	}
	for name, addrs := range running {
		if ready[name] == nil {
			ready[name] = addrs
		}
	}
	return ready
}
