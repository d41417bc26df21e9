package layer2

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/moorage-dev/moorage/iplease/layer2/internal/ruleset"
)

// whole asks again when the kernel's answer was disturbed by changes while it was
// written, which the kernel says.
func whole[T any](list func() (T, error)) (out T, err error) {
	const attempts = 20
	for range attempts {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, err
}

// networks are those that this host has addresses in.
func networks() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: %w", err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() && !p.IsSingleIP() {
			out = append(out, p.Masked())
		}
	}
	return out, nil
}

// defaultInterfaces are those that this host's default routes use, sorted.
func defaultInterfaces() (out []string, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := whole(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
		if err != nil {
			return nil, fmt.Errorf("routes of this host: %w", err)
		}
		for _, r := range routes {
			if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
				continue
			}
			if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
				out = append(out, link.Attrs().Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// forwarding lets packets pass through this host. A host that learns its routes
// from router advertisements would stop to when it forwards, unless it is told
// not to.
func forwarding(segment string, four, six bool) error {
	if four {
		if err := sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	if !six {
		return nil
	}
	if segment != "" {
		ra := filepath.Join("net/ipv6/conf", segment, "accept_ra")
		if now, err := os.ReadFile(filepath.Join("/proc/sys", ra)); err == nil && strings.TrimSpace(string(now)) == "1" {
			if err := sysctl(ra, "2"); err != nil {
				return err
			}
		}
	}
	return sysctl("net/ipv6/conf/all/forwarding", "1")
}

func sysctl(name, value string) error {
	path := filepath.Join("/proc/sys", name)
	now, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("let packets pass through this host: %w", err)
	}
	return nil
}

// flows picks tracked connections to end.
type flows func(ruleset.Flow) bool

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (stale flows) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	end := func(ip net.IP, port uint16) netip.AddrPort {
		a, _ := netip.AddrFromSlice(ip)
		return netip.AddrPortFrom(a.Unmap(), port)
	}
	return stale(ruleset.Flow{
		Protocol: f.Forward.Protocol,
		Client:   end(f.Forward.SrcIP, f.Forward.SrcPort), Server: end(f.Forward.DstIP, f.Forward.DstPort),
		ReplyFrom: end(f.Reverse.SrcIP, f.Reverse.SrcPort), ReplyTo: end(f.Reverse.DstIP, f.Reverse.DstPort),
	})
}

// endFlows makes the kernel forget connections, so that their next packet meets
// the rules as they are now.
func endFlows(touched map[netip.Addr]bool, stale flows) error {
	var four, six bool
	for a := range touched {
		four, six = four || a.Is4(), six || a.Is6()
	}
	for _, f := range []struct {
		family netlink.InetFamily
		wanted bool
	}{{unix.AF_INET, four}, {unix.AF_INET6, six}} {
		if !f.wanted {
			continue
		}
		_, err := whole(func() (uint, error) { return netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f.family, stale) })
		if err != nil {
			return fmt.Errorf("connections of before: %w", err)
		}
	}
	return nil
}

// bridge holds the addresses of a host without a segment.
type bridge struct {
	name string
	link netlink.Link
	// began is false until addresses of a process before are cleared away.
	began bool
}

// open makes the bridge, or adopts one that a process before has left.
func (b *bridge) open() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = b.name
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("add bridge %s: %w", b.name, err)
	}
	link, err := netlink.LinkByName(b.name)
	if err == nil {
		b.link, err = link, netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", b.name, err)
	}
	return nil
}

func single(a netip.Addr) *netlink.Addr {
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
	if a.Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return addr
}

// add gives addresses to the bridge. The first time it takes all others away.
func (b *bridge) add(addrs []netip.Addr) error {
	if !b.began {
		if err := b.clear(addrs); err != nil {
			return err
		}
		b.began = true
	}
	for _, a := range addrs {
		if err := netlink.AddrReplace(b.link, single(a)); err != nil {
			return fmt.Errorf("address %s on bridge %s: %w", a, b.name, err)
		}
	}
	return nil
}

// clear takes all addresses away but some.
func (b *bridge) clear(keep []netip.Addr) error {
	have, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(b.link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("addresses of bridge %s: %w", b.name, err)
	}
	for _, h := range have {
		a, _ := netip.AddrFromSlice(h.IP)
		if a = a.Unmap(); !a.IsLinkLocalUnicast() && !slices.Contains(keep, a) {
			b.remove([]netip.Addr{a})
		}
	}
	return nil
}

// remove takes addresses away; those that are not there are no fault.
func (b *bridge) remove(addrs []netip.Addr) {
	for _, a := range addrs {
		_ = netlink.AddrDel(b.link, single(a))
	}
}

func (b *bridge) close() error {
	if err := netlink.LinkDel(b.link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove bridge %s: %w", b.name, err)
	}
	return nil
}
