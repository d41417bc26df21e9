package kubetest

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// nodeLink is the outside's end of a node's link.
func nodeLink(n int) string { return fmt.Sprintf("node%d", n) }

// bridgeName is the bridge in the outside namespace that every node hangs on.
const bridgeName = "lan0"

// newLan makes the namespace that stands for the world outside.
func newLan(dir string) (*namespace, error) {
	lan, err := newNamespace(dir, "lan")
	if err != nil {
		return nil, err
	}
	err = lan.sysctl(map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_dad": "0"})
	if err == nil {
		err = lan.do(func() error {
			bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
			if err := netlink.LinkAdd(bridge); err != nil {
				return err
			}
			return addresses(bridgeName, lanAddress4, lanAddress6)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("kubetest: the outside: %w", err)
	}
	return lan, nil
}

// newNodeNet makes a node's namespace with one link to the outside and the
// default route through it: the API server does not start without one.
func newNodeNet(dir string, lan *namespace, n int) (*namespace, error) {
	ns, err := newNamespace(dir, nodeName(n))
	if err != nil {
		return nil, err
	}
	outer := nodeLink(n)
	err = ns.sysctl(map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_dad": "0",
	})
	if err == nil {
		err = lan.do(func() error { return plug(outer, "eth0", ns) })
	}
	if err == nil {
		err = ns.do(func() error {
			if err := addresses("eth0", nodeAddress4(n)+"/24", nodeAddress6(n)+"/64"); err != nil {
				return err
			}
			return routes("eth0", map[string]string{"0.0.0.0/0": lanAddress4, "::/0": lanAddress6})
		})
	}
	if err == nil { // the way back to this node's pods
		err = lan.do(func() error {
			return routes(bridgeName, map[string]string{podSubnet4(n): nodeAddress4(n) + "/24", podSubnet6(n): nodeAddress6(n) + "/64"})
		})
	}
	if err != nil {
		return nil, fmt.Errorf("kubetest: network of %s: %w", nodeName(n), err)
	}
	return ns, nil
}

// plug makes a pair of links: one end on the bridge of this namespace, the other
// called inner in ns.
func plug(outer, inner string, ns *namespace) error {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: outer, MasterIndex: bridge.Attrs().Index},
		PeerName:  inner, PeerNamespace: netlink.NsFd(ns.handle),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	return up(outer)
}

// addresses gives a link of this namespace its addresses and turns it on.
func addresses(link string, prefixes ...string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		address, err := netlink.ParseAddr(p)
		if err != nil {
			return err
		}
		if err := netlink.AddrReplace(l, address); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// routes adds routes from prefix to gateway; the gateway's prefix length does not matter.
func routes(link string, via map[string]string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	for destination, gateway := range via {
		_, dst, err := net.ParseCIDR(destination)
		if err != nil {
			return err
		}
		gw, err := netip.ParsePrefix(gateway)
		if err != nil {
			return err
		}
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: gw.Addr().AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s: %w", destination, err)
		}
	}
	return nil
}
