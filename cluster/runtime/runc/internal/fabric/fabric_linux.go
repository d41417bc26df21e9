package fabric

import (
	"context"
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

	"github.com/moorage-dev/moorage/internal/nft"
)

// Apply puts the rules for segments into the kernel at once.
func (p Policy) Apply(ctx context.Context, segments []Segment) error {
	return nft.Run(ctx, p.Ruleset(segments))
}

// DeleteTable removes the instance's rules. Absent is no error.
func (p Policy) DeleteTable(ctx context.Context) error {
	return nft.DeleteTable(ctx, p.Table())
}

// EnsureBridge makes the segment's bridge or adopts the one that is there.
func (p Policy) EnsureBridge(s Segment) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = p.Bridge(s)
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
	// The bridge speaks no IPv6, so the host offers nothing on a link-local address.
	_ = os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", attrs.Name, "disable_ipv6"), []byte("1"), 0)
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: s.Gateway().AsSlice(), Mask: net.CIDRMask(s.Prefix.Bits(), 32)}}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("address of bridge %s: %w", attrs.Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bridge %s: %w", attrs.Name, err)
	}
	return nil
}

// DeleteBridge removes the segment's bridge. Absent is no error.
func (p Policy) DeleteBridge(s Segment) error { return deleteLink(p.Bridge(s)) }

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
func (p Policy) Strays(segments []Segment) error {
	known := map[string]bool{}
	for _, s := range segments {
		known[p.Bridge(s)] = true
	}
	links, err := whole(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		name := l.Attrs().Name
		if l.Type() == "bridge" && strings.HasPrefix(name, p.bridgePrefix()) && !known[name] {
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
	routes, err := whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
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

// EnableForwarding lets packets of containers leave the machine.
func EnableForwarding() error {
	const path = "/proc/sys/net/ipv4/ip_forward"
	if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == "1" {
		return nil
	}
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		return fmt.Errorf("let packets leave the machine: %w", err)
	}
	return nil
}
