//go:build linux && cgo

package shim

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
)

// inside is the interface's name in the container.
const inside = "eth0"

// wire connects the network namespace of process pid to the bridge.
func wire(pid int, w plan.Wire) error {
	bridge, err := netlink.LinkByName(w.Bridge)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", w.Bridge, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = w.Veth, w.MTU, bridge.Attrs().Index
	ip := w.Address.Addr().As4()
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: inside, PeerNamespace: netlink.NsPid(pid),
		PeerHardwareAddr: net.HardwareAddr{0x02, 0x6d, ip[0], ip[1], ip[2], ip[3]},
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", w.Veth, err)
	}
	// It hears the bridge alone: what it sends to its neighbours passes the host's rules.
	if err := netlink.LinkSetIsolated(veth, true); err != nil {
		return fmt.Errorf("isolate %s: %w", w.Veth, err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return fmt.Errorf("veth %s: %w", w.Veth, err)
	}
	return wireInside(pid, w)
}

func wireInside(pid int, w plan.Wire) error {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h, err := netlink.NewHandleAt(netns.NsHandle(int(f.Fd())))
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(inside)
	if err != nil {
		return fmt.Errorf("%s: %w", inside, err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: w.Address.Addr().AsSlice(), Mask: net.CIDRMask(w.Address.Bits(), 32)}}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address %s: %w", w.Address, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %w", inside, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: w.Gateway.AsSlice()}
	if err := h.RouteAdd(route); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	if w.Address6.IsValid() {
		return wireSix(h, link, w)
	}
	return nil
}

// wireSix gives the container an IPv6 address with no neighbour but the gateway.
func wireSix(h *netlink.Handle, link netlink.Link, w plan.Wire) error {
	alone := func(a netip.Addr) *net.IPNet {
		return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
	}
	addr := &netlink.Addr{IPNet: alone(w.Address6), Flags: unix.IFA_F_NODAD}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address %s: %w", w.Address6, err)
	}
	for _, route := range []*netlink.Route{
		{LinkIndex: link.Attrs().Index, Dst: alone(w.Gateway6), Scope: netlink.SCOPE_LINK},
		{LinkIndex: link.Attrs().Index, Gw: w.Gateway6.AsSlice()},
	} {
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("IPv6 route: %w", err)
		}
	}
	return nil
}
