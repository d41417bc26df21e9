// Package proxy leads clients to replicas: an HTTP router by host name and
// forwarders for TCP and UDP ports, all in user space.
package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Dial connects to a replica. The form is that of [net.Dialer.DialContext].
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Pool is the replicas of one service that take clients. It is safe for
// concurrent use.
type Pool struct {
	mu     sync.Mutex // guards all below
	addrs  []netip.Addr
	active map[netip.Addr]int
	next   int
	idle   chan struct{} // closed and replaced when an address becomes idle
}

// NewPool returns a pool without replicas.
func NewPool() *Pool {
	return &Pool{active: make(map[netip.Addr]int), idle: make(chan struct{})}
}

// Set replaces the replicas. Clients of those that leave go on.
func (p *Pool) Set(addrs []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs = slices.Clone(addrs)
}

// Len is the number of replicas that take clients.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.addrs)
}

// Has reports whether a replica takes clients.
func (p *Pool) Has(addr netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.addrs, addr)
}

// Pick chooses the replica with the fewest clients that is not in except, in
// turn among equals. release must be called once when the client has gone.
func (p *Pool) Pick(except []netip.Addr) (addr netip.Addr, release func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	best := -1
	for i := range p.addrs {
		j := (p.next + i) % len(p.addrs)
		if slices.Contains(except, p.addrs[j]) {
			continue
		}
		if best < 0 || p.active[p.addrs[j]] < p.active[p.addrs[best]] {
			best = j
		}
	}
	if best < 0 {
		return netip.Addr{}, nil, false
	}
	p.next = best + 1
	addr = p.addrs[best]
	p.active[addr]++
	return addr, sync.OnceFunc(func() { p.leave(addr) }), true
}

func (p *Pool) leave(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active[addr]--; p.active[addr] <= 0 {
		delete(p.active, addr)
		close(p.idle)
		p.idle = make(chan struct{})
	}
}

// Drain waits until a replica that was taken out of the pool has no clients, or
// the context ends.
func (p *Pool) Drain(ctx context.Context, addr netip.Addr) {
	for {
		p.mu.Lock()
		n, idle := p.active[addr], p.idle
		p.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return
		}
	}
}
