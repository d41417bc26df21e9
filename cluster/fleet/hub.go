package fleet

import (
	"context"
	"sync"

	"github.com/moorage-dev/moorage/market"
)

// hub tells watchers which leases may have changed. A slow watcher hears of each
// lease once, however often it changed. The zero value is ready.
type hub struct {
	mu       sync.Mutex // guards all below, and the dirty sets
	watchers map[*watcher]bool
	closed   bool
}

type watcher struct {
	hub   *hub
	dirty map[market.LeaseID]bool
	wake  chan struct{} // has room for one; closed with the hub
}

func (h *hub) publish(id market.LeaseID) {
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

// watch begins to listen; the caller leaves.
func (h *hub) watch() *watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &watcher{hub: h, dirty: make(map[market.LeaseID]bool), wake: make(chan struct{}, 1)}
	if h.closed {
		close(w.wake)
		return w
	}
	if h.watchers == nil {
		h.watchers = make(map[*watcher]bool)
	}
	h.watchers[w] = true
	return w
}

func (w *watcher) leave() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.watchers, w)
}

// wait returns the leases that may have changed, when there are some; false when
// the context or the hub ends.
func (w *watcher) wait(ctx context.Context) ([]market.LeaseID, bool) {
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
	sortLeases(ids)
	return ids, true
}

func (h *hub) close() {
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
