package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
)

// Defaults and bounds of [Config].
const (
	// DefaultAttempts spread over about six seconds with the default delays.
	DefaultAttempts = 7
	// MaxAttempts bounds Config.Attempts.
	MaxAttempts = 100
	// DefaultBaseDelay is before the second attempt; it doubles from there.
	DefaultBaseDelay = 100 * time.Millisecond
	// DefaultMaxDelay bounds the doubling.
	DefaultMaxDelay = 3 * time.Second
	// DefaultPollInterval is between two looks at a driver that cannot watch.
	DefaultPollInterval = time.Second
)

// Config tunes a [Cluster]. The zero value is the default everywhere.
type Config struct {
	// Attempts is how often a call that fails with a transient error is made in
	// all, 1 to [MaxAttempts]; 0 means [DefaultAttempts].
	Attempts int
	// BaseDelay is before the second attempt and doubles up to MaxDelay. 0 means
	// [DefaultBaseDelay] and [DefaultMaxDelay].
	BaseDelay, MaxDelay time.Duration
	// PollInterval is how often a driver that cannot watch is asked; 0 means
	// [DefaultPollInterval].
	PollInterval time.Duration
	// Rand shortens delays by up to a half, so that many leases do not come back
	// at the same moment. nil means a source of its own.
	Rand *rand.Rand
	// Logger gets what is tried again, at debug level. nil discards.
	Logger *slog.Logger
}

// Cluster runs workloads on one cluster. It is safe for concurrent use.
type Cluster struct {
	driver  driver.Driver
	cfg     Config
	log     *slog.Logger
	locks   locks
	applied applied

	randMu sync.Mutex // guards cfg.Rand
}

// New wraps a driver. The cluster owns it from now on: [Cluster.Close] closes
// it. The error names every fault of the configuration.
func New(d driver.Driver, cfg Config) (*Cluster, error) {
	if d == nil {
		return nil, errors.New("cluster: driver is nil")
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Cluster{
		driver: d, cfg: cfg, log: cfg.Logger,
		locks: newLocks(), applied: newApplied(),
	}, nil
}

// complete checks the configuration and enters the defaults.
func (c *Config) complete() error {
	var faults []error
	check := func(ok bool, text string) {
		if !ok {
			faults = append(faults, errors.New("cluster: config: "+text))
		}
	}
	check(c.Attempts >= 0 && c.Attempts <= MaxAttempts, fmt.Sprintf("attempts must be 0 to %d", MaxAttempts))
	check(c.BaseDelay >= 0 && c.MaxDelay >= 0, "delays must not be negative")
	check(c.PollInterval >= 0, "poll interval must not be negative")
	c.Attempts = orDefault(c.Attempts, DefaultAttempts)
	c.BaseDelay = orDefault(c.BaseDelay, DefaultBaseDelay)
	c.MaxDelay = max(orDefault(c.MaxDelay, DefaultMaxDelay), c.BaseDelay)
	c.PollInterval = orDefault(c.PollInterval, DefaultPollInterval)
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(faults...)
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Error is what every method of [Cluster] returns on failure.
type Error struct {
	// Op is the method in lower case, for example "apply".
	Op string
	// Lease is the zero value where the operation is about no lease.
	Lease market.LeaseID
	Err   error
}

// Error implements error.
func (e *Error) Error() string {
	about := e.Op
	if e.Lease != (market.LeaseID{}) {
		about += " " + e.Lease.String()
	}
	return "cluster: " + about + ": " + strings.TrimPrefix(e.Err.Error(), "cluster: ")
}

// Unwrap gives the driver's error, or that of the context.
func (e *Error) Unwrap() error { return e.Err }

// wrap makes an error of a method, once.
func wrap(op string, id market.LeaseID, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op, id, err}
}

// Apply makes w the desired state of its lease and returns once the cluster has
// accepted it durably; see [Cluster.WaitReady]. A revision below the one this
// Cluster applied last is ignored without error; the same revision with another
// hash is ErrConflict. w is not retained.
func (c *Cluster) Apply(ctx context.Context, w driver.Workload) error {
	if err := w.Validate(); err != nil {
		return wrap("apply", w.Lease, err)
	}
	unlock, err := c.locks.lock(ctx, w.Lease)
	if err != nil {
		return wrap("apply", w.Lease, err)
	}
	defer unlock()
	if done, err := c.applied.check(w); done || err != nil {
		return wrap("apply", w.Lease, err)
	}
	w = w.Clone()
	if err := c.retry(ctx, "apply", func() error { return c.driver.Apply(ctx, w) }); err != nil {
		return wrap("apply", w.Lease, err)
	}
	c.applied.note(w)
	return nil
}

// Delete removes everything of a lease and returns when it is gone. Nothing to
// remove is no error.
func (c *Cluster) Delete(ctx context.Context, id market.LeaseID) error {
	unlock, err := c.locks.lock(ctx, id)
	if err != nil {
		return wrap("delete", id, err)
	}
	defer unlock()
	err = c.retry(ctx, "delete", func() error { return c.driver.Delete(ctx, id) })
	if err == nil {
		c.applied.forget(id)
	}
	return wrap("delete", id, err)
}

// Status reports what is observed of a lease, or ErrNotFound.
func (c *Cluster) Status(ctx context.Context, id market.LeaseID) (driver.Status, error) {
	var s driver.Status
	err := c.retry(ctx, "status", func() (err error) {
		s, err = c.driver.Status(ctx, id)
		return err
	})
	return s, wrap("status", id, err)
}

// List returns every lease with anything on the cluster, sorted by its text.
func (c *Cluster) List(ctx context.Context) ([]market.LeaseID, error) {
	var ids []market.LeaseID
	err := c.retry(ctx, "list", func() (err error) {
		ids, err = c.driver.List(ctx)
		return err
	})
	return ids, wrap("list", market.LeaseID{}, err)
}

// Nodes returns capacity and allocatable resources per node, sorted by name.
func (c *Cluster) Nodes(ctx context.Context) ([]inventory.Node, error) {
	var nodes []inventory.Node
	err := c.retry(ctx, "nodes", func() (err error) {
		nodes, err = c.driver.Nodes(ctx)
		return err
	})
	return nodes, wrap("nodes", market.LeaseID{}, err)
}

// Close closes the driver. Workloads go on. A second call does nothing.
func (c *Cluster) Close() error { return wrap("close", market.LeaseID{}, c.driver.Close()) }

// unsupported is the error for an ability that the driver does not have.
func unsupported(op string, id market.LeaseID) error {
	return wrap(op, id, fmt.Errorf("this cluster cannot: %w", errors.ErrUnsupported))
}

// Logs yields what the workload prints, see [driver.LogStreamer]. A driver that
// cannot is [errors.ErrUnsupported]. A line without a failure is never followed
// by a repetition: a stream that breaks ends with its error.
func (c *Cluster) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	return func(yield func(driver.LogLine, error) bool) {
		l, ok := c.driver.(driver.LogStreamer)
		if !ok {
			yield(driver.LogLine{}, unsupported("logs", id))
			return
		}
		for line, err := range l.Logs(ctx, id, o) {
			if err == nil && (line.Time.Before(o.Since) || o.Replica != nil && line.Replica != *o.Replica) {
				continue
			}
			if !yield(line, wrap("logs", id, err)) || err != nil {
				return
			}
		}
	}
}

// Exec runs a command in a replica and returns its exit code, see
// [driver.Execer]. It is never repeated. A driver that cannot is
// [errors.ErrUnsupported].
func (c *Cluster) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	e, ok := c.driver.(driver.Execer)
	if !ok {
		return 0, unsupported("exec", id)
	}
	if len(x.Command) == 0 || len(x.Command) > driver.MaxArguments {
		return 0, wrap("exec", id, fmt.Errorf("%w: a command has 1 to %d words", driver.ErrInvalid, driver.MaxArguments))
	}
	code, err := e.Exec(ctx, id, x)
	return code, wrap("exec", id, err)
}

// HostnameOwner returns the lease that has a name, or ErrNotFound. A driver
// that does not route by name is [errors.ErrUnsupported].
func (c *Cluster) HostnameOwner(ctx context.Context, hostname string) (market.LeaseID, error) {
	h, ok := c.driver.(driver.ExclusiveHostnames)
	if !ok {
		return market.LeaseID{}, unsupported("hostname-owner", market.LeaseID{})
	}
	var id market.LeaseID
	err := c.retry(ctx, "hostname-owner", func() (err error) {
		id, err = h.HostnameOwner(ctx, strings.ToLower(hostname))
		return err
	})
	return id, wrap("hostname-owner", market.LeaseID{}, err)
}
