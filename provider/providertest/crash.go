package providertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/iplease"
	ipdriver "github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
)

// ErrCrashed is what a provider gets for every call after its crash.
var ErrCrashed = errors.New("providertest: the provider has crashed")

// Crasher stands between one provider and its market, cluster, store and
// announcer. It counts the steps with which the provider changes the world (a
// submission, a workload applied or deleted, a record saved or removed, an address
// announced or withdrawn), and at a chosen one
// the provider dies: from then on nothing that it does has an effect. It is safe
// for concurrent use.
type Crasher struct {
	at    int
	after bool
	kill  func()

	mu    sync.Mutex // guards all below
	steps int
	last  string
	dead  bool
}

// NewCrasher makes a crasher that lets the provider die at step number at, from
// 1; 0 is never. With after the step is still carried out, without it not. kill
// is called at that moment, once, and must not wait for the provider.
func NewCrasher(at int, after bool, kill func()) *Crasher {
	return &Crasher{at: at, after: after, kill: kill}
}

// Steps returns how many steps were begun, and Last the name of the newest.
func (c *Crasher) Steps() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steps
}

// Last names the step that was begun last, for example "apply".
func (c *Crasher) Last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Crashed reports whether the provider has died.
func (c *Crasher) Crashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// Bury makes sure that nothing of a provider that has ended does a step any more:
// calls from outside that it was in the middle of would go on otherwise, which in a
// process of its own they could not.
func (c *Crasher) Bury() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

// alive is asked before whatever changes nothing.
func (c *Crasher) alive() error {
	if c.Crashed() {
		return fmt.Errorf("%w: %w", ErrCrashed, market.ErrUnavailable)
	}
	return nil
}

// step carries out a step, or lets the provider die at it.
func (c *Crasher) step(name string, do func() error) error {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return c.alive()
	}
	c.steps++
	c.last = name
	now := c.steps == c.at
	if now && !c.after {
		c.dead = true
	}
	c.mu.Unlock()
	if !now {
		return do()
	}
	if c.after {
		_ = do() // what came of it nobody hears
		c.mu.Lock()
		c.dead = true
		c.mu.Unlock()
	}
	c.kill()
	return c.alive()
}

// Market returns a client that counts and crashes.
func (c *Crasher) Market(m market.Client) market.Client { return crashMarket{m, c} }

type crashMarket struct {
	market.Client
	c *Crasher
}

// Submit implements [market.Writer].
func (m crashMarket) Submit(ctx context.Context, msgs ...market.Msg) (r market.Receipt, err error) {
	err = m.c.step(fmt.Sprintf("submit %T", msgs[0]), func() (err error) {
		r, err = m.Client.Submit(ctx, msgs...)
		return err
	})
	return r, err
}

// Store returns a store that counts and crashes. The caller goes on owning s. It is
// a [provider.AddressStore]; if s is none, that is [errors.ErrUnsupported].
func (c *Crasher) Store(s provider.Store) provider.Store { return crashStore{s, c} }

type crashStore struct {
	provider.Store
	c *Crasher
}

// Save implements [provider.Store].
func (s crashStore) Save(records ...provider.Record) error {
	return s.c.step("save", func() error { return s.Store.Save(records...) })
}

// Remove implements [provider.Store].
func (s crashStore) Remove(id market.LeaseID) error {
	return s.c.step("remove", func() error { return s.Store.Remove(id) })
}

// SaveClaims implements [provider.AddressStore].
func (s crashStore) SaveClaims(records ...iplease.Record) error {
	inner, ok := s.Store.(provider.AddressStore)
	if !ok {
		return errors.ErrUnsupported
	}
	return s.c.step("save claims", func() error { return inner.SaveClaims(records...) })
}

// LoadClaims implements [provider.AddressStore].
func (s crashStore) LoadClaims() ([]iplease.Record, error) {
	if inner, ok := s.Store.(provider.AddressStore); ok {
		return inner.LoadClaims()
	}
	return nil, errors.ErrUnsupported
}

// Announcer returns an announcer that counts and crashes. The caller goes on
// owning a. Its optional abilities are those of a; what a cannot do is
// [errors.ErrUnsupported].
func (c *Crasher) Announcer(a ipdriver.Announcer) ipdriver.Announcer { return crashAnnouncer{a, c} }

type crashAnnouncer struct {
	ipdriver.Announcer
	c *Crasher
}

// Apply implements [ipdriver.Announcer].
func (a crashAnnouncer) Apply(ctx context.Context, n ipdriver.Announcement) error {
	return a.c.step("announce", func() error { return a.Announcer.Apply(ctx, n) })
}

// Withdraw implements [ipdriver.Announcer].
func (a crashAnnouncer) Withdraw(ctx context.Context, id iplease.ClaimID) error {
	return a.c.step("withdraw", func() error { return a.Announcer.Withdraw(ctx, id) })
}

// Watch implements [ipdriver.Watcher].
func (a crashAnnouncer) Watch(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
	if w, ok := a.Announcer.(ipdriver.Watcher); ok {
		return w.Watch(ctx)
	}
	return func(yield func(iplease.ClaimID, error) bool) { yield(iplease.ClaimID{}, errors.ErrUnsupported) }
}

// CanEgress implements [ipdriver.Egresser].
func (a crashAnnouncer) CanEgress() error {
	if e, ok := a.Announcer.(ipdriver.Egresser); ok {
		return e.CanEgress()
	}
	return errors.ErrUnsupported
}

// CanFilterSources implements [ipdriver.SourceFilterer].
func (a crashAnnouncer) CanFilterSources() error {
	if f, ok := a.Announcer.(ipdriver.SourceFilterer); ok {
		return f.CanFilterSources()
	}
	return errors.ErrUnsupported
}

// Cluster returns a cluster that counts and crashes. Its optional abilities are
// those of k; what k cannot do is [errors.ErrUnsupported].
func (c *Crasher) Cluster(k provider.Cluster) provider.Cluster { return crashCluster{k, c} }

type crashCluster struct {
	provider.Cluster
	c *Crasher
}

// Apply implements [provider.Cluster].
func (k crashCluster) Apply(ctx context.Context, w driver.Workload) error {
	return k.c.step("apply", func() error { return k.Cluster.Apply(ctx, w) })
}

// Delete implements [provider.Cluster].
func (k crashCluster) Delete(ctx context.Context, id market.LeaseID) error {
	return k.c.step("delete", func() error { return k.Cluster.Delete(ctx, id) })
}

// Nodes implements [provider.Cluster].
func (k crashCluster) Nodes(ctx context.Context) ([]inventory.Node, error) {
	if err := k.c.alive(); err != nil {
		return nil, err
	}
	return k.Cluster.Nodes(ctx)
}

// Watch implements [driver.Watcher].
func (k crashCluster) Watch(ctx context.Context) iter.Seq2[market.LeaseID, error] {
	if w, ok := k.Cluster.(driver.Watcher); ok {
		return w.Watch(ctx)
	}
	return func(yield func(market.LeaseID, error) bool) { yield(market.LeaseID{}, errors.ErrUnsupported) }
}

// Logs implements [driver.LogStreamer].
func (k crashCluster) Logs(ctx context.Context, id market.LeaseID, o driver.LogOptions) iter.Seq2[driver.LogLine, error] {
	if l, ok := k.Cluster.(driver.LogStreamer); ok {
		return l.Logs(ctx, id, o)
	}
	return func(yield func(driver.LogLine, error) bool) { yield(driver.LogLine{}, errors.ErrUnsupported) }
}

// Exec implements [driver.Execer].
func (k crashCluster) Exec(ctx context.Context, id market.LeaseID, x driver.Exec) (int, error) {
	if e, ok := k.Cluster.(driver.Execer); ok {
		return e.Exec(ctx, id, x)
	}
	return 0, errors.ErrUnsupported
}

// closer closes what is an [io.Closer].
func closer(v any) error {
	if c, ok := v.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
