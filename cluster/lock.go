package cluster

import (
	"context"
	"fmt"
	"sync"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
)

// locks is one lock per lease that exists only while somebody wants it.
type locks struct {
	mu sync.Mutex // guards m and the counts in it
	m  map[market.LeaseID]*leaseLock
}

type leaseLock struct {
	// held has room for one: who puts something in has the lock.
	held    chan struct{}
	waiting int
}

func newLocks() locks { return locks{m: make(map[market.LeaseID]*leaseLock)} }

// lock waits for the lock of a lease, or until the context ends.
func (l *locks) lock(ctx context.Context, id market.LeaseID) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	k := l.m[id]
	if k == nil {
		k = &leaseLock{held: make(chan struct{}, 1)}
		l.m[id] = k
	}
	k.waiting++
	l.mu.Unlock()
	select {
	case k.held <- struct{}{}:
		return func() {
			<-k.held
			l.leave(id, k)
		}, nil
	case <-ctx.Done():
		l.leave(id, k)
		return nil, ctx.Err()
	}
}

// leave forgets the lock when nobody wants it any more.
func (l *locks) leave(id market.LeaseID, k *leaseLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.waiting--; k.waiting == 0 {
		delete(l.m, id)
	}
}

// applied remembers what this process applied last, one entry per lease until
// it is deleted.
type applied struct {
	mu sync.Mutex // guards m
	m  map[market.LeaseID]version
}

type version struct {
	revision uint64
	hash     market.Hash
}

func newApplied() applied { return applied{m: make(map[market.LeaseID]version)} }

// check reports whether a workload is older than what was applied, and refuses
// two contents under one revision.
func (a *applied) check(w driver.Workload) (done bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.m[w.Lease]
	switch {
	case !ok || w.Revision > last.revision:
		return false, nil
	case w.Revision < last.revision:
		return true, nil
	case w.Hash != last.hash:
		return false, fmt.Errorf("%w: revision %d was applied with another hash", driver.ErrConflict, w.Revision)
	}
	return false, nil
}

func (a *applied) note(w driver.Workload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.m[w.Lease] = version{w.Revision, w.Hash}
}

func (a *applied) forget(id market.LeaseID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, id)
}
