package memannouncer

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

var (
	_ driver.Announcer      = (*Announcer)(nil)
	_ driver.Watcher        = (*Announcer)(nil)
	_ driver.Egresser       = (*Announcer)(nil)
	_ driver.SourceFilterer = (*Announcer)(nil)
)

// Announcer is an open [Network]. Use [Network.Announcer] or [New].
type Announcer struct {
	network *Network
	once    sync.Once
	closed  chan struct{}
}

// New makes a network and opens it.
func New(c Config) *Announcer { return NewNetwork(c).Announcer() }

// Announcer opens the network. Several may be open at once.
func (n *Network) Announcer() *Announcer { return &Announcer{network: n, closed: make(chan struct{})} }

// Network returns what the announcer announces on.
func (a *Announcer) Network() *Network { return a.network }

// begin makes the checks that every method begins with.
func (a *Announcer) begin(ctx context.Context, op Op, id iplease.ClaimID) error {
	select {
	case <-a.closed:
		return driver.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a.network.mu.Lock()
	fault := a.network.fault
	a.network.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(op, id)
}

// Apply implements [driver.Announcer].
func (a *Announcer) Apply(ctx context.Context, n driver.Announcement) error {
	if err := a.begin(ctx, OpApply, n.Claim); err != nil {
		return err
	}
	if err := n.Validate(); err != nil {
		return err
	}
	if err := a.network.apply(n.Clone()); err != nil {
		return err
	}
	a.network.hub.Publish(n.Claim.String())
	return nil
}

func (n *Network) apply(a driver.Announcement) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.claims[a.Claim].Revision >= a.Revision {
		return nil
	}
	for _, at := range a.Addresses {
		if other, ok := n.holder(at); ok && other.Claim != a.Claim {
			return fmt.Errorf("%w: %s by %s", driver.ErrConflict, at, other.Claim)
		}
	}
	n.claims[a.Claim] = a
	return nil
}

// Withdraw implements [driver.Announcer].
func (a *Announcer) Withdraw(ctx context.Context, id iplease.ClaimID) error {
	if err := a.begin(ctx, OpWithdraw, id); err != nil {
		return err
	}
	a.network.mu.Lock()
	delete(a.network.claims, id)
	a.network.mu.Unlock()
	a.network.hub.Publish(id.String())
	return nil
}

// Status implements [driver.Announcer].
func (a *Announcer) Status(ctx context.Context, id iplease.ClaimID) (driver.Status, error) {
	if err := a.begin(ctx, OpStatus, id); err != nil {
		return driver.Status{}, err
	}
	a.network.mu.Lock()
	defer a.network.mu.Unlock()
	c, ok := a.network.claims[id]
	if !ok {
		return driver.Status{}, driver.ErrNotFound
	}
	return driver.Observe(c.Clone(), driver.Observation{Node: a.network.host(), Egress: true, Reason: "no host lives"}), nil
}

// List implements [driver.Announcer].
func (a *Announcer) List(ctx context.Context) ([]iplease.ClaimID, error) {
	if err := a.begin(ctx, OpList, iplease.ClaimID{}); err != nil {
		return nil, err
	}
	a.network.mu.Lock()
	defer a.network.mu.Unlock()
	return a.network.list(), nil
}

func (n *Network) list() []iplease.ClaimID {
	return slices.SortedFunc(maps.Keys(n.claims), func(a, b iplease.ClaimID) int { return cmp.Compare(a.String(), b.String()) })
}

// Watch implements [driver.Watcher].
func (a *Announcer) Watch(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
	return func(yield func(iplease.ClaimID, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		changes := a.network.hub.Watch(inner)
		ids, err := a.List(ctx)
		if err == nil {
			err = a.begin(ctx, OpWatch, iplease.ClaimID{})
		}
		if err != nil {
			if ctx.Err() == nil {
				yield(iplease.ClaimID{}, err)
			}
			return
		}
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
		go a.endWith(inner, cancel)
		for text, err := range changes {
			var id iplease.ClaimID
			if err == nil {
				id, err = iplease.ParseClaimID(text)
			}
			if err != nil || !yield(id, nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(iplease.ClaimID{}, driver.ErrClosed)
		}
	}
}

// endWith ends a watch when the announcer is closed. It ends with the watch.
func (a *Announcer) endWith(ctx context.Context, cancel context.CancelFunc) {
	select {
	case <-a.closed:
		cancel()
	case <-ctx.Done():
	}
}

// CanEgress implements [driver.Egresser]: it always can.
func (*Announcer) CanEgress() error { return nil }

// CanFilterSources implements [driver.SourceFilterer]: it always can.
func (*Announcer) CanFilterSources() error { return nil }

// Close implements [driver.Announcer]. The network goes on announcing.
func (a *Announcer) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}
