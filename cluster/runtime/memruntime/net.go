package memruntime

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/moorage-dev/moorage/netpolicy"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

type network struct {
	name    string
	prefix  netip.Prefix
	gateway netip.Addr
	next    netip.Addr
	hosts   map[string][]netip.Addr
	policy  *netpolicy.Policy
}

type listener struct {
	addr  netip.AddrPort
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

func (m *Machine) listen(c *container, port uint16) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.ended() {
		return nil, net.ErrClosed
	}
	if old := c.ports[port]; old != nil {
		select {
		case <-old.done:
		default:
			return nil, fmt.Errorf("memruntime: port %d: %w", port, syscall.EADDRINUSE)
		}
	}
	l := &listener{
		addr:  netip.AddrPortFrom(c.address, port),
		conns: make(chan net.Conn), done: make(chan struct{}),
	}
	c.ports[port] = l
	return l, nil
}

// DialContext connects as the machine itself does: it reaches every container.
// The form is that of net.Dialer.DialContext; address is "ip:port".
func (m *Machine) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("memruntime: dial: %w", err)
	}
	m.mu.Lock()
	from := dialer{Endpoint: netpolicy.Endpoint{Role: netpolicy.Node}}
	for _, c := range m.containers {
		if c.address == to.Addr() {
			from.network = c.spec.Network
		}
	}
	m.mu.Unlock()
	return m.dial(ctx, from, to)
}

// dialer is who connects, and in which network.
type dialer struct {
	netpolicy.Endpoint
	network string
}

func (m *Machine) dial(ctx context.Context, from dialer, to netip.AddrPort) (net.Conn, error) {
	l := m.find(from, to)
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		closeAll(here, there)
		return nil, refused
	case <-ctx.Done():
		closeAll(here, there)
		return nil, ctx.Err()
	}
}

func (m *Machine) find(from dialer, to netip.AddrPort) *listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.containers {
		if from.network != "" && c.spec.Network == from.network && c.address == to.Addr() && !c.ended() && m.allows(from, c, to.Port()) {
			return c.ports[to.Port()]
		}
	}
	return nil
}

// allows asks the policy of a network, if it has one. The caller holds the lock.
func (m *Machine) allows(from dialer, to *container, port uint16) bool {
	n := m.networks[from.network]
	if n == nil || n.policy == nil {
		return true
	}
	return n.policy.Evaluate(netpolicy.Flow{
		From: from.Endpoint, To: netpolicy.Of(to.spec.Service), Port: netpolicy.Port{Protocol: manifest.TCP, Number: port},
	}).Allowed()
}

func closeAll(cs ...io.Closer) {
	for _, c := range cs {
		_ = c.Close()
	}
}
