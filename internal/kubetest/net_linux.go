package kubetest

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"k8s.io/apimachinery/pkg/util/wait"
)

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
