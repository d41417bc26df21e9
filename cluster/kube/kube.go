package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/internal/hub"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/netpolicy"
)

var (
	_ driver.Driver             = (*Driver)(nil)
	_ driver.Watcher            = (*Driver)(nil)
	_ driver.LogStreamer        = (*Driver)(nil)
	_ driver.Execer             = (*Driver)(nil)
	_ driver.ExclusiveHostnames = (*Driver)(nil)
	_ driver.NodeWatcher        = (*Driver)(nil)
)

// errNotReady is why methods fail until the cluster has been seen.
var errNotReady = errors.New("kube: the cluster has not been seen yet")

// Driver is a driver for a Kubernetes cluster. It is safe for concurrent use.
//
// Goroutines: [Driver.Run] has those of the watches, one that looks whether the
// server answers, and the workers that bring leases in order; all end before Run
// returns.
type Driver struct {
	cfg    Config
	log    *slog.Logger
	opts   *render.Options
	rest   *rest.Config
	client kubernetes.Interface
	dyn    dynamic.Interface

	hub hub.Hub
	// nodeHub tells of the inventory, under no lease.
	nodeHub hub.Hub
	queue   workqueue.TypedRateLimitingInterface[market.LeaseID]
	ready   chan struct{} // closed when store is there and records are read
	closed  chan struct{}
	once    sync.Once
	seen    atomic.Int64 // when the server last answered, in Unix nanoseconds

	nodesOld     atomic.Bool // the ledger's nodes are to be read anew
	surroundings atomic.Pointer[netpolicy.Surroundings]

	mu      sync.Mutex // guards all below, and the fields of records that say so
	store   *store
	records map[market.LeaseID]*record
	byNS    map[string]market.LeaseID
	ledger  *inventory.Ledger
	ran     bool
	cancel  context.CancelFunc
	done    chan struct{}
}

// New makes a driver. It starts nothing and asks the server nothing; call
// [Driver.Run]. Until the cluster has been seen ([Driver.Ready]) methods return
// a [driver.TransientError]. The error names every fault of the configuration.
func New(cfg Config) (*Driver, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, log: cfg.Logger, opts: cfg.options(), rest: rest.CopyConfig(cfg.REST),
		ready: make(chan struct{}), closed: make(chan struct{}), done: make(chan struct{}),
		records: make(map[market.LeaseID]*record), byNS: make(map[string]market.LeaseID),
	}
	if cfg.Policies != nil {
		d.opts.Policies = func(w driver.Workload) ([]render.Object, error) {
			return d.renderPolicies(render.FrameOf(d.opts, w), w)
		}
	}
	if d.rest.QPS == 0 {
		d.rest.QPS, d.rest.Burst = DefaultQPS, 2*DefaultQPS
	}
	if d.rest.UserAgent == "" {
		d.rest.UserAgent = render.FieldManager
	}
	var err error
	if d.ledger, err = inventory.New(nil, cfg.Overcommit); err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	// Built-in kinds come in the compact form, others in JSON.
	compact := rest.CopyConfig(d.rest)
	compact.ContentType = "application/vnd.kubernetes.protobuf"
	compact.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	if d.client, err = kubernetes.NewForConfig(compact); err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	if d.dyn, err = dynamic.NewForConfig(d.rest); err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	d.queue = workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[market.LeaseID](firstDelay, lastDelay))
	d.nodesOld.Store(true)
	return d, nil
}

// Delays before a lease that could not be brought in order is tried again.
const (
	firstDelay = 200 * time.Millisecond
	lastDelay  = time.Minute
)

// Ready is closed when the cluster has been seen and the leases on it are known.
func (d *Driver) Ready() <-chan struct{} { return d.ready }

// Run works until the context ends or the driver is closed. It waits for a
// cluster that cannot be reached. The error says what makes working impossible.
// It may be called once.
func (d *Driver) Run(ctx context.Context) error {
	d.mu.Lock()
	select {
	case <-d.closed:
		d.mu.Unlock()
		return driver.ErrClosed
	default:
	}
	if d.ran {
		d.mu.Unlock()
		return errors.New("kube: has been run before; make another")
	}
	d.ran = true
	ctx, d.cancel = context.WithCancel(ctx)
	d.mu.Unlock()
	defer close(d.done)
	defer d.cancel()
	defer d.queue.ShutDown()
	if err := d.open(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.heartbeat(ctx) })
	wg.Go(func() { d.store.run(ctx, func() { d.begin(ctx, &wg) }) })
	<-ctx.Done()
	d.queue.ShutDown()
	return nil
}

// open finds out what the cluster can, and makes the watches. It waits for a
// server that does not answer.
func (d *Driver) open(ctx context.Context) error {
	dra, err := d.discover(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	s, err := newStore(d.client, d.dyn, &d.cfg, dra)
	if err != nil {
		return err
	}
	if err := d.handle(s); err != nil {
		return err
	}
	d.mu.Lock()
	d.store = s
	d.mu.Unlock()
	return nil
}

// discover reports whether the cluster has dynamic resource allocation. That it
// lacks a kind that the configuration needs is an error.
func (d *Driver) discover(ctx context.Context) (dra bool, err error) {
	delay := firstDelay
	for {
		dra, err = d.serves(render.ClaimTemplates())
		if err == nil && d.cfg.Router.Gateway != nil {
			var ok bool
			if ok, err = d.serves(render.Routes()); err == nil && !ok {
				return false, errors.New("kube: config: a gateway is configured, but the cluster has no HTTPRoutes: install the Gateway API")
			}
		}
		if err == nil {
			d.touch()
			return dra, nil
		}
		d.log.WarnContext(ctx, "the API server cannot be asked; trying again", slog.Any("err", err))
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false, nil
		}
		delay = min(2*delay, d.cfg.StaleAfter)
	}
}

// serves reports whether the cluster knows a kind.
func (d *Driver) serves(k render.Kind) (bool, error) {
	list, err := d.client.Discovery().ServerResourcesForGroupVersion(k.APIVersion())
	if err != nil {
		if discovery.IsGroupDiscoveryFailedError(err) || transient(err) {
			return false, err
		}
		return false, nil
	}
	for _, r := range list.APIResources {
		if r.Name == k.Resource {
			return true, nil
		}
	}
	return false, nil
}

// begin reads the workloads that the cluster keeps and starts the workers.
func (d *Driver) begin(ctx context.Context, wg *sync.WaitGroup) {
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		err := d.restore(ctx)
		if err == nil {
			break
		}
		d.log.WarnContext(ctx, "workloads cannot be read; trying again", slog.Any("err", err))
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
	d.touch()
	d.look() // the watches have seen all nodes
	close(d.ready)
	for range d.cfg.Workers {
		wg.Go(func() { d.work(ctx) })
	}
}

// touch notes that the server has answered.
func (d *Driver) touch() { d.seen.Store(time.Now().UnixNano()) }

// heartbeat looks whether the server answers. When it does again after it did
// not, every lease is looked at.
func (d *Driver) heartbeat(ctx context.Context) {
	tick := time.NewTicker(d.cfg.StaleAfter / 6)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		probe, cancel := context.WithTimeout(ctx, d.cfg.StaleAfter/3)
		err := d.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(probe).Error()
		cancel()
		if err != nil {
			d.log.DebugContext(ctx, "the API server does not answer", slog.Any("err", err))
			continue
		}
		if before := d.age(); before > d.cfg.StaleAfter {
			d.enqueueAll()
		}
		d.touch()
	}
}

// age is how long ago the server answered.
func (d *Driver) age() time.Duration { return time.Since(time.Unix(0, d.seen.Load())) }

// check makes the checks that every method begins with.
func (d *Driver) check(ctx context.Context) error {
	select {
	case <-d.closed:
		return driver.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-d.ready:
	default:
		return &driver.TransientError{Err: errNotReady}
	}
	if age := d.age(); age > d.cfg.StaleAfter {
		return &driver.TransientError{Err: fmt.Errorf("kube: the API server has not answered for %s", age.Round(time.Second))}
	}
	return nil
}

// Close ends Run, waits for it, and makes every other method return
// [driver.ErrClosed]. Workloads go on. A second call does nothing.
func (d *Driver) Close() error {
	d.once.Do(func() {
		close(d.closed)
		d.mu.Lock()
		ran, cancel := d.ran, d.cancel
		d.mu.Unlock()
		if ran {
			cancel()
			<-d.done
		}
		d.queue.ShutDown()
		d.hub.Close()
		d.nodeHub.Close()
	})
	return nil
}

// handle subscribes to changes.
func (d *Driver) handle(s *store) error {
	ours := func(changed func(m metav1.Object, gone bool)) cache.ResourceEventHandlerFuncs {
		return cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { told(obj, false, changed) },
			UpdateFunc: func(_, obj any) { told(obj, false, changed) },
			DeleteFunc: func(obj any) { told(obj, true, changed) },
		}
	}
	subscribe := func(informer cache.SharedIndexInformer, changed func(m metav1.Object, gone bool)) error {
		_, err := informer.AddEventHandler(ours(changed))
		return err
	}
	var errs []error
	for name, informer := range s.kinds {
		errs = append(errs, subscribe(informer, func(m metav1.Object, gone bool) { d.changed(name, m, gone) }))
	}
	errs = append(errs,
		subscribe(s.pods, d.podChanged),
		subscribe(s.claims, func(m metav1.Object, _ bool) { d.publish(m.GetNamespace()) }),
		subscribe(s.refused, func(m metav1.Object, _ bool) { d.publish(m.GetNamespace()) }))
	if s.servers != nil {
		look := func(metav1.Object, bool) { d.look() }
		errs = append(errs, subscribe(s.servers, look), subscribe(s.nodes, look))
	}
	nodes := func(metav1.Object, bool) { d.nodesChanged() }
	for _, informer := range []cache.SharedIndexInformer{s.nodes, s.classes, s.space, s.devices, s.slices} {
		if informer != nil {
			errs = append(errs, subscribe(informer, nodes))
		}
	}
	return errors.Join(errs...)
}

// told unwraps what an informer says.
func told(obj any, gone bool, changed func(m metav1.Object, gone bool)) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	if m, ok := obj.(metav1.Object); ok {
		changed(m, gone)
	}
}
