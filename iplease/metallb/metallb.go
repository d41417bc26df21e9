package metallb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/moorage-dev/moorage/internal/notify"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
)

var (
	_ driver.Announcer      = (*Announcer)(nil)
	_ driver.Watcher        = (*Announcer)(nil)
	_ driver.SourceFilterer = (*Announcer)(nil)
	_ driver.PoolReporter   = (*Announcer)(nil)
)

// Place is where the pods of a service of a lease are.
type Place struct {
	Namespace string
	// Selector are the labels by which its pods are known.
	Selector map[string]string
	// Labels are put on the Service in that namespace, beside the announcer's own.
	Labels map[string]string
}

// Config of an announcer. Client, Dynamic and Place are needed.
type Config struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Place says where a service of a lease is; it asks nobody and gives the same
	// answer for the same question.
	Place func(lease market.LeaseID, service string) Place
	// Instance tells the claims of several providers on one cluster apart; a DNS
	// label, "" means "default".
	Instance string
	// Namespace holds the anchors; it is made when it is missing. "" means
	// "moorage-addresses".
	Namespace string
	// MetalLB is the namespace of MetalLB's own objects; "" means "metallb-system".
	MetalLB string
	// Class is the load balancer class of the Services; "" means the cluster's default.
	Class string
	// Patience bounds the wait for MetalLB in Apply and Withdraw; 0 means 15 s.
	Patience time.Duration
	// Settle is how long the nodes' proxies are given to take a change over that
	// the API shows; 0 means 1.5 s.
	Settle time.Duration
	// Log; nil discards.
	Log *slog.Logger
}

// Defaults of [Config].
const (
	defaultInstance  = "default"
	defaultNamespace = "moorage-addresses"
	defaultMetalLB   = "metallb-system"
	defaultPatience  = 15 * time.Second
	defaultSettle    = 1500 * time.Millisecond
)

// Announcer announces through MetalLB. It is safe for concurrent use. Without
// [Announcer.Run] it does what it is told and no more; Run mends what others
// change and what could not be done at once.
type Announcer struct {
	cfg    Config
	hub    notify.Hub
	once   sync.Once
	closed chan struct{}
	// applying keeps two claims from taking one address at the same time, and Run
	// from mending what Apply is at.
	applying sync.Mutex
}

// New makes an announcer. It asks the cluster for nothing.
func New(cfg Config) (*Announcer, error) {
	if cfg.Client == nil || cfg.Dynamic == nil || cfg.Place == nil {
		return nil, errors.New("metallb: config: Client, Dynamic and Place are needed")
	}
	for _, d := range []struct {
		field     *string
		otherwise string
	}{{&cfg.Instance, defaultInstance}, {&cfg.Namespace, defaultNamespace}, {&cfg.MetalLB, defaultMetalLB}} {
		if *d.field == "" {
			*d.field = d.otherwise
		}
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Settle == 0 {
		cfg.Settle = defaultSettle
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Announcer{cfg: cfg, closed: make(chan struct{})}, nil
}

// begin makes the checks that every method begins with.
func (a *Announcer) begin(ctx context.Context) error {
	select {
	case <-a.closed:
		return driver.ErrClosed
	default:
		return ctx.Err()
	}
}

// Close implements [driver.Announcer]. MetalLB goes on announcing.
func (a *Announcer) Close() error {
	a.once.Do(func() {
		close(a.closed)
		a.hub.Close()
	})
	return nil
}

// CanFilterSources implements [driver.SourceFilterer]: the nodes' proxies do.
func (*Announcer) CanFilterSources() error { return nil }

// fault makes of an error of the API one of the contract.
func fault(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case apierrors.IsInvalid(err):
		return fmt.Errorf("%w: metallb: %s: %w", driver.ErrInvalid, what, err)
	default:
		return &driver.TransientError{Err: fmt.Errorf("metallb: %s: %w", what, err)}
	}
}

// metallbResource is a kind of object of MetalLB.
func metallbResource(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: name}
}
