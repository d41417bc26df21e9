package policyagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Config says what an [Agent] works with. Client and Apply are required.
type Config struct {
	Client kubernetes.Interface
	// Node limits the rules to the pods of one node; "" is all.
	Node string
	// Apply runs a script as "nft -f -" does, in the node's network namespace.
	Apply func(ctx context.Context, script string) error
	// Logger may be nil.
	Logger *slog.Logger
}

// Agent keeps the rules of one node as the objects say.
//
// Goroutines: those of the informers; all end before [Agent.Run] returns.
type Agent struct {
	cfg   Config
	log   *slog.Logger
	kick  chan struct{} // has room for one
	count atomic.Int64
}

// retryPause is after a failure to change the rules.
const retryPause = 200 * time.Millisecond

// New makes an agent that does nothing yet.
func New(cfg Config) (*Agent, error) {
	if cfg.Client == nil || cfg.Apply == nil {
		return nil, errors.New("policyagent: client and apply are required")
	}
	a := &Agent{cfg: cfg, log: cfg.Logger, kick: make(chan struct{}, 1)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// Applied counts how often the rules were changed.
func (a *Agent) Applied() int64 { return a.count.Load() }

// Run works until the context ends, then takes the rules out.
func (a *Agent) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(a.cfg.Client, 0)
	pods, namespaces, policies := factory.Core().V1().Pods(), factory.Core().V1().Namespaces(), factory.Networking().V1().NetworkPolicies()
	poke := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { a.poke() }, UpdateFunc: func(any, any) { a.poke() }, DeleteFunc: func(any) { a.poke() },
	}
	for _, i := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := i.AddEventHandler(poke); err != nil {
			return fmt.Errorf("policyagent: %w", err)
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok && ctx.Err() == nil {
			return fmt.Errorf("policyagent: cannot list %s", kind)
		}
	}
	a.poke()
	err := a.loop(ctx, func() (Objects, error) {
		var o Objects
		var err1, err2, err3 error
		o.Pods, err1 = pods.Lister().List(labels.Everything())
		o.Namespaces, err2 = namespaces.Lister().List(labels.Everything())
		o.Policies, err3 = policies.Lister().List(labels.Everything())
		return o, errors.Join(err1, err2, err3)
	})
	remove := fmt.Sprintf("table inet %s\ndelete table inet %s\n", Table, Table)
	return errors.Join(err, a.cfg.Apply(context.WithoutCancel(ctx), remove))
}

func (a *Agent) poke() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// loop brings the rules up to date after every change.
func (a *Agent) loop(ctx context.Context, list func() (Objects, error)) error {
	last := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.kick:
		}
		o, err := list()
		if err != nil {
			return fmt.Errorf("policyagent: %w", err)
		}
		script, err := Render(o, a.cfg.Node)
		if err == nil && script != last {
			err = a.cfg.Apply(ctx, script)
		}
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // what failed was cut short
		case err != nil:
			a.log.ErrorContext(ctx, "policies are not in force", slog.Any("err", err))
			time.AfterFunc(retryPause, a.poke)
		case script != last:
			last = script
			a.count.Add(1)
		}
	}
}
