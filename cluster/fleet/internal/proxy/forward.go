package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Bounds of one forwarded port.
const (
	// MaxConns bounds the TCP connections, MaxSessions the UDP clients at a time;
	// more are refused.
	MaxConns    = 4096
	MaxSessions = 4096
	// sessionIdle ends a UDP session without traffic.
	sessionIdle = time.Minute
	// maxDatagram is the largest UDP payload.
	maxDatagram = 64 << 10
)

// Target is where a forwarded port leads.
type Target struct {
	Pool *Pool
	Port uint16
}

func (t Target) address(a netip.Addr) string {
	return net.JoinHostPort(a.String(), strconv.Itoa(int(t.Port)))
}

// ServeTCP forwards connections until the context ends, and then closes those
// that are left and waits. ln is closed.
func ServeTCP(ctx context.Context, ln net.Listener, t Target, dial Dial) {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, MaxConns)
	for ctx.Err() == nil {
		c, err := ln.Accept()
		if err != nil {
			if pause(ctx) {
				continue
			}
			return
		}
		select {
		case room <- struct{}{}:
			wg.Go(func() {
				defer func() { <-room }()
				forward(ctx, c, t, dial)
			})
		default:
			_ = c.Close()
		}
	}
}

// pause waits a moment after a failed accept (too many open files, for
// instance); it reports false when the context has ended.
func pause(ctx context.Context) bool {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// forward copies one connection to a replica, trying each once.
func forward(ctx context.Context, client net.Conn, t Target, dial Dial) {
	defer func() { _ = client.Close() }()
	server, _, release := connect(ctx, "tcp", t, dial)
	if server == nil {
		return
	}
	defer release()
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { copyHalf(server, client) })
	copyHalf(client, server)
	wg.Wait()
}

// copyHalf copies one direction and passes its end on.
func copyHalf(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	_ = dst.Close()
	_ = src.Close()
}

// connect dials replicas until one answers; nil when none does.
func connect(ctx context.Context, network string, t Target, dial Dial) (net.Conn, netip.Addr, func()) {
	var tried []netip.Addr
	for {
		addr, release, ok := t.Pool.Pick(tried)
		if !ok {
			return nil, addr, nil
		}
		tried = append(tried, addr)
		d, cancel := context.WithTimeout(ctx, dialTimeout)
		c, err := dial(d, network, t.address(addr))
		cancel()
		if err == nil {
			return c, addr, release
		}
		release()
	}
}

// udp forwards datagrams; each client has a session with one replica.
type udp struct {
	pc     net.PacketConn
	target Target
	dial   Dial
	wg     sync.WaitGroup

	mu       sync.Mutex // guards sessions
	sessions map[string]session
}

// session is a client's connection to a replica.
type session struct {
	net.Conn
	replica netip.Addr
}

// ServeUDP forwards datagrams until the context ends, and then ends all
// sessions and waits. pc is closed.
func ServeUDP(ctx context.Context, pc net.PacketConn, t Target, dial Dial) {
	u := &udp{pc: pc, target: t, dial: dial, sessions: make(map[string]session)}
	stop := context.AfterFunc(ctx, func() { u.close() })
	defer stop()
	defer u.wg.Wait()
	defer u.close()
	buf := make([]byte, maxDatagram)
	for ctx.Err() == nil {
		n, client, err := pc.ReadFrom(buf)
		if err != nil {
			if pause(ctx) {
				continue
			}
			return
		}
		if s := u.session(ctx, client); s.Conn != nil {
			_, _ = s.Write(buf[:n]) // lost like any datagram
		}
	}
}

func (u *udp) close() {
	_ = u.pc.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.sessions {
		_ = s.Close()
	}
}

// session returns the client's connection to a replica, a new one if it has
// none or its replica takes no clients any more; nil when no replica is there.
func (u *udp) session(ctx context.Context, client net.Addr) session {
	key := client.String()
	u.mu.Lock()
	s, full := u.sessions[key], len(u.sessions) >= MaxSessions
	if s.Conn != nil && !u.target.Pool.Has(s.replica) {
		_ = s.Close()
		delete(u.sessions, key)
		s = session{}
	}
	u.mu.Unlock()
	if s.Conn != nil || full {
		return s
	}
	c, replica, release := connect(ctx, "udp", u.target, u.dial)
	if c == nil {
		return session{}
	}
	s = session{c, replica}
	u.mu.Lock()
	u.sessions[key] = s
	u.mu.Unlock()
	u.wg.Go(func() {
		defer release()
		u.answers(s, client)
	})
	return s
}

// answers copies what the replica says to the client until nothing came for a
// while.
func (u *udp) answers(s session, client net.Addr) {
	defer func() {
		_ = s.Close()
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.sessions[client.String()] == s {
			delete(u.sessions, client.String())
		}
	}()
	buf := make([]byte, maxDatagram)
	for {
		_ = s.SetReadDeadline(time.Now().Add(sessionIdle))
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if _, err := u.pc.WriteTo(buf[:n], client); err != nil {
			return
		}
	}
}
