package gateway

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the callers a limiter remembers; the one longest unseen goes
// first, and by then its bucket is as good as full.
const maxBuckets = 16 << 10

// limiter is a token bucket per caller. Safe for concurrent use.
type limiter struct {
	rate, burst float64

	mu    sync.Mutex
	order *list.List // of *bucket, the last seen first
	byKey map[string]*list.Element
}

type bucket struct {
	key    string
	tokens float64
	at     time.Time
}

func newLimiter(perSecond, burst int) *limiter {
	return &limiter{
		rate: float64(perSecond), burst: float64(burst),
		order: list.New(), byKey: map[string]*list.Element{},
	}
}

// take takes a token and reports whether there was one.
func (l *limiter) take(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key, now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// empty reports whether take would fail.
func (l *limiter) empty(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket(key, now).tokens < 1
}

func (l *limiter) bucket(key string, now time.Time) *bucket {
	if e, ok := l.byKey[key]; ok {
		l.order.MoveToFront(e)
		b, _ := e.Value.(*bucket)
		if d := now.Sub(b.at); d > 0 {
			b.tokens = min(l.burst, b.tokens+d.Seconds()*l.rate)
			b.at = now
		}
		return b
	}
	b := &bucket{key: key, tokens: l.burst, at: now}
	l.byKey[key] = l.order.PushFront(b)
	if l.order.Len() > maxBuckets {
		old, _ := l.order.Remove(l.order.Back()).(*bucket)
		delete(l.byKey, old.key)
	}
	return b
}

// addressKey names where a request comes from: the IPv4 address, or the /64 that
// an IPv6 caller usually has to itself.
func addressKey(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown"
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64) // 64 bits always fit
		return p.String()
	}
	return addr.String()
}

// slots bounds what goes on at a time, in all and per caller, so that none can
// take the place of the others. Safe for concurrent use.
type slots struct {
	total, each int

	mu   sync.Mutex // guards all below
	open int
	by   map[string]int
}

func newSlots(total, each int) *slots {
	return &slots{total: total, each: each, by: map[string]int{}}
}

// enter takes a slot and reports whether there was one. Call leave after.
func (s *slots) enter(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.total || s.by[key] >= s.each {
		return false
	}
	s.open++
	s.by[key]++
	return true
}

func (s *slots) leave(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.by[key]--; s.by[key] == 0 {
		delete(s.by, key)
	}
}

// limitListener closes connections that pass a bound at once, so that those who
// hold many do not keep others from being accepted.
type limitListener struct {
	net.Listener
	slots *slots
}

func newLimitListener(l net.Listener, limits Limits) *limitListener {
	return &limitListener{l, newSlots(limits.Connections, limits.ConnectionsPerAddress)}
}

// Accept implements [net.Listener].
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := addressKey(c.RemoteAddr().String())
		if l.slots.enter(key) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.slots.leave(key) })}, nil
		}
		_ = c.Close() // refused: nothing to tell
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
