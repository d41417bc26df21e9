package provider

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// Cluster is what a provider needs of the machines it sells. A
// [github.com/moorage-dev/moorage/cluster.Cluster] is one. If it is also a
// [driver.Watcher], [driver.NodeWatcher], [driver.LogStreamer] or [driver.Execer],
// those are used.
type Cluster interface {
	Apply(ctx context.Context, w driver.Workload) error
	Delete(ctx context.Context, id market.LeaseID) error
	Status(ctx context.Context, id market.LeaseID) (driver.Status, error)
	List(ctx context.Context) ([]market.LeaseID, error)
	Nodes(ctx context.Context) ([]inventory.Node, error)
}

// Defaults of [Config].
const (
	DefaultManifestTimeout  = 5 * time.Minute
	DefaultBidTimeout       = 5 * time.Minute
	DefaultUnhealthyTimeout = 15 * time.Minute
	DefaultPendingTimeout   = time.Hour
	DefaultUnknownTimeout   = 24 * time.Hour
	DefaultWithdrawEvery    = time.Hour
	DefaultWithdrawBefore   = 10 * time.Minute
	DefaultWarnBefore       = time.Hour
	DefaultInventoryEvery   = 30 * time.Second
	DefaultResyncEvery      = 5 * time.Minute
	DefaultWorkers          = 8
	DefaultBidWorkers       = 128
	DefaultStaleAfter       = 2 * time.Minute
)

// Config says what a provider joins and how it behaves. Market, Cluster and
// Pricer are required.
type Config struct {
	// Market signs for the provider's account.
	Market market.Client
	// Cluster runs the workloads.
	Cluster Cluster
	// Pricer sets the prices.
	Pricer bidengine.Pricer
	// Store keeps what must outlive the process; nil means [NewMemStore]. The
	// caller closes it after Run.
	Store Store

	// HostURI is where the gateway is reached: https, a host, an optional port.
	HostURI string
	// Attributes, Email and Website are published with it.
	Attributes     market.Attributes
	Email, Website string
	// Addresses says which public addresses are leased; nil leases none. What their
	// pools have is added to the published attributes.
	Addresses *Addresses
	// Overcommit says how much more than it has may be promised.
	Overcommit inventory.Overcommit

	// ManifestTimeout is how long a tenant has to send the manifest of a lease.
	ManifestTimeout time.Duration
	// BidTimeout is how long a bid stands before it is withdrawn.
	BidTimeout time.Duration
	// UnhealthyTimeout is how long a workload may fail, without a moment of
	// health, before its lease is closed. A workload that cannot be seen does not
	// count as failing.
	UnhealthyTimeout time.Duration
	// PendingTimeout is how long a workload may take until it runs.
	PendingTimeout time.Duration
	// UnknownTimeout is how long a workload may be out of sight before its lease
	// is closed: nobody can say that the tenant gets what is paid for. Choose it
	// longer than any outage you mean to survive; negative is for ever.
	UnknownTimeout time.Duration
	// WithdrawEvery is how often earnings are withdrawn; soon after the start those
	// are that were not settled for so long. They are also withdrawn WithdrawBefore a tenant's
	// funds run out.
	WithdrawEvery, WithdrawBefore time.Duration
	// WarnBefore is how long before a tenant's funds run out [EventRunsDry] comes.
	WarnBefore time.Duration
	// InventoryEvery is how often the nodes are read without news of them.
	InventoryEvery time.Duration
	// ResyncEvery is how often everything is looked at without news.
	ResyncEvery time.Duration
	// StaleAfter is how long the market or the cluster may be out of sight before
	// the provider says that it is not ready.
	StaleAfter time.Duration
	// Workers is how many leases are worked on at a time, BidWorkers how many
	// orders: most of those wait for a block or for a price.
	Workers, BidWorkers int
	// Drain starts without making new bids, see [Provider.Drain]. Without it a
	// provider starts as it was, if its store is a [DrainStore].
	Drain bool

	// Observer may be nil.
	Observer Observer
	// Logger nil discards.
	Logger *slog.Logger
}

// withDefaults fills in what is zero and reports every fault.
func (c Config) withDefaults() (Config, error) {
	var faults *multierror.Error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = multierror.Append(faults, fmt.Errorf(format, args...))
		}
	}
	need(c.Market != nil, "Market is missing")
	need(c.Cluster != nil, "Cluster is missing")
	need(c.Pricer != nil, "Pricer is missing")
	u, err := url.Parse(c.HostURI)
	need(err == nil && u.Scheme == "https" && u.Host != "" && u.Path == "",
		"HostURI %q: want https, a host and no path", c.HostURI)
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"ManifestTimeout", &c.ManifestTimeout, DefaultManifestTimeout},
		{"BidTimeout", &c.BidTimeout, DefaultBidTimeout},
		{"UnhealthyTimeout", &c.UnhealthyTimeout, DefaultUnhealthyTimeout},
		{"PendingTimeout", &c.PendingTimeout, DefaultPendingTimeout},
		{"WithdrawEvery", &c.WithdrawEvery, DefaultWithdrawEvery},
		{"WithdrawBefore", &c.WithdrawBefore, DefaultWithdrawBefore},
		{"WarnBefore", &c.WarnBefore, DefaultWarnBefore},
		{"StaleAfter", &c.StaleAfter, DefaultStaleAfter},
		{"InventoryEvery", &c.InventoryEvery, DefaultInventoryEvery},
		{"ResyncEvery", &c.ResyncEvery, DefaultResyncEvery},
	} {
		need(*d.value >= 0, "%s %s: must not be negative", d.name, *d.value)
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	need(c.Workers >= 0, "Workers %d: must not be negative", c.Workers)
	need(c.BidWorkers >= 0, "BidWorkers %d: must not be negative", c.BidWorkers)
	c.Workers, c.BidWorkers = cmp.Or(c.Workers, DefaultWorkers), cmp.Or(c.BidWorkers, DefaultBidWorkers)
	c.UnknownTimeout = cmp.Or(c.UnknownTimeout, DefaultUnknownTimeout)
	if c.Store == nil {
		c.Store = NewMemStore()
	}
	err = c.Addresses.validate(c.Store)
	need(err == nil, "%v", err)
	if err == nil {
		c.Attributes = c.Addresses.publish(c.Attributes)
	}
	if c.Observer == nil {
		c.Observer = ObserverFunc(func(Event) {})
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if faults != nil {
		return c, fmt.Errorf("provider: config: %w", faults)
	}
	return c, nil
}
