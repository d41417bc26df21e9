package kubetest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"time"
)

// Net is a place in the cluster's network: the outside, or a node.
type Net struct{ ns *namespace }

// Lan returns the outside: a namespace on one segment with the nodes, at
// 192.168.77.1 and fd77::1. Of a cluster that was there before it is this
// machine as it is.
func (c *Cluster) Lan() (*Net, error) {
	if c.m == nil {
		return &Net{}, nil
	}
	return &Net{c.m.lan}, nil
}

// Node returns the network of a node, 1 or 2.
func (c *Cluster) Node(n int) (*Net, error) {
	if c.m == nil {
		return nil, ErrNotOurs
	}
	if n < 1 || n > len(c.m.nodes) {
		return nil, fmt.Errorf("kubetest: no node %d", n)
	}
	return &Net{c.m.nodes[n-1]}, nil
}

// NodeAddress returns the addresses of node n on the segment that it shares
// with the outside.
func NodeAddress(n int) (v4, v6 netip.Addr) {
	return netip.MustParseAddr(nodeAddress4(n)), netip.MustParseAddr(nodeAddress6(n))
}

// Dial connects from there; the address is numeric.
func (n *Net) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.ns.dial(ctx, network, address)
}

// DialFrom is Dial from an address that the place has; port 0 is any.
func (n *Net) DialFrom(ctx context.Context, source netip.AddrPort, network, address string) (c net.Conn, err error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(source)}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(source)
	}
	err = n.ns.do(func() error {
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen listens for streams there; the address is numeric.
func (n *Net) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return n.ns.listen(ctx, network, address)
}

// ListenPacket listens for datagrams there; the address is numeric.
func (n *Net) ListenPacket(ctx context.Context, network, address string) (c net.PacketConn, err error) {
	err = n.ns.do(func() error {
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// HTTP returns a client whose requests are sent from there, each on a new
// connection. Host names of URLs are sent along but looked up nowhere: every
// request goes to address (host:port), or where the URL's numeric host says when
// address is empty.
func (n *Net) HTTP(address string) *http.Client {
	const limit = 10 * time.Second
	return &http.Client{Timeout: limit, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, named string) (net.Conn, error) {
			if address != "" {
				named = address
			}
			return n.Dial(ctx, network, named)
		},
	}}
}

// Run runs a program there and returns what it prints.
func (n *Net) Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	return n.Feed(ctx, nil, program, args...)
}

// Feed is Run with standard input.
func (n *Net) Feed(ctx context.Context, input []byte, program string, args ...string) ([]byte, error) {
	return n.ns.run(ctx, input, program, args...)
}

// Do runs f on a thread that is there: sockets and processes that f makes, in
// its own goroutine, are there too.
func (n *Net) Do(f func() error) error { return n.ns.do(f) }

// run runs a program inside and waits for it.
func (n *namespace) run(ctx context.Context, input []byte, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	out := capture(cmd, input)
	err := n.do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.Bytes(), fmt.Errorf("kubetest: %s: %w: %s", program, err, out)
	}
	return out.Bytes(), nil
}

// capture feeds a command and collects what it prints.
func capture(cmd *exec.Cmd, input []byte) *bytes.Buffer {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if input != nil {
		cmd.Stdin = bytes.NewReader(input)
	}
	return &out
}

// dial connects from inside the namespace; address is numeric.
func (n *namespace) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.do(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

func (n *namespace) listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = n.do(func() error {
		l, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return l, err
}
