// Package keylock is one lock for each name, made when needed.
package keylock

import (
	"context"
	"sync"
)

// Locks are the locks. The zero value is ready. Safe for concurrent use.
type Locks struct {
	mu    sync.Mutex
	locks map[string]*lock
}

type lock struct {
	held  chan struct{} // holds one
	users int
}

// Lock waits for the name or the context's end; the result gives it back. An
// ended context gets no lock even if it is free.
func (k *Locks) Lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := k.enter(name)
	select {
	case l.held <- struct{}{}:
		return func() {
			<-l.held
			k.leave(name, l)
		}, nil
	case <-ctx.Done():
		k.leave(name, l)
		return nil, ctx.Err()
	}
}

func (k *Locks) enter(name string) *lock {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locks == nil {
		k.locks = map[string]*lock{}
	}
	l := k.locks[name]
	if l == nil {
		l = &lock{held: make(chan struct{}, 1)}
		k.locks[name] = l
	}
	l.users++
	return l
}

func (k *Locks) leave(name string, l *lock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.locks, name)
	}
}
