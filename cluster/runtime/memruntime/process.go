package memruntime

import (
	"context"
	"io"
	"net"
	"net/netip"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/netpolicy"
)

// Program is what an image does. It runs in a goroutine of its own and its
// result is the exit code. It must return soon after its context ends: that is
// the kill signal.
type Program func(ctx context.Context, p *Process) int

// Process is a program's view of its container.
type Process struct {
	// Args are the whole command; Env is NAME=VALUE.
	Args, Env []string
	Hostname  string
	// Stdin is never nil.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// TTY and Resize count for a command run by Exec with a terminal.
	TTY    bool
	Resize <-chan runtime.TerminalSize
	// Stop is closed when the container is asked to end (SIGTERM).
	Stop <-chan struct{}

	container *container
}

// Lookup resolves a name as /etc/hosts of the container would, sorted; nil when
// unknown.
func (p *Process) Lookup(name string) []netip.Addr {
	m := p.container.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.networks[p.container.spec.Network]; n != nil {
		return append([]netip.Addr(nil), n.hosts[name]...)
	}
	return nil
}

// Listen opens a port of the container. It closes when the container ends.
func (p *Process) Listen(port uint16) (net.Listener, error) {
	return p.container.machine.listen(p.container, port)
}

// Dial reaches a port of a container on the same network; all else is refused.
func (p *Process) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return p.container.machine.dial(ctx, dialer{netpolicy.Of(p.container.spec.Service), p.container.spec.Network}, to)
}

// Idle is a program that waits to be asked to end.
func Idle(ctx context.Context, p *Process) int {
	select {
	case <-p.Stop:
		return 0
	case <-ctx.Done():
		return 137
	}
}
