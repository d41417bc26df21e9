package kubetest

import (
	"context"
	"io"
	"net"
	"sync"
)

// forwarder passes connections from a port on this machine's loopback to dial.
// It owns one goroutine for the listener and two per connection, all ended by close.
type forwarder struct {
	listener net.Listener
	dial     func(ctx context.Context) (net.Conn, error)
	wg       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	open   map[net.Conn]bool
	closed bool
}

func forward(ctx context.Context, dial func(ctx context.Context) (net.Conn, error)) (*forwarder, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &forwarder{listener: l, dial: dial, open: map[net.Conn]bool{}}
	f.wg.Go(f.serve)
	return f, nil
}

// Addr is where the forwarder listens.
func (f *forwarder) Addr() string { return f.listener.Addr().String() }

func (f *forwarder) serve() {
	for {
		near, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.pass(near) })
	}
}

func (f *forwarder) pass(near net.Conn) {
	defer f.forget(near)
	if !f.remember(near) {
		return
	}
	far, err := f.dial(context.Background()) // ends at once or with the kernel's time limit
	if err != nil {
		reset(near)
		return
	}
	defer f.forget(far)
	if !f.remember(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { half(far, near) })
	both.Go(func() { half(near, far) })
	both.Wait()
}

// half copies one direction and passes its end on.
func half(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to)
		return
	}
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// reset closes a connection so that the other side sees a failure, not an end.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (f *forwarder) remember(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.open[c] = true
	}
	return !f.closed
}

func (f *forwarder) forget(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
	_ = c.Close()
}

func (f *forwarder) close() {
	_ = f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for c := range f.open {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}
