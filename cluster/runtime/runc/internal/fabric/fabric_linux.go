package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// EnsureBridge makes the segment's bridge or adopts the one that is there.
func (h Host) EnsureBridge(s Segment) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = h.Bridge(s)
	// Without an address of its own a bridge takes the lowest of its ports'. It
	// would change when a container ends, and the others would send to the old one
	// for some seconds.
	gateway := s.Gateway().As4()
	attrs.HardwareAddr = net.HardwareAddr{0x02, 0x6d, gateway[0], gateway[1], gateway[2], gateway[3]}
	err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("add bridge %s: %w", attrs.Name, err)
	}
	link, err := netlink.LinkByName(attrs.Name)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", attrs.Name, err)
	}
	if link.Attrs().HardwareAddr.String() != attrs.HardwareAddr.String() {
		if err := netlink.LinkSetHardwareAddr(link, attrs.HardwareAddr); err != nil {
			return fmt.Errorf("hardware address of bridge %s: %w", attrs.Name, err)
		}
	}
	if err := s.tune(attrs.Name); err != nil {
		return fmt.Errorf("bridge %s: %w", attrs.Name, err)
	}
	for _, a := range []netip.Prefix{netip.PrefixFrom(s.Gateway(), s.Prefix.Bits()), netip.PrefixFrom(s.Gateway6(), s.Prefix6.Bits())} {
		if !a.IsValid() {
			continue
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("address of bridge %s: %w", attrs.Name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bridge %s: %w", attrs.Name, err)
	}
	return nil
}

// tune sets how the kernel treats a bridge before it has addresses.
func (s Segment) tune(bridge string) error {
	v4, v6 := filepath.Join("/proc/sys/net/ipv4/conf", bridge), filepath.Join("/proc/sys/net/ipv6/conf", bridge)
	// The bridge answers, without waiting, for containers that cannot hear one another.
	err := errors.Join(
		set(filepath.Join(v4, "proxy_arp_pvlan"), "1"),
		set(filepath.Join("/proc/sys/net/ipv4/neigh", bridge, "proxy_delay"), "0"),
	)
	if !s.Prefix6.IsValid() { // so the host offers nothing on a link-local address
		_ = set(filepath.Join(v6, "disable_ipv6"), "1")
		return err
	}
	return errors.Join(err, set(filepath.Join(v6, "accept_ra"), "0"), set(filepath.Join(v6, "disable_ipv6"), "0"))
}

// set writes a setting of the kernel.
func set(path, value string) error {
	if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	return os.WriteFile(path, []byte(value), 0)
}

// DeleteBridge removes the segment's bridge. Absent is no error.
func (h Host) DeleteBridge(s Segment) error { return deleteLink(h.Bridge(s)) }

// DeleteVeth removes a container's interface, should it be left.
func DeleteVeth(name string) error { return deleteLink(name) }

func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	var absent netlink.LinkNotFoundError
	if errors.As(err, &absent) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// Strays removes bridges of the instance that belong to no segment: leftovers of
// a crash.
func (h Host) Strays(segments []Segment) error {
	known := map[string]bool{}
	for _, s := range segments {
		known[h.Bridge(s)] = true
	}
	links, err := whole(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		name := l.Attrs().Name
		if l.Type() == "bridge" && strings.HasPrefix(name, h.bridgePrefix()) && !known[name] {
			if err := deleteLink(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// whole asks again when the kernel's answer was disturbed by changes while it was
// written, which the kernel says.
func whole[T any](list func() ([]T, error)) (out []T, err error) {
	const attempts = 20
	for range attempts {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, err
}

// Taken are the ranges that this machine has addresses in or routes to, but for
// the default route.
func Taken() ([]netip.Prefix, error) {
	var routes []netlink.Route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := whole(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		routes = append(routes, list...)
	}
	var out []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 {
			out = append(out, p)
		}
	}
	return out, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones).Masked(), ok
}

// MTU is that of the way out, so that containers' packets fit it.
func MTU() int {
	const usual = 1500
	routes, err := whole(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return usual
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil && link.Attrs().MTU > 0 {
			return min(usual, link.Attrs().MTU)
		}
	}
	return usual
}

// LockMachine keeps other agents on this machine from choosing ranges at the same
// time. The result gives the lock back.
func LockMachine() (func(), error) {
	f, err := os.OpenFile("/run/moorage-networks.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// EnableForwarding lets packets of containers leave the machine, with six also
// those of IPv6. A machine that forwards IPv6 ignores router advertisements on
// interfaces that do not say otherwise: those that have listened until now go on
// listening.
func EnableForwarding(six bool) error {
	const four, all = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"
	if err := set(four, "1"); err != nil {
		return fmt.Errorf("let packets leave the machine: %w", err)
	}
	if now, err := os.ReadFile(all); !six || err == nil && strings.TrimSpace(string(now)) == "1" {
		return nil
	}
	listening, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	if err != nil {
		return err
	}
	for _, path := range listening {
		if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == "1" {
			_ = os.WriteFile(path, []byte("2"), 0) // an interface that has just gone
		}
	}
	if err := set(all, "1"); err != nil {
		return fmt.Errorf("let IPv6 packets leave the machine: %w", err)
	}
	return nil
}

// IsolatePorts keeps the ports of all of the instance's bridges from hearing one
// another, also those that an earlier program made.
func (h Host) IsolatePorts() error {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	ours := map[int]bool{}
	for _, l := range links {
		if l.Type() == "bridge" && strings.HasPrefix(l.Attrs().Name, h.bridgePrefix()) {
			ours[l.Attrs().Index] = true
		}
	}
	for _, l := range links {
		if !ours[l.Attrs().MasterIndex] {
			continue
		}
		if err := netlink.LinkSetIsolated(l, true); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("isolate %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}
