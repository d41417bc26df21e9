// Package notify tells many watchers that a named thing changed. A watcher that
// is slow sees each name once however often it changed: memory is bounded by the
// number of names.
package notify

import (
	"context"
	"iter"
	"slices"
	"sync"
)

// Hub spreads names to watchers. The zero value is ready. Safe for concurrent use.
type Hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	closed   bool
}

type watcher struct {
	dirty map[string]struct{}
	wake  chan struct{} // holds one
}

// Publish tells all watchers about name. It never blocks.
func (h *Hub) Publish(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.dirty[name] = struct{}{}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Close ends all watches. Twice is allowed.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		close(w.wake)
		delete(h.watchers, w)
	}
}

// Watch yields names published after the call, until ctx ends or the hub is
// closed. It subscribes at once, not at the first iteration; the sequence may be
// ranged over once and must be ranged over, or ctx ended.
func (h *Hub) Watch(ctx context.Context) iter.Seq2[string, error] {
	w := h.add()
	stop := context.AfterFunc(ctx, func() { h.remove(w) })
	return func(yield func(string, error) bool) {
		defer stop()
		defer h.remove(w)
		for h.wait(ctx, w) {
			for _, name := range h.take(w) {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

func (h *Hub) add() *watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &watcher{dirty: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	if h.closed {
		close(w.wake)
		return w
	}
	if h.watchers == nil {
		h.watchers = map[*watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	return w
}

func (h *Hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

func (h *Hub) wait(ctx context.Context, w *watcher) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case _, open := <-w.wake:
		return open
	}
}

func (h *Hub) take(w *watcher) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]string, 0, len(w.dirty))
	for n := range w.dirty {
		names = append(names, n)
	}
	clear(w.dirty)
	slices.Sort(names)
	return names
}
