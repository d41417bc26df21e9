package provider

import "sync"

// keyedMutex is a mutex per key; a key takes room only while it is locked. It may
// be held during a call-out: who waits for it waits as for a channel, so that a
// bubble of testing/synctest goes on.
type keyedMutex[K comparable] struct {
	mu    sync.Mutex // guards locks
	locks map[K]*keyedLock
}

// keyedLock is locked while its channel is full.
type keyedLock struct {
	full  chan struct{}
	users int
}

// lock locks the key and returns what unlocks it.
func (m *keyedMutex[K]) lock(key K) (unlock func()) {
	l := m.enter(key)
	l.full <- struct{}{}
	return func() { m.leave(key, l, true) }
}

// tryLock locks the key unless somebody has it locked.
func (m *keyedMutex[K]) tryLock(key K) (unlock func(), ok bool) {
	l := m.enter(key)
	select {
	case l.full <- struct{}{}:
		return func() { m.leave(key, l, true) }, true
	default:
		m.leave(key, l, false)
		return nil, false
	}
}

func (m *keyedMutex[K]) enter(key K) *keyedLock {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks == nil {
		m.locks = map[K]*keyedLock{}
	}
	l := m.locks[key]
	if l == nil {
		l = &keyedLock{full: make(chan struct{}, 1)}
		m.locks[key] = l
	}
	l.users++
	return l
}

func (m *keyedMutex[K]) leave(key K, l *keyedLock, locked bool) {
	if locked {
		<-l.full
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(m.locks, key)
	}
}
