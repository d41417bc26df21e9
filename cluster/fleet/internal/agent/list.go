package agent

import (
	"context"
	"sync"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// lister lists the runtime's containers for many workers at once: all who ask
// while a listing runs share the next one. Nobody gets a listing that began
// before the question.
type lister struct {
	rt runtime.Runtime
	// busy has room for one: who puts something in may ask the runtime.
	busy chan struct{}

	mu   sync.Mutex // guards next
	next *listing
}

// listing is one answer of the runtime; the fields count when done is closed.
type listing struct {
	done       chan struct{}
	containers []runtime.Container
	err        error
}

// list returns the containers. The result is shared and must not be changed. The
// first who asks lists for all, so ctx must not end for a single asker alone.
func (l *lister) list(ctx context.Context) ([]runtime.Container, error) {
	l.mu.Lock()
	n := l.next
	leads := n == nil
	if leads {
		n = &listing{done: make(chan struct{})}
		l.next = n
	}
	l.mu.Unlock()
	if leads {
		l.lead(ctx, n)
	}
	select {
	case <-n.done:
		return n.containers, n.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *lister) lead(ctx context.Context, n *listing) {
	defer close(n.done)
	err := enter(ctx, l.busy)
	l.mu.Lock()
	l.next = nil // who asks from now on gets another
	l.mu.Unlock()
	if err != nil {
		n.err = err
		return
	}
	defer func() { <-l.busy }()
	n.containers, n.err = l.rt.List(ctx)
}
