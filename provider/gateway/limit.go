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

// limitListener closes connections that pass a bound at once, so that those who
// hold many do not keep others from being accepted.
type limitListener struct {
	net.Listener
	total, perAddress int

	mu   sync.Mutex
	open int
	by   map[string]int
}

func newLimitListener(l net.Listener, limits Limits) *limitListener {
	return &limitListener{Listener: l, total: limits.Connections, perAddress: limits.ConnectionsPerAddress, by: map[string]int{}}
}

// Accept implements [net.Listener].
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := addressKey(c.RemoteAddr().String())
		if l.enter(key) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(key) })}, nil
		}
		_ = c.Close() // refused: nothing to tell
	}
}

func (l *limitListener) enter(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.total || l.by[key] >= l.perAddress {
		return false
	}
	l.open++
	l.by[key]++
	return true
}

func (l *limitListener) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.by[key]--; l.by[key] == 0 {
		delete(l.by, key)
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
