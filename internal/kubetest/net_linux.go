package kubetest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Net is a place in the cluster's network: the outside, or a node.
type Net struct{ ns *namespace }

// Lan returns the outside: a namespace on one segment with the nodes, at
// 192.168.77.1 and fd77::1.
func (c *Cluster) Lan() (*Net, error) {
	if c.m == nil {
		return nil, ErrNotOurs
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

// Neighbour asks, by ARP or NDP, who on a link has an address, and returns the
// hardware address that says so; nil when nobody does.
func (n *Net) Neighbour(ctx context.Context, link string, address netip.Addr) (hardware net.HardwareAddr, err error) {
	err = n.ns.do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		index := l.Attrs().Index
		_ = netlink.NeighDel(&netlink.Neigh{LinkIndex: index, IP: address.AsSlice()}) // what was known before
		// Any packet makes the kernel ask; nobody has to listen.
		c, err := (&net.Dialer{}).DialContext(ctx, "udp", netip.AddrPortFrom(address, 9).String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte{0}); err != nil {
			return err
		}
		const limit = 5 * time.Second // the kernel asks three times, a second apart
		err = wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, limit, true, func(context.Context) (bool, error) {
			known, err := netlink.NeighList(index, 0)
			for _, k := range known {
				if at, _ := netip.AddrFromSlice(k.IP); at.Unmap() != address {
					continue
				}
				hardware = k.HardwareAddr
				return k.State&(netlink.NUD_FAILED|netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY) != 0, nil
			}
			return false, err
		})
		return err
	})
	return hardware, err
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

// Add gives a link of the place one more address: "lan0" is the outside's,
// "eth0" a node's, "lo" makes it an address of nobody else's segment.
func (n *Net) Add(link string, prefix netip.Prefix) error {
	return n.ns.do(func() error { return addresses(link, prefix.String()) })
}

// Remove takes an address away again.
func (n *Net) Remove(link string, prefix netip.Prefix) error {
	return n.ns.do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(prefix.String())
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, address)
	})
}

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
