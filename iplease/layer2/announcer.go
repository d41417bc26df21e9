package layer2

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moorage-dev/moorage/internal/notify"
	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
	"github.com/moorage-dev/moorage/iplease/layer2/internal/mesh"
)

var (
	_ driver.Announcer      = (*Announcer)(nil)
	_ driver.Watcher        = (*Announcer)(nil)
	_ driver.Egresser       = (*Announcer)(nil)
	_ driver.SourceFilterer = (*Announcer)(nil)
)

// Announcer is one host of a segment. It is safe for concurrent use. Until
// [Announcer.Run] runs, what is applied is kept and nobody answers.
//
// Goroutines: Run has the loop that decides, one that takes addresses, one that
// beats, those of the segment's sockets, those that keep peers in touch and one
// for each peer that tells it news. All end before Run returns.
type Announcer struct {
	cfg   Config
	store *store
	mesh  *mesh.Mesh // nil without peers
	hub   notify.Hub
	open  func(Config, hooks) (plane, error)

	// placing serializes what is done to the plane.
	placing sync.Mutex
	// saving serializes changes of entries with their files. It is taken before mu.
	saving sync.Mutex
	// beaten is when this host was last known not to be frozen, in nanoseconds.
	beaten atomic.Int64
	wake   chan struct{}

	mu      sync.Mutex // guards all below
	claims  map[iplease.ClaimID]*claim
	owners  map[netip.Addr]iplease.ClaimID
	peers   map[string]*peer
	macs    map[string]string // host by hardware address, also of those that are gone
	dirty   map[iplease.ClaimID]bool
	changed chan struct{} // closed at every change
	settled time.Time     // when this host may begin to take addresses
	plane   plane         // while Run runs
	stop    context.CancelFunc
	done    chan struct{}
	closed  bool
}

// Bounds of an [Announcer].
const (
	// applyTime bounds how long Apply and Withdraw wait for rules and peers.
	applyTime = 10 * time.Second
	// maxWithdrawn is how many withdrawals are remembered, so that a host that was
	// away does not bring a claim back.
	maxWithdrawn = 10_000
	// maxClaims bounds what is announced.
	maxClaims = 65_536
)

// New makes the announcer of a host and reads its state directory. It starts
// nothing. The error matches [ErrInUse].
func New(c Config) (*Announcer, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Announcer{
		cfg: c, open: openPlane, wake: make(chan struct{}, 1), claims: map[iplease.ClaimID]*claim{},
		owners: map[netip.Addr]iplease.ClaimID{}, peers: map[string]*peer{}, macs: map[string]string{},
		dirty: map[iplease.ClaimID]bool{}, changed: make(chan struct{}),
	}
	if len(c.Peers) > 0 {
		a.mesh, err = mesh.New(mesh.Config{
			Node: c.Node, Key: c.Key, Listen: c.Listen, Peers: c.Peers, Timeout: c.Timeout,
			Serve: a.serve, Follow: a.follow, Logger: c.Logger,
		})
		if err != nil {
			return nil, fmt.Errorf("layer2: %w", err)
		}
	}
	var entries []entry
	if a.store, entries, err = openStore(c.StateDir, c.Logger); err != nil {
		return nil, err
	}
	for _, e := range entries {
		a.set(e)
	}
	return a, nil
}

// set makes e what is known of its claim. The caller holds mu, or is alone.
func (a *Announcer) set(e entry) {
	c := a.claims[e.Claim]
	if c == nil {
		c = &claim{why: "no host has taken it yet"}
		a.claims[e.Claim] = c
	}
	freed := len(c.Addresses) > 0 && (e.Withdrawn || !slices.Equal(c.Addresses, e.Addresses))
	for _, at := range c.Addresses {
		if a.owners[at] == e.Claim {
			delete(a.owners, at)
		}
	}
	c.entry, c.retry = e, time.Time{}
	a.own(c)
	if e.Withdrawn {
		c.forgettableFrom = time.Now()
		a.forget()
	}
	if freed { // another claim, of hosts that were out of touch, may have waited
		for _, id := range a.sorted() {
			a.own(a.claims[id])
		}
	}
	a.touch(e.Claim)
}

// own gives a claim those of its addresses that no other has.
func (a *Announcer) own(c *claim) {
	if c.Withdrawn {
		return
	}
	for _, at := range c.Addresses {
		if _, taken := a.owners[at]; !taken {
			a.owners[at] = c.Claim
		}
	}
}

// sorted are all claims, also those that are withdrawn.
func (a *Announcer) sorted() []iplease.ClaimID {
	return slices.SortedFunc(maps.Keys(a.claims), func(a, b iplease.ClaimID) int { return cmp.Compare(a.String(), b.String()) })
}

// forget drops the oldest withdrawals when there are too many.
func (a *Announcer) forget() {
	var old []*claim
	for _, c := range a.claims {
		if c.Withdrawn && !c.here() {
			old = append(old, c)
		}
	}
	if len(old) <= maxWithdrawn {
		return
	}
	slices.SortFunc(old, func(a, b *claim) int { return a.forgettableFrom.Compare(b.forgettableFrom) })
	for _, c := range old[:len(old)-maxWithdrawn/2] {
		delete(a.claims, c.Claim)
	}
}

// touch says that something about a claim is different: to the loop, to peers and
// to whoever watches or waits. The caller holds mu.
func (a *Announcer) touch(id iplease.ClaimID) {
	a.dirty[id] = true
	for _, p := range a.peers {
		p.dirty[id] = true
		nudge(p.wake)
	}
	a.broadcast()
	a.hub.Publish(id.String())
}

// broadcast wakes all who wait, and the loop.
func (a *Announcer) broadcast() {
	close(a.changed)
	a.changed = make(chan struct{})
	nudge(a.wake)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// await waits until ok, which is called with mu held.
func (a *Announcer) await(ctx context.Context, ok func() bool) error {
	for {
		a.mu.Lock()
		done, changed := ok(), a.changed
		a.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin makes the checks that every method begins with.
func (a *Announcer) begin(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return driver.ErrClosed
	}
	return ctx.Err()
}

// Status implements [driver.Announcer].
func (a *Announcer) Status(ctx context.Context, id iplease.ClaimID) (driver.Status, error) {
	if err := a.begin(ctx); err != nil {
		return driver.Status{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claims[id]
	if c == nil || c.Withdrawn {
		return driver.Status{}, driver.ErrNotFound
	}
	return driver.Observe(c.Clone(), a.observation(c)), nil
}

// observation says who answers for a claim, as far as this host knows.
func (a *Announcer) observation(c *claim) driver.Observation {
	node, h := "", holding{}
	if c.bound != nil {
		node, h = a.cfg.Node, c.holding()
	} else if holders := a.holders(c.Claim); len(holders) > 0 {
		node, h = holders[0], a.peers[holders[0]].held[c.Claim]
	}
	if node == "" {
		why := c.why
		if a.plane == nil {
			why = "the announcer does not run"
		}
		return driver.Observation{Reason: why, Broken: c.broken, EgressReason: why}
	}
	return driver.Observation{
		Node: node, Broken: h.Contested != "", Reason: h.Contested, Egress: h.Egress, EgressReason: h.EgressReason,
		Reachable: func(b driver.Backend) bool { return b.Node == "" || b.Node == node },
	}
}

// holding is what this host says about a claim that it answers for.
func (c *claim) holding() holding {
	return holding{Egress: c.egress, EgressReason: c.egressTrouble, Contested: c.contested}
}

// List implements [driver.Announcer].
func (a *Announcer) List(ctx context.Context) ([]iplease.ClaimID, error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(a.sorted(), func(id iplease.ClaimID) bool {
		c := a.claims[id]
		return c.Withdrawn && !c.here()
	}), nil
}

// Watch implements [driver.Watcher].
func (a *Announcer) Watch(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
	return func(yield func(iplease.ClaimID, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		changes := a.hub.Watch(inner)
		ids, err := a.List(ctx)
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
		if err == nil {
			for text, err := range changes {
				var id iplease.ClaimID
				if err == nil {
					id, err = iplease.ParseClaimID(text)
				}
				if err != nil || !yield(id, nil) {
					return
				}
			}
			err = driver.ErrClosed
		}
		if ctx.Err() == nil {
			yield(iplease.ClaimID{}, err)
		}
	}
}

// CanEgress implements [driver.Egresser]; what holds for one claim is in its
// status.
func (a *Announcer) CanEgress() error { return nil }

// CanFilterSources implements [driver.SourceFilterer]: it always can.
func (a *Announcer) CanFilterSources() error { return nil }

// Close implements [driver.Announcer]: it ends [Announcer.Run] and waits for it.
func (a *Announcer) Close() error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	stop, done := a.stop, a.done
	a.broadcast()
	a.mu.Unlock()
	a.hub.Close()
	if stop != nil {
		stop()
		<-done
	}
	return a.store.close()
}
