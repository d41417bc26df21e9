package provider

import "sync"

// keyedMutex is a mutex per key; a key takes room only while it is locked.
type keyedMutex[K comparable] struct {
	mu    sync.Mutex // guards locks
	locks map[K]*keyedLock
}

type keyedLock struct {
	sync.Mutex
	users int
}

// lock locks the key and returns what unlocks it.
func (m *keyedMutex[K]) lock(key K) (unlock func()) {
	l := m.enter(key)
	l.Lock()
	return func() {
		l.Unlock()
		m.leave(key, l)
	}
}

// tryLock locks the key unless somebody has it locked.
func (m *keyedMutex[K]) tryLock(key K) (unlock func(), ok bool) {
	l := m.enter(key)
	if !l.TryLock() {
		m.leave(key, l)
		return nil, false
	}
	return func() {
		l.Unlock()
		m.leave(key, l)
	}, true
}

func (m *keyedMutex[K]) enter(key K) *keyedLock {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks == nil {
		m.locks = map[K]*keyedLock{}
	}
	l := m.locks[key]
	if l == nil {
		l = &keyedLock{}
		m.locks[key] = l
	}
	l.users++
	return l
}

func (m *keyedMutex[K]) leave(key K, l *keyedLock) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(m.locks, key)
	}
}
