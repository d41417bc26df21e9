// Package hub tells watchers of a driver which leases may have changed.
package hub

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/moorage-dev/moorage/market"
)

// Hub tells watchers which leases may have changed. A slow watcher hears of each
// lease once, however often it changed. The zero value is ready.
type Hub struct {
	mu       sync.Mutex // guards all below, and the dirty sets
	watchers map[*Watcher]bool
	closed   bool
}

// Watcher is one who listens; the zero value is none.
type Watcher struct {
	hub   *Hub
	dirty map[market.LeaseID]bool
	wake  chan struct{} // has room for one; closed with the hub
}

// Publish says that a lease may have changed.
func (h *Hub) Publish(id market.LeaseID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for w := range h.watchers {
		w.dirty[id] = true
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch begins to listen; the caller leaves.
func (h *Hub) Watch() *Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &Watcher{hub: h, dirty: make(map[market.LeaseID]bool), wake: make(chan struct{}, 1)}
	if h.closed {
		close(w.wake)
		return w
	}
	if h.watchers == nil {
		h.watchers = make(map[*Watcher]bool)
	}
	h.watchers[w] = true
	return w
}

// Leave ends the listening.
func (w *Watcher) Leave() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.watchers, w)
}

// Wait returns the leases that may have changed, sorted by their text, when there are some; false when
// the context or the hub ends.
func (w *Watcher) Wait(ctx context.Context) ([]market.LeaseID, bool) {
	select {
	case _, open := <-w.wake:
		if !open {
			return nil, false
		}
	case <-ctx.Done():
		return nil, false
	}
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	ids := make([]market.LeaseID, 0, len(w.dirty))
	for id := range w.dirty {
		ids = append(ids, id)
	}
	clear(w.dirty)
	Sort(ids)
	return ids, true
}

// Close ends every wait.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for w := range h.watchers {
		close(w.wake)
	}
	h.watchers = nil
}

// Sort sorts leases by their text.
func Sort(ids []market.LeaseID) {
	slices.SortFunc(ids, func(a, b market.LeaseID) int { return cmp.Compare(a.String(), b.String()) })
}
